//! Two engines in one process.

use crate::support::{Program, heard_text, join};
use messenger_client::ClientError;
use messenger_client::proto::ErrorCode;

#[tokio::test]
async fn neither_knows_the_other_and_both_stop_together() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_two_engines"), &[]);
    let mut places = [program.line().await, program.line().await];
    places.sort();
    let [guests, staff] = places;
    let guests = guests.strip_prefix("guests on ").unwrap();
    let staff = staff.strip_prefix("staff on ").unwrap();

    let (ann, mut at_work) = join(staff, "ann").await;
    let (guest, mut visiting) = join(guests, "ann").await;
    let (eve, _copies) = join(guests, "eve").await;
    assert_eq!(ann.welcome().message, "For the staff");
    assert_eq!(guest.welcome().message, "Welcome, guest");

    let code = |sent: Result<_, ClientError>| match sent {
        Err(ClientError::Refused(failure)) => failure.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        code(ann.send("eve", "hello").await),
        ErrorCode::UserNotFound
    );
    let long = "x".repeat(2000);
    assert_eq!(code(eve.send("ann", &long).await), ErrorCode::InvalidData);
    eve.send("ann", "hello, guest").await.unwrap();
    ann.send("ann", &long).await.unwrap();
    assert_eq!(heard_text(&mut visiting).await, "hello, guest");
    assert_eq!(heard_text(&mut at_work).await, long);

    program.signal("INT").await;
    let mut stopped = [program.line().await, program.line().await];
    stopped.sort();
    let expected = ["guests", "staff"].map(|name| format!("{name} stopped with 0 connections cut"));
    assert_eq!(stopped, expected);
    assert!(program.ended().await.success());
}
