#!/usr/bin/env bash
# async-nats 0.51.0 (the Rust crate) with nats-server 2.9.10 (Debian 12; it is unpacked, not installed).
#
# While the server is away the client keeps 2,048 messages for later. The next publish() waits for as long as the server
# is away. A request() has a timeout of its own, 10 seconds unless told otherwise, but that only begins once the request
# is among those kept: behind 2,048 others it waits without end, and so does flush().
#
# Seen: 2,048 publishes return, the next is waited for in vain, and neither request() nor flush() has returned after
# 15 seconds. A first request, made while there is room, ends by its timeout.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download -q nats-server=2.9.10-1+b3 >download.log 2>&1
dpkg -x nats-server_*.deb server
cargo init -q --name finding .
cargo add -q async-nats@=0.51.0 --no-default-features --features ring
cargo add -q tokio@1 --features rt-multi-thread,macros,time,process,io-util

cat > src/main.rs <<'END'
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() {
    let mut server = Command::new("server/usr/sbin/nats-server")
        .args(["--addr", "127.0.0.1", "--port", "-1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It tells its port.
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some((_, address)) = line.split_once("Listening for client connections on ") {
            break address.to_owned();
        }
    };
    let client = async_nats::connect(address).await.unwrap();
    server.kill().await.unwrap();
    while client.connection_state() == async_nats::connection::State::Connected {
        sleep(Duration::from_millis(10)).await;
    }

    let early = timeout(LONG, client.request("away", "".into())).await;
    println!("a request while there is room: {}", if early.is_ok() { "ends" } else { "waits" });

    let mut published = 0;
    while let Ok(Ok(())) = timeout(Duration::from_secs(3), client.publish("away", "".into())).await {
        published += 1;
    }
    println!("publishes that return: {}", if (2_000..=2_048).contains(&published) { "about 2,048" } else { "other" });
    let late = timeout(LONG, client.request("away", "".into())).await;
    println!("a request after that: {}", if late.is_ok() { "ends" } else { "waits" });
    let flush = timeout(LONG, client.flush()).await;
    println!("a flush: {}", if flush.is_ok() { "ends" } else { "waits" });
}
END
cargo run -q | tee seen
diff seen - <<'END'
a request while there is room: ends
publishes that return: about 2,048
a request after that: waits
a flush: waits
END
echo "as found"
