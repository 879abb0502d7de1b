//! Moderation.

use crate::support::{Program, heard, join};
use data_encoding::BASE64;
use messenger_client::ClientError;
use messenger_client::proto::{Attachment, SendMessage};

const SCANNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cookbook/scanner");

fn file(bytes: &str) -> SendMessage {
    let data = BASE64.encode(bytes.as_bytes());
    SendMessage::new("bob", "a file").attach(Attachment::new("text/plain", data))
}

#[tokio::test]
async fn what_breaks_the_rules_of_the_house_is_refused_and_the_rest_comes_in_order() {
    let arguments = [SCANNER, "Donkey"];
    let mut program = Program::start(env!("CARGO_BIN_EXE_moderation"), &arguments);
    let address = program.line_with("messenger on ").await;
    let (ann, mut copies) = join(&address, "ann").await;
    let (_bob, mut events) = join(&address, "bob").await;

    // All are under way at once.
    let answers = tokio::join!(
        ann.send_message(file("a letter")),
        ann.send("bob", "hello"),
        ann.send("bob", "you DONKEY"),
        ann.send_message(file("a worm")),
        ann.send_message(file("trouble")),
        ann.send_message(SendMessage::new("bob", "x").attach(Attachment::new("a/b", "?"))),
        ann.send("bob", "goodbye"),
    );
    let refused = |answer: Result<_, ClientError>| match answer {
        Err(ClientError::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    };
    answers.0.unwrap();
    answers.1.unwrap();
    let texts = [refused(answers.2), refused(answers.3)].map(|failure| {
        assert_eq!(failure.code.number(), 3);
        failure.text
    });
    assert_eq!(texts, ["Mind your words", "Attachments like this stay out"]);
    assert_eq!(refused(answers.4).code.number(), 22);
    assert_eq!(refused(answers.5).code.number(), 3);
    answers.6.unwrap();

    for expected in ["a file", "hello", "goodbye"] {
        assert_eq!(heard(&mut events).await.message.body.as_str(), expected);
        let copy = copies.next_message().await.unwrap();
        assert_eq!(copy.message.body.as_str(), expected);
    }
    program.stop().await;
}
