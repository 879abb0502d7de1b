// A messenger client by PROTOCOL.md alone, with Node's own library.
//
//     PASSWORD=secret node client.mjs HOST PORT LOGIN STATE-FILE
//
// A line `bob hello` on standard input sends "hello" to bob; what others send is printed as `bob: hello`. Who has no
// account gets one. The file holds the session, the last message that was shown, and messages that the server has not
// taken yet: so each is stored once and shown once, but for one that was being shown when the program was killed.
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import readline from "node:readline";

const AGAIN = [20, 21, 22]; // "later", as status

const [host, port, login, path] = process.argv.slice(2);
if (!path || !process.env.PASSWORD) {
  console.error("PASSWORD=secret node client.mjs HOST PORT LOGIN STATE-FILE");
  process.exit(1);
}
const pass = createHash("md5").update(process.env.PASSWORD).digest("hex");
const state = fs.existsSync(path)
  ? JSON.parse(fs.readFileSync(path, "utf8"))
  : { sid: "", seq: 0, outbox: [] };

let socket;
let isOnline = false;
let isSending = false;

function keep() {
  const file = fs.openSync(`${path}.new`, "w");
  fs.writeSync(file, JSON.stringify(state));
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(`${path}.new`, path);
}

function ask(action, data) {
  socket.write(JSON.stringify({ action, data }));
}

/** Resumes the session with what was shown last, or begins one. */
function begin() {
  if (state.sid) ask("ack", { seq: state.seq, cid: login, sid: state.sid });
  else ask("auth", { login, pass, features: ["ack"] });
}

/** One after the other, so that none overtakes another that has to go again. */
function sendNext() {
  if (!isOnline || isSending || state.outbox.length === 0) return;
  isSending = true;
  ask("message", state.outbox[0]);
}

function accepted(status, data) {
  isSending = false;
  if (AGAIN.includes(status)) {
    setTimeout(sendNext, 1000);
    return;
  }
  const message = state.outbox.shift();
  if (status) console.log(`not sent to ${message.uid}: ${data.error}`);
  keep();
  sendNext();
}

function take(action, data) {
  const status = Number(data.status ?? 0);
  const isBeginning = action === "auth" || action === "register";
  if (action === "auth" && status === 7) {
    ask("register", { login, nick: login, pass });
  } else if (action === "register" && status === 0) {
    begin();
  } else if (action === "ack" && status === 6) {
    state.sid = ""; // the session has ended
    begin();
  } else if (isBeginning && AGAIN.includes(status)) {
    socket.destroy();
  } else if (isBeginning && status) {
    console.error(data.error);
    process.exit(1);
  } else if ((action === "auth" || action === "ack") && status === 0) {
    state.sid = data.sid ?? state.sid;
    keep();
    isOnline = true;
    sendNext();
  } else if (action === "message") {
    accepted(status, data);
  } else if (action === "ev_message" && Number(data.seq ?? 0) > state.seq) {
    console.log(`${data.from}: ${data.body}`);
    state.seq = Number(data.seq);
    keep();
    ask("ack", { seq: state.seq });
  }
}

/** Counting braces is enough: the server escapes those in strings. */
function splitter(take) {
  let pieces = [];
  let depth = 0;
  return (piece) => {
    let begin = 0;
    for (let at = 0; at < piece.length; at++) {
      if (piece[at] === 0x7b) depth++;
      if (piece[at] !== 0x7d || --depth > 0) continue;
      pieces.push(piece.subarray(begin, at + 1));
      begin = at + 1;
      take(JSON.parse(Buffer.concat(pieces).toString("utf8")));
      pieces = [];
    }
    pieces.push(piece.subarray(begin));
  };
}

function connect() {
  isOnline = isSending = false;
  socket = net.connect(Number(port), host, begin);
  socket.on("data", splitter(({ action, data }) => take(action, data ?? {})));
  socket.on("error", () => {}); // the server is away
  socket.on("close", () => {
    isOnline = false;
    setTimeout(connect, 200 + 1000 * Math.random());
  });
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [uid, ...words] = line.split(" ");
  state.outbox.push({ uid, body: words.join(" "), mid: randomUUID() });
  keep();
  sendNext();
});
connect();
