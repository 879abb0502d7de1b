//! Reading JSON leniently where protocol.md says so, and without copying what needs no unescaping.

use bytestring::ByteString;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::marker::PhantomData;

/// A string field: absent, `null`, or text.
#[derive(Debug, Default)]
pub(crate) struct Str<'a>(Option<Cow<'a, str>>);

/// The frame in which a text stands, if they may share their bytes; otherwise the text is copied.
pub(crate) type FrameBytes<'a> = Option<&'a ByteString>;

/// A text that is at least this part of its frame shares the frame's bytes. A smaller one is copied:
/// whoever keeps it would keep the whole frame alive, and a peer could make frames for that.
const SHARED_PART: usize = 4;

impl<'a> Str<'a> {
    pub(crate) const fn absent() -> Self {
        Self(None)
    }

    pub(crate) fn required(self) -> Option<RequiredStr<'a>> {
        self.0.map(RequiredStr)
    }

    /// Text that stands in its frame unescaped; refused when there is one already.
    pub(crate) fn set(&mut self, text: &'a str) -> Option<()> {
        let before = self.0.replace(Cow::Borrowed(text));
        before.is_none().then_some(())
    }

    /// The text, sharing the frame's bytes when it stands there unescaped and makes up much of it.
    pub(crate) fn text(self, frame: FrameBytes<'_>) -> Option<ByteString> {
        self.0.map(|text| match text {
            Cow::Borrowed(text) => match frame {
                Some(frame) if text.len() * SHARED_PART >= frame.len() => frame.slice_ref(text),
                _ => text.into(),
            },
            Cow::Owned(text) => text.into(),
        })
    }

    /// The text as an id, empty when absent.
    pub(crate) fn id<I: for<'t> From<&'t str>>(self) -> I {
        self.0.as_deref().unwrap_or_default().into()
    }

    /// The text, empty when absent.
    pub(crate) fn or_empty(self, frame: FrameBytes<'_>) -> ByteString {
        self.text(frame).unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;
        impl<'de> Visitor<'de> for StrVisitor {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Str(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Str(None))
            }
        }
        deserializer.deserialize_any(StrVisitor)
    }
}

/// A string field that must be there.
pub(crate) struct RequiredStr<'a>(Cow<'a, str>);

impl RequiredStr<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RequiredStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Str::deserialize(deserializer)?
            .required()
            .ok_or_else(|| D::Error::custom("a string is needed"))
    }
}

/// A field that ought to be a string. Whatever else it is, and a string that is no text, counts as unreadable: nothing
/// is refused for it where it is read.
#[derive(Debug, Default)]
pub(crate) struct Lenient<'a>(Option<Str<'a>>);

impl<'a> Lenient<'a> {
    /// What was read; `None` when it was unreadable.
    pub(crate) fn readable(self) -> Option<Str<'a>> {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Passed over as JSON first: what comes behind it can then be read, whatever it is.
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        Ok(Self(serde_json::from_str(raw).ok()))
    }
}

/// A whole number in any form that JSON has, bare or quoted: who holds numbers as doubles writes 7 as 7.0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Num(pub(crate) u64);

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Its digits, as a double would not keep all of a large one.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let number = match raw.starts_with('"') {
            true => serde_json::from_str(raw)
                .ok()
                .filter(|text: &Cow<'_, str>| is_number(text))
                .and_then(|text| whole(&text)),
            false if is_number(raw) => whole(raw),
            false => None,
        };
        let number = number.ok_or_else(|| D::Error::custom("a whole number is needed"))?;
        Ok(Self(number))
    }
}

/// True for a number as JSON writes it, with nothing around it.
fn is_number(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let ends = text.ends_with(|last: char| last.is_ascii_digit());
    begins && ends && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What this number is exactly; `None` when it is not whole, or out of range.
fn whole(number: &str) -> Option<u64> {
    if let Ok(number) = number.parse() {
        return Some(number);
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let positive = integer.strip_prefix('-').unwrap_or(integer);
    let digits = format!("{positive}{fraction}");
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let exponent = exponent.parse::<i64>().ok()?;
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let zeros = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
    let zeros = u32::try_from(exponent.checked_add(zeros)?).ok()?;
    let number = significant
        .parse::<u64>()
        .ok()?
        .checked_mul(10_u64.checked_pow(zeros)?)?;
    (positive.len() == integer.len()).then_some(number)
}

/// An object: derived structs would take a list as well. An empty list is an empty object, which some libraries
/// write for one.
#[derive(Debug, Default)]
pub(crate) struct Obj<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Obj<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjVisitor<T> {
            type Value = Obj<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Obj<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Obj)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Obj<T>, A::Error> {
                self.visit_map(no_fields(list)?)
            }
        }
        deserializer.deserialize_any(ObjVisitor(PhantomData))
    }
}

/// The fields of an object that was written as a list: none, and the list must be empty.
pub(crate) fn no_fields<'de, A: SeqAccess<'de>>(
    mut list: A,
) -> Result<impl MapAccess<'de, Error = A::Error>, A::Error> {
    match list.next_element::<IgnoredAny>()? {
        None => Ok(MapDeserializer::new(iter::empty::<(&str, &str)>())),
        Some(_) => Err(A::Error::custom("a list with something in it is no object")),
    }
}

/// How many keys of an object are remembered, so that one that stands there twice is noticed.
const REMEMBERED_KEYS: usize = 64;

/// The keys that an object has had. (What is asked for is not read twice whatever stands before it; this is for
/// keys that nobody asks for, among the first of an object.)
#[derive(Debug, Default)]
pub(crate) struct Keys<'a>(Vec<Cow<'a, str>>);

impl<'a> Keys<'a> {
    /// Remembers the key; false when it was there before.
    pub(crate) fn add(&mut self, key: &RequiredStr<'a>) -> bool {
        if self.0.contains(&key.0) {
            return false;
        }
        if self.0.len() < REMEMBERED_KEYS {
            self.0.push(key.0.clone());
        }
        true
    }
}

/// A list of at most `MOST` objects. It is refused while it is read, not after.
#[derive(Debug, Default)]
pub(crate) struct List<T, const MOST: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let objects = deserializer.deserialize_seq(Bounded::<Obj<T>, MOST>(PhantomData))?;
        Ok(Self(
            objects.into_iter().map(|Obj(object)| object).collect(),
        ))
    }
}

/// A list of at most `MOST` texts.
#[derive(Debug, Default)]
pub(crate) struct Texts<'a, const MOST: usize>(Vec<Str<'a>>);

impl<const MOST: usize> Texts<'_, MOST> {
    /// True when this text is among them.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|text| text.0.as_deref() == Some(wanted))
    }
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for Texts<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = deserializer.deserialize_seq(Bounded::<Str<'a>, MOST>(PhantomData))?;
        Ok(Self(texts))
    }
}

struct Bounded<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}
