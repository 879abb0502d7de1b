//! A bridge to a channel on IRC. Users who send `/join` to `irc` hear the channel, and what they send to `irc` is said there.
//! `cargo run -p examples --bin irc IRC_SERVER CHANNEL SERVER PASS FILE` keeps its session in FILE.

use backon::{ExponentialBuilder, Retryable};
use futures_util::{SinkExt, StreamExt};
use messenger_client::proto::{
    AddContact, ContactList, DelContact, Password, SharedMessage, UserId,
};
use messenger_client::{Client, ClientError, FileStore, Incoming, Session, SessionEnd};
use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{AnyDelimiterCodec, Framed};

/// Who it is, on both sides.
const NICK: &str = "bridge";
const LOGIN: &str = "irc";

/// The longest line that is read, in bytes. IRC has 512, and tags before them.
const LINE: usize = 8 * 1024;

/// A line on IRC has room for so many bytes of text beside what servers put before it.
const PIECE: usize = 250;

/// So many lines of a text are said: servers throw out who says more at once.
const PIECES: usize = 5;

/// As much of a nick is shown, in characters.
const SHOWN: usize = 20;

/// A server that has said nothing for so long is gone: it asks for a sign of life more often.
const SILENCE: Duration = Duration::from_secs(300);

/// How long it may take to be let in, or to be answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a bridge does not go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("IRC is away: {0}")]
    Irc(#[from] io::Error),
    #[error(transparent)]
    Messenger(#[from] SessionEnd),
    #[error("those in the channel are not known: {0}")]
    Members(#[from] ClientError),
}

/// A connection to an IRC server.
struct Irc {
    lines: Framed<TcpStream, AnyDelimiterCodec>,
    channel: String,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    nick: &'a str,
    command: &'a str,
    /// The last parameter, which may have spaces in it.
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Reads `:nick!user@host COMMAND parameter :text`.
    fn read(line: &'a str) -> Self {
        let (prefix, rest) = match line.strip_prefix(':') {
            Some(line) => line.split_once(' ').unwrap_or((line, "")),
            None => ("", line),
        };
        let nick = prefix.split('!').next().unwrap_or_default();
        let (middle, text) = match rest.split_once(" :") {
            Some((middle, text)) => (middle, text),
            None => (rest, rest.rsplit(' ').next().unwrap_or_default()),
        };
        let command = middle.split(' ').next().unwrap_or_default();
        Self {
            nick,
            command,
            text,
        }
    }
}

impl Irc {
    /// Connects, and waits until it is in the channel.
    async fn join(address: &str, channel: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let ends = AnyDelimiterCodec::new_with_max_length(b"\r\n".into(), b"\r\n".into(), LINE);
        let mut irc = Self {
            lines: Framed::new(stream, ends),
            channel: channel.to_owned(),
        };
        irc.say(&format!("NICK {NICK}")).await?;
        irc.say(&format!("USER {NICK} 0 * :messenger")).await?;
        loop {
            let line = irc.next().await?;
            match Line::read(&line).command {
                "001" => irc.say(&format!("JOIN {channel}")).await?,
                "JOIN" => return Ok(irc),
                // There is no message of the day.
                "422" => {}
                number if ("400"..="599").contains(&number) => return Err(io::Error::other(line)),
                _ => {}
            }
        }
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.lines.send(line).await.map_err(io::Error::other)
    }

    /// The next line. What keeps the connection alive is done here.
    async fn next(&mut self) -> io::Result<String> {
        loop {
            let line = timeout(SILENCE, self.lines.next()).await;
            let line = line?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let line = line.map_err(io::Error::other)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            match Line::read(&line) {
                Line {
                    command: "PING",
                    text,
                    ..
                } => self.say(&format!("PONG :{text}")).await?,
                Line {
                    command: "ERROR",
                    text,
                    ..
                } => return Err(io::Error::other(text)),
                Line { command: "", .. } => {}
                _ => return Ok(line),
            }
        }
    }

    /// Says a text in the channel, in as many lines as it needs.
    async fn say_in_channel(&mut self, nick: &str, text: &str) -> io::Result<()> {
        let nick: String = plain(nick).chars().take(SHOWN).collect();
        for piece in pieces(text) {
            let line = format!("PRIVMSG {} :<{nick}> {piece}", self.channel);
            self.say(&line).await?;
        }
        Ok(())
    }
}

/// A text without control characters: a line break in it would begin a command of its writer's own.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

/// The lines of a text, none of them too long, and not too many.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for line in text.lines() {
        let line = plain(line);
        let mut rest = line.as_str();
        while !rest.is_empty() {
            if pieces.len() == PIECES {
                pieces.push("(and more)".to_owned());
                return pieces;
            }
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
            pieces.push(piece.to_owned());
            rest = behind;
        }
    }
    pieces
}

/// The messenger's side.
struct Bridge {
    session: Session,
    incoming: Incoming,
    /// Who hears the channel: the contacts of `irc`, so that the server keeps and bounds them.
    members: BTreeSet<UserId>,
    /// Being said on IRC, and not yet.
    unsaid: Option<SharedMessage>,
}

