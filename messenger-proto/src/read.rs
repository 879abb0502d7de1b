//! Reading JSON leniently where protocol.md says so, and without copying what needs no unescaping.

use bytestring::ByteString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
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

/// A whole number, bare or quoted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Num(pub(crate) u64);

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumVisitor;
        impl Visitor<'_> for NumVisitor {
            type Value = Num;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, bare or quoted")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Num, E> {
                Ok(Num(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Num, E> {
                text.parse().map(Num).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumVisitor)
    }
}

/// An object, and nothing but an object: derived structs would take a list as well.
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
        }
        deserializer.deserialize_map(ObjVisitor(PhantomData))
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
pub(crate) struct Texts<'a, const MOST: usize>(pub(crate) Vec<Str<'a>>);

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
