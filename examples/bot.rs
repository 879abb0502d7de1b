//! A bot: a client that counts the words of whatever it is sent, and answers each message once, over restarts of its own and of the
//! server. `cargo run -p examples --bin bot SERVER LOGIN PASS FILE` keeps its session and its outbox in FILE.

use messenger_client::proto::{EvMessage, Password, SendMessage};
use messenger_client::{Client, ClientError, FileStore, Session, SessionEnd};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Ok([server, login, pass, file]) = <[String; 4]>::try_from(arguments) else {
        return Err("call it with: SERVER LOGIN PASS FILE".into());
    };
    let pass = Password::md5_of(&pass);
    register(&server, &login, &pass).await?;
    let (session, mut incoming) = Client::builder()
        .server(server)
        .credentials(login.as_str(), pass)
        .store(FileStore::open(file)?)
        .start()
        .await?;
    println!("{login} counts words");
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    let ended: Result<(), SessionEnd> = loop {
        // To ask for the next message says that the one before is answered.
        let message = tokio::select! {
            message = incoming.next_message() => message,
            _ = &mut stopped => break Ok(()),
        };
        match message {
            Ok(message) => answer(&session, message).await?,
            Err(end) => break Err(end),
        }
    };
    session.close().await;
    Ok(ended?)
}

/// Makes the account at the first start.
async fn register(server: &str, login: &str, pass: &Password) -> Result<(), Box<dyn Error>> {
    let (client, _events) = messenger_client::connect(server).await?;
    match client.register(login, pass, login).await {
        Ok(()) | Err(ClientError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn answer(session: &Session, heard: EvMessage) -> Result<(), Box<dyn Error>> {
    let EvMessage { seq, message, .. } = heard;
    // What has no `seq` is a copy of what the bot has sent. What is its own it does not answer.
    if seq.is_none() || message.from == session.uid() {
        return Ok(());
    }
    let words = message.body.as_str().split_whitespace().count();
    // A message that comes again, because the bot was ended at work, is answered under the same `mid`, and so once.
    let answer = SendMessage::new(message.from.clone(), format!("{words} words"))
        .mid(format!("to {}", message.id.as_str()));
    // It waits in the outbox while the server is away.
    session.send_message(answer).await?;
    Ok(())
}
