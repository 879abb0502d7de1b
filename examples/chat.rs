//! A terminal client. `cargo run --release -p examples --bin chat -- ann` in one terminal, `… -- bob` in
//! another, and they can talk.

use clap::Parser;
use messenger_client::proto::{ErrorCode, EvMessage, Password};
use messenger_client::{Client, ClientError, Event, Events, connect};
use std::io::Write;
use tokio::sync::mpsc;

const HELP: &str = "\
  /to NAME      talk to NAME from now on
  /add NAME     add NAME to your contacts
  /contacts     list your contacts
  /help         this
  /quit         leave
  anything else is sent to whom you talk to";

/// A terminal client of the messenger.
#[derive(Parser)]
struct Arguments {
    /// Who you are: your login.
    login: String,
    /// Where the server is.
    #[arg(long, default_value = "127.0.0.1:7788")]
    server: String,
}

/// Whatever ends the program, as a sentence.
type Sentence = String;

/// What is typed. A thread of its own reads it, because reading a terminal blocks.
struct Keyboard(mpsc::Receiver<String>);

impl Keyboard {
    fn new() -> Self {
        let (typed, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if typed.blocking_send(line.trim().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next line; `None` when there will be none.
    async fn line(&mut self) -> Option<String> {
        self.0.recv().await
    }

    async fn ask(&mut self, question: &str) -> Result<String, Sentence> {
        prompt(question);
        let line = self.line().await;
        line.ok_or_else(|| "Nothing was typed.".to_owned())
    }
}

struct Chat {
    client: Client,
    login: String,
    /// Whom we talk to.
    peer: Option<String>,
}

#[tokio::main]
async fn main() {
    if let Err(sentence) = run(Arguments::parse()).await {
        eprintln!("{sentence}");
        std::process::exit(1);
    }
}

async fn run(Arguments { login, server }: Arguments) -> Result<(), Sentence> {
    let connected = connect(&server).await;
    let (client, mut events) = connected.map_err(|error| {
        format!("Cannot reach a messenger server at {server}: {error}.\nStart one with `cargo run --release`.")
    })?;
    let mut keyboard = Keyboard::new();
    log_in(&client, &login, &mut keyboard).await?;
    println!("You are {login}. /help tells what you can do; begin with /to NAME.");
    let mut chat = Chat {
        client,
        login,
        peer: None,
    };
    chat.talk(&mut keyboard, &mut events).await
}

/// Logs in, and registers whoever has no account yet.
async fn log_in(client: &Client, login: &str, keyboard: &mut Keyboard) -> Result<(), Sentence> {
    let typed = keyboard.ask(&format!("Password of {login}: ")).await?;
    let pass = Password::md5_of(&typed);
    match client.auth(login, &pass).await {
        Ok(_) => return Ok(()),
        Err(ClientError::Refused(failure)) if failure.code == ErrorCode::NeedRegister => {}
        Err(error) => return Err(format!("Cannot log in: {error}.")),
    }
    println!("There is no {login} yet; let us make an account with that password.");
    let nick = keyboard.ask("The name others will see: ").await?;
    let registered = client.register(login, &pass, &nick).await;
    registered.map_err(|error| format!("Cannot register: {error}."))?;
    let authenticated = client.auth(login, &pass).await;
    authenticated.map_err(|error| format!("Cannot log in: {error}."))?;
    Ok(())
}

fn prompt(text: &str) {
    print!("{text}");
    // A terminal that is gone is noticed when reading.
    let _ = std::io::stdout().flush();
}

impl Chat {
    async fn talk(&mut self, keyboard: &mut Keyboard, events: &mut Events) -> Result<(), Sentence> {
        loop {
            self.prompt();
            tokio::select! {
                line = keyboard.line() => match line.as_deref() {
                    None | Some("/quit") => return Ok(()),
                    Some(line) => self.type_line(line).await,
                },
                event = events.next() => match event {
                    Ok(Event::Message(message)) => self.show(&message),
                    Ok(_) => {}
                    Err(why) => return Err(format!("\nIt ends here: {why}.")),
                },
            }
        }
    }

    fn prompt(&self) {
        prompt(&format!("{}> ", self.peer.as_deref().unwrap_or("(nobody)")));
    }

    async fn type_line(&mut self, line: &str) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let done = match (command, rest.trim()) {
            ("", _) => Ok(()),
            ("/to", "") => {
                println!("To whom? /to NAME");
                Ok(())
            }
            ("/to", name) => self.client.user_info(name).await.map(|user| {
                println!("You talk to {} ({name}).", user.nick);
                self.peer = Some(name.to_owned());
            }),
            ("/add", name) => self.client.add_contact(name).await.map(|user| {
                println!("{} ({}) is in your contacts.", user.nick, user.uid);
            }),
            ("/contacts", _) => self.client.contact_list().await.map(|contacts| {
                for contact in contacts {
                    println!("  {} ({})", contact.card.nick, contact.card.uid);
                }
            }),
            (command, _) if command.starts_with('/') => {
                println!("{HELP}");
                Ok(())
            }
            _ => match &self.peer {
                Some(peer) => self.client.send(peer.as_str(), line).await.map(drop),
                None => {
                    println!("To whom? /to NAME");
                    Ok(())
                }
            },
        };
        if let Err(error) = done {
            println!("That did not work: {error}.");
        }
    }

    /// Shows a message; what we typed ourselves is on the screen already.
    fn show(&self, event: &EvMessage) {
        let message = &event.message;
        if message.from.as_str() == self.login {
            return;
        }
        let attached = if message.attach.is_empty() {
            String::new()
        } else {
            format!(" [attached: {}]", message.attach.mime)
        };
        println!(
            "\r{} ({}): {}{attached}",
            message.nick,
            message.from,
            message.body.as_str()
        );
    }
}
