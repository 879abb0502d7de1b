//! What holds over TCP, over WebSocket: the same tests, whose clients' bytes go through `support/bridge.rs`.

#![allow(clippy::duplicate_mod)] // each brings its own support

#[path = "connections.rs"]
mod connections;
#[path = "conversations.rs"]
mod conversations;
#[path = "limits.rs"]
mod limits;
