//! Error codes: the number in `status`.

use std::fmt;

/// Why a request was not carried out. Zero is success and has no `ErrorCode`.
///
/// Codes 1–8 are the seed document's; 20–22 are additions, used only where none of the seed's is
/// true. A number this library does not know is kept as [`ErrorCode::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1: the login, the nick or the contact exists already.
    AlreadyExists,
    /// 2: the password is wrong.
    InvalidPass,
    /// 3: the request is malformed, or a field is over its limit.
    InvalidData,
    /// 4: a field that must not be empty is.
    EmptyField,
    /// 5: this connection is authenticated, so it cannot register.
    AlreadyRegistered,
    /// 6: authenticate first.
    NeedAuth,
    /// 7: no account has this login.
    NeedRegister,
    /// 8: no user has this id.
    UserNotFound,
    /// 20: too many requests; try later.
    TooManyRequests,
    /// 21: the recipient's inbox is full.
    InboxFull,
    /// 22: temporarily unavailable; nothing was done, unless the text says that this is not known.
    Unavailable,
    /// A number this library has no name for.
    Other(u32),
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::AlreadyExists => 1,
            Self::InvalidPass => 2,
            Self::InvalidData => 3,
            Self::EmptyField => 4,
            Self::AlreadyRegistered => 5,
            Self::NeedAuth => 6,
            Self::NeedRegister => 7,
            Self::UserNotFound => 8,
            Self::TooManyRequests => 20,
            Self::InboxFull => 21,
            Self::Unavailable => 22,
            Self::Other(number) => number,
        }
    }

    /// The code with this number; `None` for 0, which is success.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::AlreadyExists,
            2 => Self::InvalidPass,
            3 => Self::InvalidData,
            4 => Self::EmptyField,
            5 => Self::AlreadyRegistered,
            6 => Self::NeedAuth,
            7 => Self::NeedRegister,
            8 => Self::UserNotFound,
            20 => Self::TooManyRequests,
            21 => Self::InboxFull,
            22 => Self::Unavailable,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives() {
        assert_eq!(ErrorCode::from_number(0), None);
        for number in 1..100 {
            let code = ErrorCode::from_number(number).unwrap();
            assert_eq!(code.number(), number);
        }
        assert_eq!(ErrorCode::from_number(77), Some(ErrorCode::Other(77)));
    }
}
