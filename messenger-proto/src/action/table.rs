//! What a line of the table of actions brings.

/// Makes [`Request`](crate::Request), [`Response`](crate::Response) and all that goes by an action's name.
///
/// A line is `file: Request => held Accepted`. The file's name is the action's name on the wire. What success
/// brings is held `inline` in a response, or `boxed` when it is larger than most.
macro_rules! actions {
    ($($(#[$doc:meta])* $file:ident: $name:ident => $held:ident $accepted:ty,)*) => {
        $(pub use $file::*;)*

        /// What a client asks for.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Request {
            $($(#[$doc])* $name($name),)*
        }

        /// The answer to a request, by action.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Response {
            $(
                #[doc = concat!("To `", stringify!($file), "`.")]
                $name(Result<held!($held $accepted), Failure>),
            )*
            /// To a frame whose action is none of the protocol's.
            Unknown {
                /// The action as the client sent it, cut to 64 bytes; `unknown` when it sent none.
                action: ByteString,
                /// Why.
                failure: Failure,
            },
        }

        impl Request {
            /// The names of all actions on the wire.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($file)),*];

            /// The action's name on the wire.
            pub fn action(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $name::NAME,)*
                }
            }

            /// Writes the fields of `data`.
            pub(crate) fn write(&self, data: &mut Object<'_>) {
                match self {
                    $(Self::$name(request) => request.write(data),)*
                }
            }
        }

        impl Response {
            /// The action's name on the wire.
            pub fn action(&self) -> &str {
                match self {
                    $(Self::$name(_) => $name::NAME,)*
                    Self::Unknown { action, .. } => action,
                }
            }

            /// Why the request failed; `None` when it did not.
            pub fn failure(&self) -> Option<&Failure> {
                match self {
                    $(Self::$name(result) => result.as_ref().err(),)*
                    Self::Unknown { failure, .. } => Some(failure),
                }
            }

            /// The failure of the action with this name; `None` when there is no such action. Whoever has
            /// the action's type asks [`Action::fail`].
            pub fn failed(action: &str, failure: Failure) -> Option<Self> {
                match action {
                    $($name::NAME => Some($name::fail(failure)),)*
                    _ => None,
                }
            }

            /// Appends the frame to `out`.
            pub fn encode(&self, out: &mut BytesMut, escapes: impl Into<Escapes>) {
        let escapes = escapes.into();
                match self {
                    $(
                        Self::$name(Ok(accepted)) => {
                            out.extend_from_slice(concat!(
                                r#"{"action":""#, stringify!($file), r#"","data":{"status":0,"error":"OK""#
                            ).as_bytes());
                            <$accepted as Fields>::write(accepted, &mut Object::resume(out, escapes));
                            out.extend_from_slice(b"}}");
                        }
                        Self::$name(Err(failure)) => {
                            failure.encode($name::NAME, <$accepted>::write_unset, out, escapes);
                        }
                    )*
                    Self::Unknown { action, failure } => failure.encode(action, |_| {}, out, escapes),
                }
            }
        }

        $(
            impl From<$name> for Request {
                fn from(request: $name) -> Self {
                    Self::$name(request)
                }
            }

            impl Action for $name {
                const NAME: &'static str = stringify!($file);
                type Accepted = $accepted;

                fn response(result: Result<$accepted, Failure>) -> Response {
                    Response::$name(result.map(|accepted| hold!($held accepted)))
                }

                fn result(response: Response) -> Result<Result<$accepted, Failure>, Response> {
                    match response {
                        Response::$name(result) => Ok(result.map(|accepted| release!($held accepted))),
                        other => Err(other),
                    }
                }
            }
        )*

        /// The action with this name.
        pub(crate) fn known(name: &str) -> Option<&'static str> {
            Request::NAMES.iter().find(|known| **known == name).copied()
        }

        /// Reads the `data` of a request for the action with this name.
        pub(crate) fn read_request<'de, D: Deserializer<'de>>(
            name: &str,
            frame: FrameBytes<'_>,
            data: D,
        ) -> Result<Inbound, D::Error> {
            match name {
                $($name::NAME => Inbound::read_data::<$name, D>(frame, data),)*
                _ => Err(D::Error::custom("unknown action")),
            }
        }

        /// Reads the `data` of a success of the action with this name.
        pub(crate) fn read_success(
            name: &str,
            frame: FrameBytes<'_>,
            data: &str,
        ) -> Result<Option<Response>, serde_json::Error> {
            Ok(Some(match name {
                $($name::NAME => {
                    let accepted = <$accepted>::read(serde_json::from_str(data)?, frame);
                    $name::response(Ok(accepted))
                })*
                _ => return Ok(None),
            }))
        }
    };
}

/// The type that holds what success brings.
macro_rules! held {
    (inline $accepted:ty) => { $accepted };
    (boxed $accepted:ty) => { Box<$accepted> };
}

/// What success brings, as it is held.
macro_rules! hold {
    (inline $accepted:ident) => {
        $accepted
    };
    (boxed $accepted:ident) => {
        Box::new($accepted)
    };
}

/// What is held, as it is.
macro_rules! release {
    (inline $held:ident) => {
        $held
    };
    (boxed $held:ident) => {
        *$held
    };
}

pub(super) use {actions, held, hold, release};
