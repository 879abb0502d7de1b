//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// A messenger for the terminal.
///
/// It remembers the session, what it has shown and what it has yet to send, and asks for the password only when it must. Inside, /help
/// tells what can be done.
#[derive(Debug, Parser)]
#[command(name = "messenger", version)]
pub(crate) struct Arguments {
    /// Who you are: your login.
    pub(crate) login: String,
    /// Where the server is: HOST:PORT, or tls://, ws:// or wss:// before it.
    #[arg(long, default_value = "127.0.0.1:7788", value_name = "ADDRESS")]
    server: String,
    /// Speak TLS to HOST:PORT, as tls:// does. The server's certificate is checked.
    #[arg(long)]
    tls: bool,
    /// Trust the certificates in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The folder where what must be remembered lies [default: messenger in $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
    /// Remember nothing: the session ends with the program.
    #[arg(long, conflicts_with = "state")]
    pub(crate) forget: bool,
}

impl Arguments {
    /// The server's address, with its transport.
    pub(crate) fn address(&self) -> String {
        match self.tls && !self.server.contains("://") {
            true => format!("tls://{}", self.server),
            false => self.server.clone(),
        }
    }
}
