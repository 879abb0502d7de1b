//! Colours, where they are wanted.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
use std::io::stdout;

/// Paints, or does not: when the output is no terminal, or `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    pub(crate) fn new() -> Self {
        Self {
            is_on: AutoStream::choice(&stdout()) != ColorChoice::Never,
        }
    }

    /// The name of somebody who writes.
    pub(crate) fn name(self, text: impl Display) -> String {
        self.paint(text, AnsiColor::Green.on_default().bold())
    }

    /// Word of the program itself.
    pub(crate) fn note(self, text: impl Display) -> String {
        self.paint(text, Style::new().dimmed())
    }

    /// What did not work.
    pub(crate) fn trouble(self, text: impl Display) -> String {
        self.paint(text, AnsiColor::Red.on_default())
    }

    /// What has not been looked at.
    pub(crate) fn new_thing(self, text: impl Display) -> String {
        self.paint(text, AnsiColor::Yellow.on_default().bold())
    }

    fn paint(self, text: impl Display, style: Style) -> String {
        match self.is_on {
            true => format!("{style}{text}{style:#}"),
            false => text.to_string(),
        }
    }
}
