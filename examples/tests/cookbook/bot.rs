//! A bot.

use crate::support::{Program, heard_text, join, messenger};

#[tokio::test]
async fn it_answers_each_message_once_over_its_own_crashes() {
    let server = messenger().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bot.state");
    let start = || {
        let file = file.to_str().unwrap();
        let arguments = [&server, "counter", "secret", file];
        Program::start(env!("CARGO_BIN_EXE_bot"), &arguments)
    };
    let (ann, mut events) = join(&server, "ann").await;

    let mut bot = start();
    bot.until("counter counts words").await;
    ann.send("counter", "one two three").await.unwrap();
    assert_eq!(heard_text(&mut events).await, "3 words");

    bot.kill().await;
    for text in ["one", "one two"] {
        ann.send("counter", text).await.unwrap();
    }
    let bot = start();
    assert_eq!(heard_text(&mut events).await, "1 words");
    assert_eq!(heard_text(&mut events).await, "2 words");
    bot.stop().await;

    // Nothing is answered anew.
    let bot = start();
    ann.send("counter", "one two three four").await.unwrap();
    assert_eq!(heard_text(&mut events).await, "4 words");
    bot.stop().await;
}
