//! What is given to a statement.

use crate::text::escape;
use messenger_core::clock::Timestamp;
use messenger_core::storage::SessionKey;
use std::borrow::Cow;
use tokio_postgres::types::{ToSql, Type};

/// A statement's parameters, `$1` first.
///
/// They go with their types, in one round trip, and nothing is prepared: what takes time to plan is in the functions.
#[derive(Default)]
pub(crate) struct Params<'a>(Vec<(Box<dyn ToSql + Send + Sync + 'a>, Type)>);

impl<'a> Params<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn with(mut self, value: impl ToSql + Send + Sync + 'a, kind: Type) -> Self {
        self.0.push((Box::new(value), kind));
        self
    }

    pub(crate) fn text(self, text: &'a str) -> Self {
        self.with(escape(text), Type::TEXT)
    }

    pub(crate) fn optional_text(self, text: Option<&'a str>) -> Self {
        self.with(text.map(escape), Type::TEXT)
    }

    pub(crate) fn texts(self, texts: impl Iterator<Item = &'a str>) -> Self {
        let texts: Vec<Cow<'a, str>> = texts.map(escape).collect();
        self.with(texts, Type::TEXT_ARRAY)
    }

    pub(crate) fn optional_texts(self, texts: impl Iterator<Item = Option<&'a str>>) -> Self {
        let texts: Vec<Option<Cow<'a, str>>> = texts.map(|text| text.map(escape)).collect();
        self.with(texts, Type::TEXT_ARRAY)
    }

    pub(crate) fn small(self, number: i16) -> Self {
        self.with(number, Type::INT2)
    }

    pub(crate) fn number(self, number: impl TryInto<i64>) -> Self {
        self.with(integer(number), Type::INT8)
    }

    pub(crate) fn numbers<N: TryInto<i64>>(self, numbers: impl Iterator<Item = N>) -> Self {
        let numbers: Vec<i64> = numbers.map(integer).collect();
        self.with(numbers, Type::INT8_ARRAY)
    }

    pub(crate) fn time(self, time: Timestamp) -> Self {
        self.number(time.as_micros())
    }

    pub(crate) fn times(self, times: impl Iterator<Item = Timestamp>) -> Self {
        self.numbers(times.map(Timestamp::as_micros))
    }

    pub(crate) fn flag(self, flag: bool) -> Self {
        self.with(flag, Type::BOOL)
    }

    pub(crate) fn optional_key(self, key: Option<&'a SessionKey>) -> Self {
        self.with(key.map(|SessionKey(key)| &key[..]), Type::BYTEA)
    }

    pub(crate) fn optional_bytes(self, bytes: impl Iterator<Item = Option<[u8; 32]>>) -> Self {
        let bytes: Vec<Option<Vec<u8>>> = bytes.map(|one| one.map(Vec::from)).collect();
        self.with(bytes, Type::BYTEA_ARRAY)
    }

    pub(crate) fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let typed = self.0.iter();
        typed
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// A number for PostgreSQL, which has no larger ones.
fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
