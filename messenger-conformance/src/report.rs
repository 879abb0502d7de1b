//! What was found, as a table or as JSON.

use crate::player::Fault;
use crate::rule::{Rule, Transport};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter};

/// How many characters of a frame are shown.
const SHOWN: usize = 400;

/// What became of a rule.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    rule: String,
    /// The heading in PROTOCOL.md.
    section: String,
    says: String,
    over: Transport,
    /// Nothing if the rule is kept.
    fault: Option<Fault>,
}

impl Outcome {
    pub(crate) fn new(rule: &Rule, over: Transport, fault: Option<Fault>) -> Self {
        Self {
            rule: rule.rule.clone(),
            section: rule.section.clone(),
            says: rule.says.clone(),
            over,
            fault: fault.map(shortened),
        }
    }
}

/// What became of all rules, in the order in which they were checked.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Outcome>);

impl Report {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.0.push(outcome);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.broken() == 0
    }

    pub(crate) fn json(&self) -> Value {
        json!(self.0)
    }

    fn broken(&self) -> usize {
        self.0
            .iter()
            .filter(|outcome| outcome.fault.is_some())
            .count()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for outcome in &self.0 {
            let Outcome {
                rule,
                section,
                says,
                over,
                fault,
            } = outcome;
            let over = match over {
                Transport::Tcp => "tcp",
                Transport::WebSocket => "websocket",
            };
            let Some(fault) = fault else {
                writeln!(f, "kept    {over:<9}  {rule:<48}  {section}")?;
                continue;
            };
            writeln!(f, "BROKEN  {over:<9}  {rule:<48}  {section}")?;
            writeln!(f, "        {says}")?;
            writeln!(f, "        sent      {}: {}", fault.on, fault.sent)?;
            writeln!(f, "        expected  {}", fault.expected)?;
            writeln!(f, "        got       {}", fault.got)?;
        }
        let (all, broken) = (self.0.len(), self.broken());
        writeln!(f, "{all} checked: {} kept, {broken} broken", all - broken)?;
        if self.0.iter().any(is_limited) {
            writeln!(
                f,
                "The server limits how much is asked of it in a time (status 20): lift that while it is checked."
            )?;
        }
        Ok(())
    }
}

fn is_limited(outcome: &Outcome) -> bool {
    let got = outcome.fault.as_ref().map(|fault| fault.got.as_str());
    got.is_some_and(|got| got.contains("\"status\":20,"))
}

/// The fault with no more of each frame than somebody reads.
fn shortened(fault: Fault) -> Fault {
    let short = |text: String| match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => {
            let (shown, rest) = text.split_at(end);
            format!("{shown}… and {} bytes more", rest.len())
        }
    };
    Fault {
        on: fault.on,
        sent: short(fault.sent),
        expected: short(fault.expected),
        got: short(fault.got),
    }
}
