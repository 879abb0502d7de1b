//! The kinds of text on the wire. All of them are cheap to clone.

use bytestring::ByteString;
use smol_str::SmolStr;
use std::fmt;
use subtle::ConstantTimeEq;

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $text:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name($text);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True when there is no text.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// Ids, which are short as a rule: up to 23 bytes lie where the id does.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        text_type!(
            $(#[$doc])*
            #[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
            $name,
            SmolStr
        );

        impl From<ByteString> for $name {
            fn from(text: ByteString) -> Self {
                Self(SmolStr::new(text))
            }
        }

        /// Puts the parts together.
        impl<'a> FromIterator<&'a str> for $name {
            fn from_iter<I: IntoIterator<Item = &'a str>>(parts: I) -> Self {
                Self(parts.into_iter().collect())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

macro_rules! private_text {
    ($(#[$doc:meta])* $name:ident) => {
        text_type!(
            $(#[$doc])*
            ///
            /// `Debug` tells the length only, so that the text cannot reach a log by accident.
            $name,
            ByteString
        );

        impl $name {
            /// Wraps the text as it is; nothing is checked.
            pub fn new(text: impl Into<ByteString>) -> Self {
                Self(text.into())
            }

            /// The text with its shared bytes.
            pub fn as_text(&self) -> &ByteString {
                &self.0
            }
        }

        impl From<ByteString> for $name {
            fn from(text: ByteString) -> Self {
                Self(text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "<{} bytes>", self.0.len())
            }
        }
    };
}

id! {
    /// Who a user is: the login, case-sensitive, never changing. On the wire `uid`, `cid`, `user`,
    /// `from` and `to`.
    UserId
}

id! {
    /// What a message is called in the sender's reply, the sender's copy and the recipient's event.
    MessageId
}

/// Private texts whose comparison must not tell where they differ.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        private_text! {
            $(#[$doc])*
            ///
            /// Two are compared in a time that tells their lengths at most, not how much of them is equal.
            $name
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// The secret that names a session (`sid`): whoever has it is the user's device.
    SessionId
}

secret! {
    /// What a client sends as `pass`: the MD5 of the password in hexadecimal digits, or the raw
    /// password (older clients do). The server never looks at its shape.
    Password
}

private_text! {
    /// Text that belongs to the people who write to each other: a message's body, an attachment's data.
    #[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
    PrivateText
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_when_all_of_them_is() {
        let secret = SessionId::from("abc");
        assert_eq!(secret, SessionId::from("abc"));
        for other in ["abd", "bbc", "ab", "abcd", ""] {
            assert_ne!(secret, SessionId::from(other));
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        assert_eq!(format!("{:?}", Password::from("hunter2")), "<7 bytes>");
        assert_eq!(format!("{:?}", SessionId::from("abc")), "<3 bytes>");
        assert_eq!(format!("{:?}", PrivateText::from("hi")), "<2 bytes>");
        assert_eq!(format!("{:?}", UserId::from("ann")), "\"ann\"");
    }
}
