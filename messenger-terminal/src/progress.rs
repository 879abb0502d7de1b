//! How far something is.

use std::io::{IsTerminal, Write, stdout};

const WIDTH: usize = 30;

/// A bar that is drawn over itself, if there is a terminal to draw on.
#[derive(Debug)]
pub(crate) struct Bar {
    name: String,
    total: usize,
    is_drawn: bool,
}

impl Bar {
    pub(crate) fn new(name: String, total: usize) -> Self {
        Self {
            name,
            total: total.max(1),
            is_drawn: stdout().is_terminal(),
        }
    }

    pub(crate) fn draw(&self, done: usize) {
        if self.is_drawn {
            print!("\r{}", self.line(done));
            // A terminal that is gone is noticed when reading.
            let _ = stdout().flush();
        }
    }

    fn line(&self, done: usize) -> String {
        let done = done.min(self.total);
        let filled = done * WIDTH / self.total;
        let percent = done * 100 / self.total;
        let (full, rest) = ("#".repeat(filled), ".".repeat(WIDTH - filled));
        format!("{} [{full}{rest}] {percent:3} %", self.name)
    }
}

/// The line where the bar was is free again.
impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_drawn {
            print!("\r{}\r", " ".repeat(self.line(self.total).chars().count()));
            let _ = stdout().flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_with_what_is_done() {
        let bar = Bar {
            name: "file".to_owned(),
            total: 200,
            is_drawn: false,
        };
        assert_eq!(bar.line(0), format!("file [{}]   0 %", ".".repeat(30)));
        let half = format!("file [{}{}]  50 %", "#".repeat(15), ".".repeat(15));
        assert_eq!(bar.line(100), half);
        assert_eq!(bar.line(900), format!("file [{}] 100 %", "#".repeat(30)));
    }
}
