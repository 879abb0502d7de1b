//! The documents' programs compile as printed. (A crate's own are in its page.)

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
