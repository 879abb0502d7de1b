//! The rules, as the files in `vectors` have them; `vectors/README.md` tells what they mean.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Each file with its rules, in the order in which they are checked.
const FILES: [(&str, &str); 12] = [
    ("connecting", include_str!("../vectors/connecting.json")),
    ("frames", include_str!("../vectors/frames.json")),
    ("fields", include_str!("../vectors/fields.json")),
    ("wrong", include_str!("../vectors/wrong.json")),
    ("register", include_str!("../vectors/register.json")),
    ("auth", include_str!("../vectors/auth.json")),
    ("logout", include_str!("../vectors/logout.json")),
    ("sessions", include_str!("../vectors/sessions.json")),
    ("message", include_str!("../vectors/message.json")),
    ("ack", include_str!("../vectors/ack.json")),
    ("people", include_str!("../vectors/people.json")),
    ("websocket", include_str!("../vectors/websocket.json")),
];

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    WebSocket,
}

/// A rule, and the conversation that shows whether it is kept.
#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    /// Its file and its name.
    pub(crate) rule: String,
    /// The heading in PROTOCOL.md under which it stands.
    pub(crate) section: String,
    /// What it says, in a sentence.
    pub(crate) says: String,
    /// The only transport on which it makes sense, if there is but one.
    over: Option<Transport>,
    pub(crate) steps: Vec<Step>,
}

impl Rule {
    pub(crate) fn holds_over(&self, transport: Transport) -> bool {
        self.over.is_none_or(|only| only == transport)
    }
}

/// What happens on one of the rule's connections.
#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    /// The connection's name; its first step opens it.
    pub(crate) on: String,
    #[serde(flatten)]
    pub(crate) act: Act,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// Registers this user, unless an earlier step did, and authenticates.
    LogIn(String),
    Send(Value),
    SendText(String),
    SendHex(String),
    SendBytewise(Value),
    Expect(Value),
    ExpectText(String),
    /// The server closes the connection; over WebSocket with this code.
    Closed(u16),
    Then(Then),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// The server has nothing more to say.
    Quiet,
    /// The client closes the connection.
    Close,
}

/// The rules whose names begin so, or a sentence why there are none.
pub(crate) fn all(beginning: &str) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    for (file, text) in FILES {
        let of_file: Vec<Rule> = serde_json::from_str(text)
            .map_err(|error| format!("vectors/{file}.json cannot be read: {error}"))?;
        rules.extend(of_file);
    }
    rules.retain(|rule| rule.rule.starts_with(beginning));
    if rules.is_empty() {
        return Err(format!("no rule's name begins with {beginning:?}"));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn each_rule_is_of_its_file_and_of_a_section_of_the_protocol() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let protocol = fs::read_to_string(folder.join("../PROTOCOL.md")).unwrap();
        let headings: HashSet<_> = protocol
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| line.trim_start_matches('#').trim())
            .collect();
        let mut names = HashSet::new();
        for (file, text) in FILES {
            for rule in serde_json::from_str::<Vec<Rule>>(text).unwrap() {
                assert!(rule.rule.starts_with(&format!("{file}/")), "{rule:?}");
                assert!(headings.contains(rule.section.as_str()), "{rule:?}");
                assert!(names.insert(rule.rule.clone()), "{rule:?}");
            }
        }
    }

    #[test]
    fn every_file_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let read = FILES.iter().any(|(file, _)| name == format!("{file}.json"));
            assert!(read || name == "README.md", "{name} is not read");
        }
    }
}
