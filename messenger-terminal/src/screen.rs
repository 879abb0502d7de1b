//! The keyboard and the screen. What is typed stays when something is shown meanwhile.

use crate::Sentence;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use std::io::{IsTerminal, stdin, stdout};
use std::sync::mpsc as sync;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How many texts may wait to be shown.
const WAITING: usize = 256;

/// How long the last of them may take.
const LAST_TEXTS: Duration = Duration::from_secs(5);

/// What is typed. A thread of its own reads it, because terminals block.
#[derive(Debug)]
pub(crate) struct Keyboard {
    typed: mpsc::Receiver<Typed>,
    prompts: sync::Sender<String>,
    #[cfg(unix)]
    _mode: Mode,
}

/// What is shown, by another thread.
#[derive(Debug)]
pub(crate) struct Screen {
    texts: mpsc::Sender<String>,
    /// Told when the thread has shown the last of them.
    all_shown: oneshot::Receiver<()>,
}

#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    /// There will be no more.
    End,
}

/// Begins to read and to show.
pub(crate) fn open() -> Result<(Keyboard, Screen), Sentence> {
    let (sender, typed) = mpsc::channel(1);
    let (prompts, asked) = sync::channel();
    let (texts, to_show) = mpsc::channel(WAITING);
    let (done, all_shown) = oneshot::channel();
    let keyboard = Keyboard {
        typed,
        prompts,
        #[cfg(unix)]
        _mode: Mode::now(),
    };
    if is_interactive() {
        let fails = |error: ReadlineError| format!("The terminal cannot be used: {error}.");
        let mut editor = DefaultEditor::new().map_err(fails)?;
        let printer = editor.create_external_printer().map_err(fails)?;
        thread::spawn(move || {
            show(to_show, printer);
            done.send(())
        });
        thread::spawn(move || edit(editor, &asked, &sender));
    } else {
        thread::spawn(move || {
            print(to_show);
            done.send(())
        });
        thread::spawn(move || read(&asked, &sender));
    }
    Ok((keyboard, Screen { texts, all_shown }))
}

impl Keyboard {
    /// Lets another line be typed, behind this prompt.
    pub(crate) fn prompt(&self, prompt: String) {
        // A keyboard that is gone has said so.
        let _ = self.prompts.send(prompt);
    }

    pub(crate) async fn typed(&mut self) -> Typed {
        self.typed.recv().await.unwrap_or(Typed::End)
    }
}

impl Screen {
    /// Shows a text above the line that is being typed.
    pub(crate) fn show(&self, text: impl Into<String>) {
        // Messages come only while there is much room, and a command shows few texts.
        let _ = self.texts.try_send(text.into());
    }

    /// Waits until half of the room is free.
    pub(crate) async fn has_room(&self) {
        // The permits go back at once.
        let _ = self.texts.reserve_many(WAITING / 2).await;
    }

    /// Waits until all is shown, unless the terminal takes nothing any more.
    pub(crate) async fn finish(self) {
        drop(self.texts);
        let _ = timeout(LAST_TEXTS, self.all_shown).await;
    }
}

fn is_interactive() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

fn show(mut texts: mpsc::Receiver<String>, mut printer: impl ExternalPrinter) {
    while let Some(text) = texts.blocking_recv() {
        if printer.print(format!("{text}\n")).is_err() {
            return;
        }
    }
}

fn print(mut texts: mpsc::Receiver<String>) {
    while let Some(text) = texts.blocking_recv() {
        println!("{text}");
    }
}

/// A line for each prompt.
fn edit(mut editor: DefaultEditor, prompts: &sync::Receiver<String>, typed: &mpsc::Sender<Typed>) {
    while let Ok(prompt) = prompts.recv() {
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            // Ctrl-C throws away what was typed.
            Err(ReadlineError::Interrupted) => String::new(),
            Err(_) => break,
        };
        // Only a line that is in it already is refused.
        let _ = editor.add_history_entry(line.as_str());
        if typed.blocking_send(Typed::Line(line)).is_err() {
            return;
        }
    }
    let _ = typed.blocking_send(Typed::End);
}

/// The same without a terminal: nobody is prompted.
fn read(prompts: &sync::Receiver<String>, typed: &mpsc::Sender<Typed>) {
    let mut lines = stdin().lines().map_while(Result::ok);
    while prompts.recv().is_ok()
        && let Some(line) = lines.next()
    {
        if typed.blocking_send(Typed::Line(line)).is_err() {
            return;
        }
    }
    let _ = typed.blocking_send(Typed::End);
}

/// How the terminal was before: a line may be half typed when the program ends.
#[cfg(unix)]
#[derive(Debug)]
struct Mode(Option<rustix::termios::Termios>);

#[cfg(unix)]
impl Mode {
    fn now() -> Self {
        Self(rustix::termios::tcgetattr(stdin()).ok())
    }
}

#[cfg(unix)]
impl Drop for Mode {
    fn drop(&mut self) {
        if let Some(mode) = &self.0 {
            let _ =
                rustix::termios::tcsetattr(stdin(), rustix::termios::OptionalActions::Now, mode);
        }
    }
}
