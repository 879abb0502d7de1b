//! Whether what came is what a rule expects.

use crate::names::{Names, only_name};
use serde_json::Value;

/// What a time in seconds is between: 2017 and 5138. A time in milliseconds is beyond that.
const SECONDS: std::ops::Range<u64> = 1_500_000_000..100_000_000_000;

/// Compares, and binds the names that stand for nothing yet; otherwise a sentence about the first difference.
/// Fields that nobody expects may come on top.
pub(crate) fn compare(expected: &Value, found: &Value, names: &mut Names) -> Result<(), String> {
    compare_at("", expected, Some(found), names)
}

fn compare_at(
    place: &str,
    expected: &Value,
    found: Option<&Value>,
    names: &mut Names,
) -> Result<(), String> {
    match (expected, found) {
        (Value::Null, None) => Ok(()),
        (Value::Null, Some(_)) => Err(format!("{place} should be absent")),
        (_, None) => Err(format!("{place} is missing")),
        (Value::Object(fields), Some(Value::Object(found))) => {
            let dot = if place.is_empty() { "" } else { "." };
            fields.iter().try_for_each(|(key, expected)| {
                compare_at(
                    &format!("{place}{dot}{key}"),
                    expected,
                    found.get(key),
                    names,
                )
            })
        }
        (Value::Array(list), Some(Value::Array(found))) if list.len() == found.len() => {
            let mut pairs = list.iter().zip(found).enumerate();
            pairs.try_for_each(|(index, (expected, found))| {
                compare_at(&format!("{place}[{index}]"), expected, Some(found), names)
            })
        }
        (Value::String(pattern), Some(found)) => match is_as(pattern, found, names)? {
            true => Ok(()),
            false => Err(format!("{place} differs")),
        },
        (expected, Some(found)) if expected == found => Ok(()),
        _ => Err(format!("{place} differs")),
    }
}

/// Whether the value is as the pattern has it.
fn is_as(pattern: &str, found: &Value, names: &mut Names) -> Result<bool, String> {
    if let Some(part) = pattern.strip_prefix('~') {
        return Ok(found.as_str().is_some_and(|text| text.contains(part)));
    }
    if let Some(name) = pattern.strip_prefix('!') {
        let text = found.as_str().filter(|text| !text.is_empty());
        return Ok(text.is_some() && names.get(name) != Some(found));
    }
    if let Some(name) = pattern.strip_prefix('#') {
        return Ok(match names.get(name) {
            Some(bound) => bound == found,
            None => bind_number(name, found, names),
        });
    }
    match only_name(pattern) {
        Some(name) if names.get(name).is_none() => Ok(bind_text(name, found, names)),
        _ => Ok(names.text(pattern)? == *found),
    }
}

fn bind_text(name: &str, found: &Value, names: &mut Names) -> bool {
    let is_text = found.as_str().is_some_and(|text| !text.is_empty());
    if is_text {
        names.bind(name, found.clone());
    }
    is_text
}

fn bind_number(name: &str, found: &Value, names: &mut Names) -> bool {
    let wanted = |number| !name.starts_with("time") || SECONDS.contains(&number);
    let is_number = found.as_u64().is_some_and(wanted);
    if is_number {
        names.bind(name, found.clone());
    }
    is_number
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Compares one pair after the other, with the same names.
    fn all(pairs: &[(Value, Value)]) -> Result<(), String> {
        let mut names = Names::fresh().unwrap();
        let mut pairs = pairs.iter();
        pairs.try_for_each(|(expected, found)| compare(expected, found, &mut names))
    }

    fn one(expected: Value, found: Value) -> Result<(), String> {
        all(&[(expected, found)])
    }

    #[test]
    fn fields_are_there_and_others_may_be() {
        assert_eq!(
            one(json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}})),
            Ok(())
        );
        let missing = one(json!({"a": {"b": 1}}), json!({"a": {}}));
        assert_eq!(missing, Err("a.b is missing".into()));
        let absent = one(json!({"a": null}), json!({"a": 5}));
        assert_eq!(absent, Err("a should be absent".into()));
        assert_eq!(one(json!({"a": null}), json!({})), Ok(()));
    }

    #[test]
    fn a_number_is_no_text_and_a_list_has_its_length() {
        for (expected, found) in [
            (json!({"a": 1}), json!({"a": "1"})),
            (json!({"a": 1}), json!({"a": 1.0})),
            (json!({"a": "1"}), json!({"a": 1})),
            (json!({"a": []}), json!({"a": [1]})),
            (json!({"a": "#_"}), json!({"a": "7"})),
            (json!({"a": "#_"}), json!({"a": 7.5})),
            (json!({"a": "#time"}), json!({"a": 1_700_000_000_000_u64})),
            (json!({"a": "$_"}), json!({"a": ""})),
            (json!({"a": "$_"}), json!({"a": 7})),
            (json!({"a": "~bc"}), json!({"a": "acb"})),
            (json!({"a": "!ann"}), json!({"a": ""})),
        ] {
            assert_eq!(one(expected, found), Err("a differs".into()));
        }
    }

    #[test]
    fn a_name_stands_for_what_stood_there_first() {
        let first = (json!({"id": "$id", "n": "#n"}), json!({"id": "a", "n": 1}));
        let same = all(&[first.clone(), first.clone()]);
        assert_eq!(same, Ok(()));
        let other = (json!({"id": "$id"}), json!({"id": "b"}));
        assert_eq!(all(&[first.clone(), other]), Err("id differs".into()));
        let number = (json!({"n": "#n"}), json!({"n": 2}));
        assert_eq!(all(&[first.clone(), number]), Err("n differs".into()));
        let unlike = (json!({"id": "!id"}), json!({"id": "b"}));
        assert_eq!(all(&[first.clone(), unlike]), Ok(()));
        let like = (json!({"id": "!id"}), json!({"id": "a"}));
        assert_eq!(all(&[first, like]), Err("id differs".into()));
    }
}
