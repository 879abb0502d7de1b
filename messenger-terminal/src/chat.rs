//! The conversation: what is typed is carried out, what comes is shown.

mod show;
mod work;

use crate::Sentence;
use crate::command::Command;
use crate::contacts::Unread;
use crate::files::Received;
use crate::paint::Paint;
use crate::screen::{self, Screen, Typed};
use messenger_client::proto::{MessageAccepted, UserId};
use messenger_client::{
    ConnectionState, Incoming, SendError, Session, SessionEnd, SessionEvent, States,
};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long to wait for what was sent last, before leaving.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Of how many messages is remembered that they were typed here.
const TYPED_HERE: usize = 1_000;

pub(crate) struct Chat {
    session: Session,
    states: States,
    login: UserId,
    /// Whom we talk to.
    peer: Option<UserId>,
    paint: Paint,
    unread: Unread,
    received: Received,
    /// What becomes of messages, and to whom they go.
    receipts: JoinSet<(UserId, Result<MessageAccepted, SendError>)>,
    /// Recipient and text of what was typed here, whose own copies are on the screen already.
    typed_here: VecDeque<(UserId, String)>,
    is_online: bool,
}

impl Chat {
    pub(crate) fn new(session: Session, login: UserId) -> Self {
        Self {
            states: session.states(),
            session,
            login,
            peer: None,
            paint: Paint::new(),
            unread: Unread::default(),
            received: Received::default(),
            receipts: JoinSet::new(),
            typed_here: VecDeque::new(),
            is_online: true,
        }
    }

    /// Talks until the user leaves, or the session ends.
    pub(crate) async fn talk(mut self, mut incoming: Incoming) -> Result<(), Sentence> {
        let (mut keyboard, screen) = screen::open()?;
        let login = crate::safe::line(self.login.as_str());
        screen.show(format!(
            "You are {login}. /help tells what you can do; begin with /to NAME."
        ));
        keyboard.prompt(self.prompt());
        let end = loop {
            tokio::select! {
                biased;
                typed = keyboard.typed() => match typed {
                    Typed::End => break None,
                    Typed::Line(line) => {
                        if self.carry_out(&line, &screen).await.is_break() {
                            break None;
                        }
                        keyboard.prompt(self.prompt());
                    }
                },
                Some(Ok((to, outcome))) = self.receipts.join_next() => {
                    self.show_outcome(&to, outcome, &screen);
                }
                Some(state) = self.states.next() => self.show_state(state, &screen),
                event = next(&mut incoming, &screen) => match event {
                    Ok(event) => self.show_event(event, &screen),
                    Err(end) => break Some(end),
                },
            }
        };
        self.leave(end, incoming, screen).await
    }

    fn prompt(&self) -> String {
        let peer = self.peer.as_ref().map_or("(nobody)", UserId::as_str);
        format!("{}> ", crate::safe::line(peer))
    }

    /// Carries out a line; breaks when that was the last.
    async fn carry_out(&mut self, line: &str, screen: &Screen) -> ControlFlow<()> {
        let done = match Command::parse(line) {
            Command::Quit => return ControlFlow::Break(()),
            Command::LogOut => match self.session.log_out().await {
                Ok(()) => return ControlFlow::Break(()),
                Err(error) => Err(crate::because(&error)),
            },
            command => self.work(command, screen).await,
        };
        if let Err(sentence) = done {
            screen.show(self.paint.trouble(format!("That did not work: {sentence}")));
        }
        ControlFlow::Continue(())
    }

    async fn leave(
        mut self,
        end: Option<SessionEnd>,
        mut incoming: Incoming,
        screen: Screen,
    ) -> Result<(), Sentence> {
        if matches!(self.session.state(), ConnectionState::Online) {
            // Whatever has not gone by then goes the next time.
            let _ = timeout(LAST_WORDS, self.last_outcomes(&screen)).await;
        }
        screen.finish().await;
        // What stands on the screen need not come again; at worst it does.
        let _ = incoming.processed().await;
        let (waiting, _) = self.session.outbox();
        self.session.close().await;
        match end {
            Some(SessionEnd::LoggedOut) | None if waiting == 0 => Ok(()),
            Some(SessionEnd::LoggedOut) | None => Err(format!("{waiting} messages were not sent.")),
            // A line may be half typed.
            Some(end) => Err(format!("\nIt ends here: {}.", crate::because(&end))),
        }
    }

    async fn last_outcomes(&mut self, screen: &Screen) {
        while let Some(Ok((to, outcome))) = self.receipts.join_next().await {
            self.show_outcome(&to, outcome, screen);
        }
    }
}

/// The next event, once the screen takes more.
async fn next(incoming: &mut Incoming, screen: &Screen) -> Result<SessionEvent, SessionEnd> {
    screen.has_room().await;
    incoming.next().await
}

fn remember(typed_here: &mut VecDeque<(UserId, String)>, to: UserId, text: &str) {
    typed_here.push_back((to, text.to_owned()));
    if typed_here.len() > TYPED_HERE {
        typed_here.pop_front();
    }
}