impl Bridge {
    /// Carries what is said either way, until one of them is away.
    async fn carry(&mut self, irc: &mut Irc) -> Result<(), Broken> {
        loop {
            if let Some(message) = self.unsaid.clone() {
                irc.say_in_channel(&message.nick, message.body.as_str())
                    .await?;
                self.unsaid = None;
            }
            tokio::select! {
                line = irc.next() => {
                    let line = line?;
                    if let Line { nick, command: "PRIVMSG", text } = Line::read(&line) {
                        self.tell(&format!("<{nick}> {}", plain(text)), None).await;
                    }
                }
                // To ask for the next message says that the one before was said.
                event = self.incoming.next_message() => {
                    let event = event?;
                    // Without a `seq` it is a copy of what the bridge has sent.
                    if event.seq.is_some() {
                        self.hear(event.message).await?;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, message: SharedMessage) -> Result<(), Broken> {
        let user = message.from.clone();
        let answer = match message.body.as_str().trim() {
            "/join" => {
                match self
                    .session
                    .call_within(PATIENCE, AddContact::new(user.clone()))
                    .await
                {
                    // A contact already, or the bridge is full.
                    Err(ClientError::Refused(refused)) => refused.text.into_owned(),
                    Err(error) => return Err(error.into()),
                    Ok(_) => {
                        self.members.insert(user.clone());
                        "You hear the channel.".to_owned()
                    }
                }
            }
            "/leave" => {
                let left = DelContact::new(user.clone());
                self.session.call_within(PATIENCE, left).await?;
                self.members.remove(&user);
                "You have left.".to_owned()
            }
            _ if !self.members.contains(&user) => "Send /join first.".to_owned(),
            text => {
                let said = format!("<{}> {text}", message.nick);
                self.tell(&said, Some(&user)).await;
                self.unsaid = Some(message);
                return Ok(());
            }
        };
        self.send(&user, &answer).await;
        Ok(())
    }

    /// Tells everybody in the channel but one.
    async fn tell(&self, text: &str, but: Option<&UserId>) {
        for member in self.members.iter().filter(|member| Some(*member) != but) {
            self.send(member, text).await;
        }
    }

    async fn send(&self, to: &UserId, text: &str) {
        // The outbox is bounded: a channel that talks faster than the server takes it is not heard whole.
        if let Err(error) = self.session.send(to.clone(), text).await {
            println!("not told to {}: {error}", to.as_str());
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Ok([address, channel, server, pass, file]) = <[String; 5]>::try_from(arguments) else {
        return Err("call it with: IRC_SERVER CHANNEL SERVER PASS FILE".into());
    };
    let pass = Password::md5_of(&pass);
    let (client, _events) = messenger_client::connect(server.as_str()).await?;
    // At the first start; later it is refused.
    let _ = client.register(LOGIN, &pass, "IRC").await;
    let (session, incoming) = Client::builder()
        .server(server)
        .credentials(LOGIN, pass)
        .store(FileStore::open(file)?)
        .start()
        .await?;
    let contacts = session.call_within(PATIENCE, ContactList::new()).await?;
    let bridge = Bridge {
        members: contacts
            .into_iter()
            .map(|contact| contact.card.uid)
            .collect(),
        session: session.clone(),
        incoming,
        unsaid: None,
    };
    let ended = tokio::select! {
        ended = run(bridge, &address, &channel) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    session.close().await;
    Ok(ended?)
}

/// Carries on for as long as the messenger's session lives; to IRC it connects again and again.
async fn run(mut bridge: Bridge, address: &str, channel: &str) -> Result<(), Broken> {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(60))
        .with_jitter()
        .without_max_times();
    loop {
        let joined = (async || timeout(PATIENCE, Irc::join(address, channel)).await?)
            .retry(backoff)
            .notify(|error: &io::Error, after| println!("{error}; again in {after:?}"));
        let mut irc = joined.await?;
        println!("in {channel}");
        match bridge.carry(&mut irc).await {
            Err(Broken::Irc(error)) => println!("{error}"),
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = Line::read(":ann!~ann@127.0.0.1 PRIVMSG #room :hello: all");
        let expected = ("ann", "PRIVMSG", "hello: all");
        assert_eq!((line.nick, line.command, line.text), expected);
        let line = Line::read("PING token");
        assert_eq!((line.nick, line.command, line.text), ("", "PING", "token"));
        assert_eq!(Line::read("").command, "");
    }

    #[test]
    fn a_text_is_lines_that_are_no_commands() {
        assert_eq!(
            pieces("one\r\nQUIT\rJOIN #other"),
            ["one", "QUITJOIN #other"]
        );
        let long = "ж".repeat(PIECE);
        let pieces = pieces(&long);
        assert_eq!(pieces.concat(), long);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(super::pieces(&"a\n".repeat(100)).len(), PIECES + 1);
    }
}
