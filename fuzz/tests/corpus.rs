//! The inputs that were kept, on a stable compiler.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        // Shown when it fails.
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "there is a corpus");
}

#[test]
fn splitter() {
    replay("splitter", messenger_fuzz::splitter);
}

#[test]
fn server_codec() {
    replay("server_codec", messenger_fuzz::server_codec);
}

#[test]
fn client_codec() {
    replay("client_codec", messenger_fuzz::client_codec);
}

#[test]
fn engine() {
    replay("engine", messenger_fuzz::engine);
}

#[test]
fn websocket() {
    replay("websocket", messenger_fuzz::websocket);
}
