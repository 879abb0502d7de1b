//! What holds over TCP, over WebSocket: the same tests, whose clients' bytes go through `support/bridge.rs`.

#[path = "connections.rs"]
mod connections;
#[path = "conversations.rs"]
mod conversations;
