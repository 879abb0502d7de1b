//! Settings for deployed clients of earlier years: one for all of them, and each part by itself.

use super::numbers::{BYTES_UNIT, number};
use super::{Switch, size};
use crate::Transport;
use messenger_core::Policy;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What numbers are sensible.
const GAP: RangeInclusive<u64> = 0..=10_000;
const LIST: RangeInclusive<u64> = 0..=1 << 40;

/// How far apart frames are written, in milliseconds, unless told otherwise.
const FRAME_GAP: u64 = 25;

/// The bytes of pictures in a list, unless told otherwise.
const LIST_PICTURES: u64 = 768 * 1024;

/// What serves deployed clients of earlier years. A part that is not given is as `legacy_clients` says.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Deployed clients of earlier years")]
pub struct LegacySettings {
    /// Whether to serve deployed clients of earlier years unchanged: turns on all that follows here. A client that asks
    /// for a feature in `auth` is none of them, and loses nothing by it.
    #[arg(
        long,
        env = "MESSENGER_LEGACY_CLIENTS",
        value_name = "on|off",
        default_value = "off",
        global = true
    )]
    pub legacy_clients: Switch,

    /// Whether to authenticate a client that has registered, and send it the `auth` reply that it waits for.
    #[arg(
        long,
        env = "MESSENGER_AUTH_ON_REGISTER",
        value_name = "on|off",
        global = true
    )]
    pub auth_on_register: Option<Switch>,

    /// How far apart at least frames are written, each by itself, to clients that have asked for no feature: some
    /// parse only the first frame of what a read brings. 0: together, at once. [with --legacy-clients on: 25]
    #[arg(
        long,
        env = "MESSENGER_FRAME_GAP",
        value_name = "MILLISECONDS",
        value_parser = number("MILLISECONDS", GAP),
        global = true
    )]
    pub frame_gap: Option<u64>,

    /// Whether to write nothing but ASCII, other characters as \uXXXX: some cannot read a character that comes in two
    /// parts.
    #[arg(
        long,
        env = "MESSENGER_ASCII_ONLY",
        value_name = "on|off",
        global = true
    )]
    pub ascii_only: Option<Switch>,

    /// Whether to read control characters in strings as they are: some write line breaks so.
    #[arg(
        long,
        env = "MESSENGER_CONTROL_CHARACTERS",
        value_name = "on|off",
        global = true
    )]
    pub control_characters: Option<Switch>,

    /// Whether an empty email or phone in `setuserinfo` keeps what is there, for clients that have asked for no
    /// feature: some send what their user left alone as empty.
    #[arg(
        long,
        env = "MESSENGER_KEEP_ADDRESSES",
        value_name = "on|off",
        global = true
    )]
    pub keep_addresses: Option<Switch>,

    /// The most bytes of pictures in a list, for clients that have asked for no feature: some cannot read a long one.
    /// Pictures that do not fit are left out. [with --legacy-clients on: 786432]
    #[arg(
        long,
        env = "MESSENGER_MAX_LIST_PICTURES",
        value_name = "BYTES",
        value_parser = number(BYTES_UNIT, LIST),
        global = true
    )]
    pub max_list_pictures: Option<u64>,
}

impl LegacySettings {
    pub(super) fn apply_to_policy(&self, policy: &mut Policy) {
        policy.auth_on_register = self.is_on(self.auth_on_register);
        policy.keep_addresses = self.is_on(self.keep_addresses);
        if let Some(bytes) = self.number(self.max_list_pictures, LIST_PICTURES) {
            policy.limits.list_pictures = size(bytes);
        }
    }

    pub(super) fn apply_to_transport(&self, transport: &mut Transport) {
        transport.ascii_only = self.is_on(self.ascii_only);
        transport.control_characters = self.is_on(self.control_characters);
        let gap = self.number(self.frame_gap, FRAME_GAP);
        transport.frame_gap = gap.filter(|gap| *gap > 0).map(Duration::from_millis);
    }

    fn is_on(&self, part: Option<Switch>) -> bool {
        part.unwrap_or(self.legacy_clients) == Switch::On
    }

    /// A part that is a number, if it is given or all parts are on.
    fn number(&self, part: Option<u64>, with_all: u64) -> Option<u64> {
        part.or((self.legacy_clients == Switch::On).then_some(with_all))
    }
}
