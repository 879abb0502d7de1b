//! A bridge to IRC, and a real server of IRC.

use crate::support::{DEADLINE, Program, heard_text, join, messenger};
use testing_servers::Ngircd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Somebody in the channel on IRC.
struct Person(BufReader<TcpStream>);

impl Person {
    async fn join(server: &Ngircd, nick: &str) -> Self {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let mut person = Self(BufReader::new(stream));
        person
            .say(&format!(
                "NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nJOIN #room"
            ))
            .await;
        person.until(" 366 ").await;
        person
    }

    async fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    /// The first line that has this in it.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(DEADLINE, self.0.read_line(&mut line)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "IRC has closed the connection");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// What the bridge says next.
    async fn heard(&mut self) -> String {
        let line = self.until("PRIVMSG #room :").await;
        let (from, text) = line.split_once(" PRIVMSG #room :").unwrap();
        assert!(from.starts_with(":bridge!"), "{line}");
        text.trim_end().to_owned()
    }
}

#[tokio::test]
async fn what_is_said_on_either_side_is_heard_on_the_other() {
    let mut server = Ngircd::start();
    let address = messenger().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("irc.state");
    let irc = server.address();
    let start = || {
        let file = file.to_str().unwrap();
        let arguments = [&irc, "#room", &address, "secret", file];
        Program::start(env!("CARGO_BIN_EXE_irc"), &arguments)
    };
    let mut bridge = start();
    bridge.until("in #room").await;
    let mut eve = Person::join(&server, "eve").await;
    let (ann, mut to_ann) = join(&address, "ann").await;
    let (bob, mut to_bob) = join(&address, "bob").await;

    ann.send("irc", "may I?").await.unwrap();
    assert_eq!(heard_text(&mut to_ann).await, "Send /join first.");
    for (user, events) in [(&ann, &mut to_ann), (&bob, &mut to_bob)] {
        user.send("irc", "/join").await.unwrap();
        assert_eq!(heard_text(events).await, "You hear the channel.");
    }
    eve.say("PRIVMSG #room :hello: all").await;
    assert_eq!(heard_text(&mut to_ann).await, "<eve> hello: all");
    assert_eq!(heard_text(&mut to_bob).await, "<eve> hello: all");

    // A line break begins no command.
    ann.send("irc", "hello, Eve\r\nQUIT :gone\nJOIN #other")
        .await
        .unwrap();
    assert_eq!(eve.heard().await, "<ANN> hello, Eve");
    assert_eq!(eve.heard().await, "<ANN> QUIT :gone");
    assert_eq!(eve.heard().await, "<ANN> JOIN #other");
    let told = heard_text(&mut to_bob).await;
    assert_eq!(told, "<ANN> hello, Eve\r\nQUIT :gone\nJOIN #other");

    // What is sent while IRC is away is said later; who is in the channel is known after a restart.
    server.restart();
    bridge.until("in #room").await;
    let mut eve = Person::join(&server, "eve").await;
    bob.send("irc", "still here").await.unwrap();
    assert_eq!(eve.heard().await, "<BOB> still here");
    assert_eq!(heard_text(&mut to_ann).await, "<BOB> still here");
    bridge.stop().await;
    ann.send("irc", "anybody?").await.unwrap();
    let mut bridge = start();
    // What was said last before the stop may be said again.
    while eve.heard().await != "<ANN> anybody?" {}
    while heard_text(&mut to_bob).await != "<ANN> anybody?" {}
    bob.send("irc", "/leave").await.unwrap();
    assert_eq!(heard_text(&mut to_bob).await, "You have left.");
    eve.say("PRIVMSG #room :who is here?").await;
    while heard_text(&mut to_ann).await != "<eve> who is here?" {}
    eve.say("QUIT").await;
    bob.send("irc", "let me in").await.unwrap();
    assert_eq!(heard_text(&mut to_bob).await, "Send /join first.");
    bridge.until("in #room").await;
    bridge.stop().await;
}
