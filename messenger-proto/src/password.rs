//! How a client makes `pass` out of what its user typed.

use crate::Password;
use md5::{Digest, Md5};

impl Password {
    /// The seed document's `MD5_FROM_PASS`: MD5 of the typed password as 32 lower-case hexadecimal
    /// digits. MD5 hides nothing from someone who listens; use TLS.
    ///
    /// ```
    /// use messenger_proto::Password;
    /// assert_eq!(Password::md5_of("secret").as_str(), "5ebe2294ecd0e0f08eab7690d2a6ee69");
    /// ```
    pub fn md5_of(typed: &str) -> Self {
        let mut hex = String::with_capacity(32);
        for byte in Md5::digest(typed.as_bytes()) {
            for nibble in [byte >> 4, byte & 0xf] {
                hex.extend(char::from_digit(nibble.into(), 16));
            }
        }
        Self::from(hex)
    }
}
