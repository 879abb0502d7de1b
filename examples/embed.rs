//! The engine inside another program. One user is a bot, which needs no socket; the others come over
//! TCP. Run it with `cargo run -p examples --bin embed`.

use messenger_client::connect;
use messenger_core::proto::{Auth, EvMessage, Password, Register, SendMessage};
use messenger_core::{Connection, Engine};
use messenger_server::{Server, Transport};
use std::error::Error;
use tokio::net::TcpListener;

/// Answers everybody who writes to it.
struct Bot {
    session: Connection,
}

impl Bot {
    async fn new(engine: &Engine) -> Result<Self, Box<dyn Error>> {
        let (login, pass) = ("echo", Password::from("only this program knows it"));
        let session = engine.connect();
        let account = Register::new(login, pass.clone(), "Echo Bot");
        session.call(account).await?;
        let auth = Auth::new(login, pass);
        session.call(auth).await?;
        Ok(Self { session })
    }

    async fn run(mut self) {
        while let Ok(EvMessage { message, .. }) = self.session.next_event().await {
            let answer = SendMessage::new(
                message.from.clone(),
                format!("you said: {}", message.body.as_str()),
            );
            if let Err(failure) = self.session.call(answer).await {
                eprintln!("no answer for {}: {failure}", message.from);
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder().build()?;
    tokio::spawn(Bot::new(&engine).await?.run());

    // Everybody else comes over TCP.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::new(engine, Transport::default());
    let serving = server.clone();
    let served = tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    println!("serving on {address}");

    // One of them, for the show.
    let (ann, mut events) = connect(address).await?;
    let pass = Password::md5_of("secret");
    ann.register("ann", &pass, "Ann").await?;
    ann.auth("ann", &pass).await?;
    ann.send("echo", "hello, bot").await?;
    while let Ok(EvMessage { message, .. }) = events.next_message().await {
        println!(
            "{} to {}: {}",
            message.nick,
            message.to,
            message.body.as_str()
        );
        if message.from.as_str() == "echo" {
            break;
        }
    }

    server.stop();
    drop((ann, events));
    println!("stopped with {} connections cut", served.await?.cut);
    Ok(())
}
