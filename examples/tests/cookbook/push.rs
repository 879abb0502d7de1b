//! Push notifications.

use crate::support::{Program, heard_text, join};
use messenger_client::proto::Password;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn who_is_away_is_told_by_other_means_and_who_is_there_is_not() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_push"), &[]);
    let address = program.line_with("messenger on ").await;
    let (ann, _copies) = join(&address, "ann").await;
    let (bob, events) = join(&address, "bob").await;
    ann.send("bob", "there").await.unwrap();
    bob.close();
    drop((bob, events));
    // The server learns a moment later that bob has gone.
    for number in 0.. {
        ann.send("bob", &format!("away {number}")).await.unwrap();
        if let Ok(line) = timeout(Duration::from_secs(1), program.line()).await {
            assert!(line.starts_with("push to bob: ANN: away "), "{line}");
            break;
        }
        assert!(number < 60, "bob stays");
    }
    let (_bob, mut events) = join(&address, "bob").await;
    ann.send("bob", "back").await.unwrap();
    while heard_text(&mut events).await != "back" {}

    // Whoever has never been there is away too. Of what bob was given nothing was told.
    let (eve, _events) = messenger_client::connect(address.as_str()).await.unwrap();
    eve.register("eve", &Password::md5_of("secret"), "Eve")
        .await
        .unwrap();
    ann.send("eve", "welcome").await.unwrap();
    loop {
        let line = program.line().await;
        if line == "push to eve: ANN: welcome" {
            break;
        }
        assert!(line.starts_with("push to bob: ANN: away "), "{line}");
    }
    program.stop().await;
}
