//! Moderation: each message is looked at before it is stored. Words are looked for in place; attachments are given to a
//! scanner, which takes its time. `cargo run -p examples --bin moderation SCANNER WORD...` runs SCANNER with an attachment
//! as its input: 0 lets it pass and 1 refuses it, as `clamdscan -` answers.

use data_encoding::BASE64;
use messenger_core::moderator::{Moderator, ModeratorError};
use messenger_core::proto::Message;
use messenger_core::{Engine, async_trait};
use messenger_server::{Server, Transport};
use std::error::Error;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// So many attachments are scanned at once; more wait.
const SCANS: usize = 4;

struct HouseRules {
    words: Vec<String>,
    scanner: String,
    scans: Semaphore,
}

#[async_trait]
impl Moderator for HouseRules {
    async fn review(&self, message: &Message) -> Result<(), ModeratorError> {
        let body = message.body.as_str().to_lowercase();
        if self.words.iter().any(|word| body.contains(word)) {
            return Err(ModeratorError::Refused("Mind your words".into()));
        }
        let data = message.attach.data.as_str();
        if data.is_empty() {
            return Ok(());
        }
        let Ok(bytes) = BASE64.decode(data.as_bytes()) else {
            return Err(ModeratorError::Refused(
                "The attachment is no base64".into(),
            ));
        };
        match self.scan(&bytes).await {
            Ok(Some(0)) => Ok(()),
            Ok(Some(1)) => Err(ModeratorError::Refused(
                "Attachments like this stay out".into(),
            )),
            Ok(_) => Err(ModeratorError::Unavailable("the scanner failed".into())),
            Err(error) => Err(ModeratorError::Unavailable(error.into())),
        }
    }
}

impl HouseRules {
    /// The scanner's answer. It is killed when the time of the request is over, which drops this.
    async fn scan(&self, bytes: &[u8]) -> io::Result<Option<i32>> {
        let _scan = self.scans.acquire().await.map_err(io::Error::other)?;
        let mut scanner = Command::new(&self.scanner)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = scanner.stdin.take()
            && let Err(error) = input.write_all(bytes).await
            // One that has seen enough reads no more.
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
        Ok(scanner.wait().await?.code())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rules = HouseRules {
        scanner: arguments.next().ok_or("call it with: SCANNER WORD...")?,
        words: arguments.map(|word| word.to_lowercase()).collect(),
        scans: Semaphore::new(SCANS),
    };
    let engine = Engine::builder().moderator(Arc::new(rules)).build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    let server = Server::new(engine, Transport::default());
    server.serve(listener, stop).await;
    Ok(())
}
