//! A stop in good order.

use crate::support::{DEADLINE, Program, get, heard_text, join};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How many messages are under way when it is told to stop.
const MESSAGES: usize = 200;

#[tokio::test]
async fn what_came_before_the_stop_is_answered_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shutdown.db");
    let start = || Program::start(env!("CARGO_BIN_EXE_shutdown"), &[file.to_str().unwrap()]);
    let mut program = start();
    let web = program.line_with("web on ").await;
    let address = program.line_with("messenger on ").await;
    assert!(get(&web, "/").await.ends_with("hello\n"));
    let (bob, events) = join(&address, "bob").await;
    bob.close();
    drop((bob, events));

    let mut stream = TcpStream::connect(&address).await.unwrap();
    let mut requests = String::from(
        r#"{"action":"register","data":{"login":"ann","pass":"secret","nick":"Ann"}}
           {"action":"auth","data":{"login":"ann","pass":"secret"}}"#,
    );
    for number in 0..MESSAGES {
        let data = format!(r#"{{"uid":"bob","body":"message {number}"}}"#);
        requests += &format!(r#"{{"action":"message","data":{data}}}"#);
    }
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    // The last of them has come once the first is answered: they were written at once.
    while !answers.contains(r#"{"action":"message""#) {
        let mut bytes = vec![0; 4096];
        let read = timeout(DEADLINE, stream.read(&mut bytes)).await.unwrap();
        answers += std::str::from_utf8(&bytes[..read.unwrap()]).unwrap();
    }
    program.signal("TERM").await;
    let rest = timeout(DEADLINE, stream.read_to_string(&mut answers)).await;
    rest.unwrap().unwrap();
    let accepted = r#"{"action":"message","data":{"status":0,"#;
    assert_eq!(answers.matches(accepted).count(), MESSAGES, "{answers}");

    let mut lines = [program.line().await, program.line().await];
    lines.sort();
    let expected = ["messenger stopped with 0 connections cut", "web stopped"];
    assert_eq!(lines, expected);
    assert_eq!(program.line().await, "stopped");
    assert!(program.ended().await.success());

    let mut program = start();
    let address = program.until("messenger on ").await;
    let (_bob, mut events) = join(&address, "bob").await;
    for number in 0..MESSAGES {
        assert_eq!(heard_text(&mut events).await, format!("message {number}"));
    }
}
