//! Every limit and switch of the engine.

use crate::address::Region;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Every limit and switch of the engine. The defaults are the protocol's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The text of the welcome.
    pub welcome: String,
    /// The sender gets its own copy of a message; deployed clients show a message that they sent only then. On.
    pub echo: bool,
    /// A successful `register` authenticates as well and an `auth` reply follows it, which an older
    /// generation of clients waits for. Off.
    pub auth_on_register: bool,
    /// A new login must not look like another user's, as with Cyrillic letters for Latin ones. Only the built-in
    /// [`Authenticator`](crate::authenticator::Authenticator) checks this. Off.
    pub refuse_lookalikes: bool,
    /// An empty `email` or `phone` in `setuserinfo` keeps what is there, for a client that has asked for no feature:
    /// a deployed one sends fields that its user left alone as empty ones. Off.
    pub keep_addresses: bool,
    /// Where a phone number without a country code is from. Russia.
    pub region: Region,
    /// How long a session lives after its last use. 30 days.
    pub session_lifetime: Duration,
    /// How long a message is kept at the most. 30 days.
    pub message_lifetime: Duration,
    /// How long a `mid` is remembered. 7 days.
    pub mid_lifetime: Duration,
    /// How long the store may take for a call, and for all that a request needs one after the other; what the request has waited
    /// for besides, such as a password's hash, counts up to four fifths of it. After that the client is told 22, and it is
    /// unknown whether anything was written. 4.5 seconds, so that an answer is there within 5. Only what nobody waits for on the
    /// wire takes as long as it takes: the deletion of a user, and keys that are computed anew.
    pub storage_timeout: Duration,
    /// The limits of what clients send and of what is kept for them.
    pub limits: Limits,
    /// The cost of a password.
    pub passwords: PasswordPolicy,
    /// How much clients may do in a time; `None` lifts these limits.
    pub rates: Option<Rates>,
}

/// How much clients may do in a time. A client that asks for more is told 20.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rates {
    /// Failed attempts to authenticate with one login. 5 a minute.
    pub failed_auth_login: Rate,
    /// Failed attempts to authenticate from one address. 20 a minute.
    pub failed_auth_address: Rate,
    /// Attempts to register from one address. 30 an hour.
    pub registrations: Rate,
    /// Messages of one session. 100 a second, 5,000 at once.
    pub messages: Rate,
    /// Bytes of one session's messages, of their text and attachments. 1 MiB a second, 64 MiB at once;
    /// a larger message is accepted when none of them is used, and uses all.
    pub message_bytes: Rate,
    /// Address-book entries that one user imports. 20,000 a day.
    pub import: Rate,
    /// Loopback addresses are exempt from the limits of an address. On.
    pub exempt_loopback: bool,
}

/// A limit in time: so many at once, after which as many become available again over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How many at once; at least one is allowed.
    pub burst: u32,
    /// The time in which that many more are allowed.
    pub refilled_in: Duration,
}

impl Rate {
    /// So many at once, and as many again in this time.
    pub const fn new(burst: u32, refilled_in: Duration) -> Self {
        Self { burst, refilled_in }
    }
}

/// The limits of what clients send and of what is kept for them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest login and nick, in characters. 64.
    pub name: usize,
    /// The longest `pass`, in bytes. 1,024.
    pub pass: usize,
    /// The longest email address, in characters. 254.
    pub email: usize,
    /// The longest phone number, in characters. 32.
    pub phone: usize,
    /// The longest `user_status`, in characters. 1,024.
    pub user_status: usize,
    /// The largest picture, in bytes of base64 text. 512 KiB.
    pub picture: usize,
    /// The longest message body, in bytes. 64 KiB.
    pub body: usize,
    /// The longest MIME type, in characters. 255.
    pub mime: usize,
    /// The longest `mid`, in bytes. 64.
    pub mid: usize,
    /// The longest `myid`, in characters. 256.
    pub myid: usize,
    /// The most contacts of a user. 1,000.
    pub contacts: usize,
    /// The most entries of an import. 5,000.
    pub import_entries: usize,
    /// The most users an import finds for one entry; many may claim the same address. 100.
    pub import_matches: usize,
    /// The most bytes of a list of users in an answer. Over it an import finds nobody more, and a
    /// contact list shows no more pictures. 64 MiB, beyond which a store [need not
    /// read](crate::storage::CONTACT_PICTURES) pictures of contacts.
    pub list_bytes: usize,
    /// The most bytes of pictures in a list of users for a client that has asked for no feature; a picture that
    /// does not fit is left out. 64 MiB, as much as all of the list.
    pub list_pictures: usize,
    /// The most `myid`s remembered for a user; beyond it no new ones are. 20,000.
    pub remembered_ids: usize,
    /// The most live sessions of a user; one more ends the least recently used. 8.
    pub sessions: usize,
    /// What an inbox holds.
    pub inbox: InboxLimits,
    /// The most bytes of live messages that wait in memory for a connection that is busy writing;
    /// over it they are read from the store again. 4 MiB.
    pub mailbox_bytes: usize,
}

/// What an inbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxLimits {
    /// The most messages. 10,000.
    pub messages: u64,
    /// The most bytes of bodies and attachments. 256 MiB.
    pub bytes: u64,
}

impl InboxLimits {
    /// At most so many messages and so many bytes.
    pub const fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes }
    }
}

/// The cost of a password (Argon2id), and how many are worked on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PasswordPolicy {
    /// Memory, in KiB. 19,456.
    pub memory_kib: u32,
    /// Passes over the memory. 2.
    pub passes: u32,
    /// How many passwords are hashed at once. Half as many as there are processors, at least one: the other
    /// processors are for messages.
    pub at_once: usize,
    /// How many more may wait for their turn; others are told to try later. 1,024.
    pub waiting: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            welcome: "Welcome".to_owned(),
            echo: true,
            auth_on_register: false,
            refuse_lookalikes: false,
            keep_addresses: false,
            region: Region::default(),
            session_lifetime: 30 * DAY,
            message_lifetime: 30 * DAY,
            mid_lifetime: 7 * DAY,
            storage_timeout: Duration::from_millis(4_500),
            limits: Limits::default(),
            passwords: PasswordPolicy::default(),
            rates: Some(Rates::default()),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let rate = |burst, seconds| Rate::new(burst, Duration::from_secs(seconds));
        Self {
            failed_auth_login: rate(5, 60),
            failed_auth_address: rate(20, 60),
            registrations: rate(30, 60 * 60),
            messages: rate(5000, 50),
            message_bytes: rate(64 * 1024 * 1024, 64),
            import: rate(20_000, 24 * 60 * 60),
            exempt_loopback: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name: 64,
            pass: 1024,
            email: 254,
            phone: 32,
            user_status: 1024,
            picture: 512 * 1024,
            body: 64 * 1024,
            mime: 255,
            mid: 64,
            myid: 256,
            contacts: 1000,
            import_entries: 5000,
            import_matches: 100,
            list_bytes: 64 * 1024 * 1024,
            list_pictures: 64 * 1024 * 1024,
            remembered_ids: 20_000,
            sessions: 8,
            inbox: InboxLimits::default(),
            mailbox_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 256 * 1024 * 1024,
        }
    }
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
            at_once: std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2)),
            waiting: 1024,
        }
    }
}
