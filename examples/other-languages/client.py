#!/usr/bin/env python3
"""A messenger client by PROTOCOL.md alone, with Python's own library.

    PASSWORD=secret python3 client.py HOST PORT LOGIN STATE-FILE

A line `bob hello` on standard input sends "hello" to bob; what others send is printed as `bob: hello`. Who has no account
gets one. The file holds the session, the last message that was shown, and messages that the server has not taken yet: so
each is stored once and shown once, but for one that was being shown when the program was killed.
"""
import asyncio, hashlib, json, os, random, re, secrets, sys

AGAIN = (20, 21, 22)  # "later", as status


class Client:
    def __init__(self, host, port, login, path):
        self.host, self.port, self.login, self.path = host, port, login, path
        self.password = hashlib.md5(os.environ["PASSWORD"].encode()).hexdigest()
        self.state = {"sid": "", "seq": 0, "outbox": []}
        self.online = self.is_sending = False
        if os.path.exists(path):
            with open(path) as file:
                self.state = json.load(file)

    def keep(self):
        with open(self.path + ".new", "w") as file:
            json.dump(self.state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.path + ".new", self.path)

    async def run(self):
        lines = asyncio.create_task(self.read_lines())
        while not lines.done() or self.state["outbox"]:
            try:
                await self.talk()
            except OSError:
                pass  # the server is away
            self.online = False
            await asyncio.sleep(0.2 + random.random())

    async def read_lines(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            to, _, text = line.rstrip("\n").partition(" ")
            self.state["outbox"].append({"uid": to, "body": text, "mid": secrets.token_hex(16)})
            self.keep()
            self.send_next()

    async def talk(self):
        self.online = self.is_sending = False
        reader, self.writer = await asyncio.open_connection(self.host, self.port)
        self.begin()
        try:
            async for frame in frames(reader):
                self.take(frame["action"], frame.get("data", {}))
        finally:
            self.writer.close()

    def begin(self):
        """Resumes the session with what was shown last, or begins one."""
        if self.state["sid"]:
            self.ask("ack", seq=self.state["seq"], cid=self.login, sid=self.state["sid"])
        else:
            self.ask("auth", login=self.login, **{"pass": self.password}, features=["ack"])

    def ask(self, action, **data):
        self.writer.write(json.dumps({"action": action, "data": data}).encode())

    def send_next(self):
        """To one recipient after the other, so that none overtakes another that has to go again."""
        if self.online and not self.is_sending and self.state["outbox"]:
            self.is_sending = True
            self.ask("message", **self.state["outbox"][0])

    def take(self, action, data):
        status = int(data.get("status", 0))
        if action == "auth" and status == 7:
            self.ask("register", login=self.login, nick=self.login, **{"pass": self.password})
        elif action == "register" and status == 0:
            self.begin()
        elif action == "ack" and status == 6:  # the session has ended
            self.state["sid"] = ""
            self.begin()
        elif action in ("auth", "register") and status in AGAIN:
            self.writer.close()
        elif action in ("auth", "register") and status:
            sys.exit(data["error"])
        elif action in ("auth", "ack") and status == 0:
            self.state["sid"] = data.get("sid", self.state["sid"])
            self.keep()
            self.online = True
            self.send_next()
        elif action == "message":
            self.accepted(status, data)
        elif action == "ev_message" and int(data.get("seq", 0)) > self.state["seq"]:
            print(f"{data['from']}: {data['body']}", flush=True)
            self.state["seq"] = int(data["seq"])
            self.keep()
            self.ask("ack", seq=self.state["seq"])

    def accepted(self, status, data):
        self.is_sending = False
        if status in AGAIN:
            asyncio.get_running_loop().call_later(1, self.send_next)
            return
        message = self.state["outbox"].pop(0)
        if status:
            print(f"not sent to {message['uid']}: {data['error']}", flush=True)
        self.keep()
        self.send_next()


async def frames(reader):
    """Counting braces is enough: the server escapes those in strings."""
    frame, depth = bytearray(), 0
    while piece := await reader.read(65536):
        begin = 0
        for brace in re.finditer(rb"[{}]", piece):
            depth += 1 if brace.group() == b"{" else -1
            if depth == 0:
                frame += piece[begin : brace.end()]
                begin = brace.end()
                yield json.loads(frame)
                frame.clear()
        frame += piece[begin:]


if __name__ == "__main__":
    if len(sys.argv) != 5 or "PASSWORD" not in os.environ:
        sys.exit(__doc__)
    asyncio.run(Client(*sys.argv[1:]).run())
