//! `ack`: what a client that said so in `auth` has processed.

use super::Wire;
use crate::Credentials;
use crate::read::{Num, Owner, Str};
use crate::write::{Object, key};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Says that this session has processed everything up to a place in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The `seq` of the last message processed; it covers all before it. 0 changes nothing.
    pub seq: u64,
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    seq: Num,
    #[serde(borrow, default)]
    cid: Str<'a>,
    #[serde(borrow, default)]
    sid: Str<'a>,
}

impl Wire for Ack {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = IgnoredAny;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let request = Self { seq: data.seq.0 };
        (Credentials::read(data.cid, data.sid, frame), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.number(key!("seq"), self.seq);
    }

    fn read_accepted(_: IgnoredAny, _: Owner<'_>) {}

    fn write_accepted(_: Option<&()>, _: &mut Object<'_>) {}
}
