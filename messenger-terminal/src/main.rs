//! A messenger for the terminal: `messenger ann`, and type.
//!
//! ```text
//! $ messenger ann
//! Password of ann:
//! You are ann. /help tells what you can do; begin with /to NAME.
//! (nobody)> /to bob
//! You talk to Bob (bob).
//! bob> hello, Bob
//! Bob (bob): hello, Ann
//! ```
//!
//! It remembers the session, so the next time it asks for no password, and shows what came meanwhile. A lost connection is made again, and
//! what was typed meanwhile is sent then. `/send FILE` and `/save` are for files. `messenger --help` tells the rest, such as
//! `--server chat.example.org:7790 --tls` and `--server wss://chat.example.org/ws`.
//!
//! # Guarantees
//!
//! - Each message is sent once and shown once, also over restarts: it is what `messenger-client` promises.
//! - What others have written cannot command the terminal: control characters and changes of direction are shown as signs.
//! - A file that comes is saved under a plain name, over none that is there.

mod arguments;
mod chat;
mod command;
mod contacts;
mod files;
mod log_in;
mod paint;
mod progress;
mod safe;
mod screen;

use arguments::Arguments;
use clap::Parser;
use std::error::Error;

/// Whatever ends the program, as a sentence.
type Sentence = String;

#[tokio::main]
async fn main() {
    let ends = run(Arguments::parse()).await;
    let code = match ends {
        Ok(()) => 0,
        Err(sentence) => {
            eprintln!("{sentence}");
            1
        }
    };
    // The thread that reads what is typed may still wait for the keyboard.
    std::process::exit(code)
}

async fn run(arguments: Arguments) -> Result<(), Sentence> {
    let (session, incoming, login) = log_in::log_in(&arguments).await?;
    chat::Chat::new(session, login).talk(incoming).await
}

/// An error and its causes, in a line.
fn because(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors say what their cause says.
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        cause = error.source();
    }
    safe::line(&sentence)
}
