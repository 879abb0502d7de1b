//! `ack`: what a client that said so in `auth` has processed.

use super::Fields;
use crate::read::{FrameBytes, Num};
use crate::write::{Object, key};
use serde::Deserialize;

/// Says that this session has processed everything up to a sequence number in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// The `seq` of the last message processed; it covers all before it. 0 changes nothing.
    pub seq: u64,
}

impl Ack {
    /// Everything up to `seq`.
    pub fn new(seq: u64) -> Self {
        Self { seq }
    }
}

#[derive(Deserialize)]
pub(crate) struct Data {
    seq: Num,
}

impl Fields for Ack {
    type Data<'a> = Data;

    fn read(data: Data, _: FrameBytes<'_>) -> Self {
        Self { seq: data.seq.0 }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.number(key!("seq"), self.seq);
    }
}
