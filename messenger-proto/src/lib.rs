//! The wire of the messenger protocol: JSON objects that follow each other over a stream.
//!
//! Typed [requests](Request), [responses](Response) and [events](Event), the error codes, the
//! [frame splitter](Splitter) and the codecs for both ends. No runtime, no I/O.
//!
//! ```
//! use bytes::BytesMut;
//! use messenger_proto::{Auth, Password, Request, ServerCodec};
//! use tokio_util::codec::Decoder;
//!
//! let mut codec = ServerCodec::default();
//! let mut received = BytesMut::from(
//!     r#"{"action":"auth","data":{"login":"ann","pass":"5ebe2294ecd0e0f08eab7690d2a6ee69"}}{"act"#,
//! );
//! let inbound = codec.decode(&mut received)?.expect("one whole frame")?;
//! assert_eq!(inbound.request, Request::Auth(Auth::new("ann", Password::md5_of("secret"))));
//! assert!(codec.decode(&mut received)?.is_none(), "the second frame is still on its way");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod code;
mod codec;
mod contact;
mod event;
mod failure;
mod inbound;
mod list;
mod outbound;
mod password;
mod plain;
mod read;
mod simd;
mod splitter;
mod text;
mod write;

pub use action::*;
pub use bytestring::ByteString;
pub use code::ErrorCode;
pub use codec::{ClientCodec, CodecError, ServerCodec};
pub use contact::{Card, Contact, Profile};
pub use event::{EvMessage, Event, Message, SharedMessage, Welcome};
pub use failure::Failure;
pub use inbound::{BadRequest, Credentials, Inbound, ParseError};
pub use list::ListResponse;
pub use outbound::{Outbound, OutboundError};
pub use splitter::{MAX_DEPTH, Split, SplitError, Splitter};
pub use text::{MessageId, Password, PrivateText, SessionId, UserId};
pub use write::{Braces, Escapes};
