//! What is asked for.

use super::{Chat, remember};
use crate::command::{Command, HELP};
use crate::progress::Bar;
use crate::screen::Screen;
use crate::{because, files, safe};
use messenger_client::proto::{
    Action, AddContact, Card, ContactList, DelContact, Import, ImportEntry, Profile, SendMessage,
    SetUserInfo, UserId, UserInfo,
};
use messenger_client::{ConnectionState, Receipt};
use std::path::Path;
use std::time::Duration;
use tokio::time::interval;

/// How long to wait for an answer, and for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

type Done = Result<(), String>;

impl Chat {
    pub(super) async fn work(&mut self, command: Command<'_>, screen: &Screen) -> Done {
        match command {
            Command::Say(text) => self.say(text, screen).await,
            Command::To(name) => self.talk_to(name, screen).await,
            Command::Send(file) => self.send_file(Path::new(file), screen).await,
            Command::Save(number, to) => {
                let saved = self.received.save(number, to)?;
                screen.show(format!(
                    "Saved as {}.",
                    safe::line(&saved.to_string_lossy())
                ));
                Ok(())
            }
            Command::Contacts => self.contacts(screen).await,
            Command::Find(who) => self.find(who, screen).await,
            Command::Add(name) => {
                let card = self.ask(AddContact::new(name)).await?;
                screen.show(format!("{} is in your contacts.", self.person(&card)));
                Ok(())
            }
            Command::Remove(name) => {
                self.ask(DelContact::new(name)).await?;
                screen.show(format!("{} is not in your contacts.", safe::line(name)));
                Ok(())
            }
            Command::Profile(name) => self.profile(name, screen).await,
            Command::Change(field, value) => self.change(field, value, screen).await,
            Command::Nothing | Command::LogOut | Command::Quit => Ok(()),
            Command::Help | Command::Unknown => {
                screen.show(HELP.to_owned());
                Ok(())
            }
        }
    }

    async fn ask<A: Action>(&self, action: A) -> Result<A::Accepted, String> {
        let answer = self.session.call_within(PATIENCE, action).await;
        answer.map_err(|error| format!("{}.", because(&error)))
    }

    async fn talk_to(&mut self, name: &str, screen: &Screen) -> Done {
        let user = self.ask(UserInfo::new(name)).await?;
        let name = UserId::from(name);
        screen.show(format!(
            "You talk to {} ({}).",
            safe::name(&user.nick),
            safe::name(name.as_str())
        ));
        self.unread.talked_to(&name);
        self.peer = Some(name);
        Ok(())
    }

    fn peer(&self) -> Result<UserId, String> {
        let nobody = || "it is not said to whom. /to NAME tells.".to_owned();
        self.peer.clone().ok_or_else(nobody)
    }

    async fn say(&mut self, text: &str, screen: &Screen) -> Done {
        let peer = self.peer()?;
        let receipt = self.put(SendMessage::new(peer.clone(), text)).await?;
        self.follow(peer, receipt, screen);
        Ok(())
    }

    /// Puts a message into the outbox.
    async fn put(&mut self, message: SendMessage) -> Result<Receipt, String> {
        let (to, text) = (message.uid.clone(), message.body.clone());
        let sent = self.session.send_message(message).await;
        let receipt = sent.map_err(|error| format!("{}.", because(&error)))?;
        remember(&mut self.typed_here, to, text.as_str());
        Ok(receipt)
    }

    /// Tells later what becomes of a message, if that is no good.
    fn follow(&mut self, to: UserId, receipt: Receipt, screen: &Screen) {
        if !matches!(self.session.state(), ConnectionState::Online) {
            screen.show(
                self.paint
                    .note("There is no connection; it is sent when there is one."),
            );
        }
        self.receipts
            .spawn(async move { (to, receipt.accepted().await) });
    }

