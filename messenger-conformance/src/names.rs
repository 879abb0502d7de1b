//! What the names in a rule stand for: users of its own, and what the server has given.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// The users that each rule has, under logins that nobody has yet.
const USERS: [&str; 4] = ["ann", "bob", "eve", "max"];

/// What stands for a name from its first use on.
#[derive(Debug)]
pub(crate) struct Names(HashMap<String, Value>);

impl Names {
    /// Users whom the server cannot know yet, with their nicks and seven digits of a telephone number.
    pub(crate) fn fresh() -> Result<Self, String> {
        let mut names = HashMap::new();
        for user in USERS {
            let random = getrandom::u64().map_err(|error| format!("no random numbers: {error}"))?;
            let tail = format!("{:012x}", random >> 16);
            let digits = format!("{:07}", random % 10_000_000);
            names.insert(user.to_owned(), format!("{user}-{tail}").into());
            names.insert(format!("{user}.nick"), format!("{user} {tail}").into());
            names.insert(format!("{user}.digits"), digits.into());
        }
        Ok(Self(names))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// From now on the name stands for this. `_` stands for nothing twice.
    pub(crate) fn bind(&mut self, name: &str, value: Value) {
        if name != "_" {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// A connection that is opened again gets a new secret.
    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value with what its names stand for, and with what is repeated.
    pub(crate) fn value(&self, pattern: &Value) -> Result<Value, String> {
        Ok(match pattern {
            Value::String(text) => match text.strip_prefix('#').and_then(|name| self.get(name)) {
                Some(number) => number.clone(),
                None => self.text(text)?.into(),
            },
            Value::Array(list) => list
                .iter()
                .map(|item| self.value(item))
                .collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let mut filled = Map::new();
                for (key, value) in fields {
                    filled.insert(key.clone(), self.value(value)?);
                }
                filled.into()
            }
            other => other.clone(),
        })
    }

    /// The same for a text.
    pub(crate) fn text(&self, pattern: &str) -> Result<String, String> {
        let mut parts = pattern.split('$');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_at(name_length(part));
            let value = self.get(name).and_then(Value::as_str);
            filled += value.ok_or_else(|| format!("${name} stands for nothing"))?;
            filled += rest;
        }
        Ok(repeated(&filled))
    }
}

fn name_length(text: &str) -> usize {
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_';
    text.find(|c| !of_name(c)).unwrap_or(text.len())
}

/// The name, if that is all there is.
pub(crate) fn only_name(pattern: &str) -> Option<&str> {
    let name = pattern.strip_prefix('$')?;
    (name_length(name) == name.len()).then_some(name)
}

/// Has `%65x%` become 65 times the `x`.
fn repeated(text: &str) -> String {
    let mut filled = String::new();
    for (index, part) in text.split('%').enumerate() {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        let (count, what) = part.split_at(digits);
        match count.parse() {
            Ok(count) if index % 2 == 1 => filled += &what.repeat(count),
            _ => filled += part,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_repetitions_are_filled_in() {
        let mut names = Names::fresh().unwrap();
        names.bind("x", "1".into());
        names.bind("n", 7.into());
        names.bind("_", "2".into());
        let filled = names.value(&json!({"a": ["$x-$x", "#n"], "b": "%3ab%.%2[%%2]%"}));
        assert_eq!(filled, Ok(json!({"a": ["1-1", 7], "b": "ababab.[[]]"})));
        assert!(names.text("$unknown").is_err());
        assert!(names.text("$_").is_err());
        assert_eq!(names.text("$ann").unwrap().len(), 16);
    }
}