    /// Sends a file, and draws how far it is. Ctrl-C leaves it to itself.
    async fn send_file(&mut self, path: &Path, screen: &Screen) -> Done {
        let peer = self.peer()?;
        let message = files::message(peer.as_str(), path)?;
        let name = safe::line(message.body.as_str());
        let total = message.attach.data.as_str().len();
        let receipt = self.put(message).await?;
        if !matches!(self.session.state(), ConnectionState::Online) {
            self.follow(peer, receipt, screen);
            return Ok(());
        }
        let bar = Bar::new(name.clone(), total);
        let mut receipt = tokio::spawn(receipt.accepted());
        let mut tick = interval(DRAWN_EVERY);
        let accepted = loop {
            tokio::select! {
                accepted = &mut receipt => break accepted,
                _ = tick.tick() => bar.draw(total.saturating_sub(self.session.unwritten_bytes())),
                _ = tokio::signal::ctrl_c() => {
                    self.receipts.spawn(async move {
                        (peer, receipt.await.unwrap_or_else(|_| Ok(Default::default())))
                    });
                    return Ok(());
                }
            }
        };
        drop(bar);
        match accepted {
            Ok(Ok(_)) => {
                screen.show(format!("{name} is sent."));
                Ok(())
            }
            Ok(Err(error)) => Err(format!("{}.", because(&error))),
            Err(error) => Err(format!("{error}.")),
        }
    }

    async fn contacts(&self, screen: &Screen) -> Done {
        let contacts = self.ask(ContactList::new()).await?;
        let mut lines = Vec::new();
        for contact in &contacts {
            let unread = self.unread.from(&contact.card.uid);
            lines.push(format!(
                "  {}{}",
                self.person(&contact.card),
                self.count(unread)
            ));
        }
        for (stranger, unread) in self.unread.strangers(&contacts) {
            let stranger = safe::name(stranger.as_str());
            lines.push(format!(
                "  {stranger}, no contact of yours{}",
                self.count(unread)
            ));
        }
        if lines.is_empty() {
            lines.push(
                "You have no contacts yet. /find WHO looks for somebody, /add NAME adds them."
                    .into(),
            );
        }
        screen.show(lines.join("\n"));
        Ok(())
    }

    fn count(&self, unread: usize) -> String {
        match unread {
            0 => String::new(),
            unread => format!(" {}", self.paint.new_thing(format!("({unread} unread)"))),
        }
    }

    fn person(&self, card: &Card) -> String {
        let nick = self.paint.name(safe::name(&card.nick));
        format!("{nick} ({})", safe::name(card.uid.as_str()))
    }

    /// Looks for a login, and for everybody with that email or phone.
    async fn find(&self, who: &str, screen: &Screen) -> Done {
        let entry = match who.contains('@') {
            true => ImportEntry::new("").email(who),
            false => ImportEntry::new("").phone(who),
        };
        let mut found = Vec::new();
        if let Ok(user) = self.session.call_within(PATIENCE, UserInfo::new(who)).await {
            let nick = self.paint.name(safe::name(&user.nick));
            found.push(format!("  {nick} ({})", safe::name(who)));
        }
        for contact in self.ask(Import::new(vec![entry])).await? {
            found.push(format!("  {}", self.person(&contact.card)));
        }
        if found.is_empty() {
            found.push(format!("Nobody is found by {}.", safe::line(who)));
        }
        screen.show(found.join("\n"));
        Ok(())
    }

    async fn profile(&self, name: &str, screen: &Screen) -> Done {
        let name = if name.is_empty() {
            self.login.as_str()
        } else {
            name
        };
        let Profile {
            nick,
            email,
            phone,
            user_status,
            ..
        } = self.ask(UserInfo::new(name)).await?;
        let mut lines = vec![format!(
            "  {} ({})",
            self.paint.name(safe::name(&nick)),
            safe::name(name)
        )];
        for (field, value) in [("email", email), ("phone", phone), ("status", user_status)] {
            if !value.is_empty() {
                lines.push(format!("  {field}: {}", safe::line(&value)));
            }
        }
        screen.show(lines.join("\n"));
        Ok(())
    }

    async fn change(&self, field: &str, value: &str, screen: &Screen) -> Done {
        let change = SetUserInfo::new();
        let change = match field {
            "email" => change.email(value),
            "phone" => change.phone(value),
            "status" => change.user_status(value),
            _ => return Err("what can be changed is email, phone or status.".to_owned()),
        };
        self.ask(change).await?;
        self.profile("", screen).await
    }
}
