//! What a node hears of the others, and whether it has heard all.

use crate::frame::{Body, Frame};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long another node may say nothing. It says something every second.
const SILENCE: Duration = Duration::from_secs(3);

/// After that it is forgotten. What it says then begins anew.
const GONE: Duration = Duration::from_secs(30);

/// How often connections look into the store while a node is silent.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The most nodes; whoever comes then takes the place of all.
const NODES: usize = 1000;

/// The most bytes of a notice that comes in pieces.
const LARGEST: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Peers {
    nodes: HashMap<u64, Peer>,
    /// When connections looked into the store because of silence.
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Peer {
    next: u64,
    heard: Instant,
    /// The notice whose pieces come.
    partial: Vec<u8>,
}

/// What was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) notices: Vec<Vec<u8>>,
    /// Something may be missing.
    pub(crate) gap: bool,
}

impl Peers {
    /// Takes what another node has sent.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        let Some(frame) = Frame::decode(bytes) else {
            return Heard { notices: Vec::new(), gap: true };
        };
        if let Body::Bye = frame.body {
            let known = self.nodes.remove(&frame.node);
            let gap = known.is_some_and(|peer| peer.next != frame.number);
            return Heard { notices: Vec::new(), gap };
        }
        if !self.nodes.contains_key(&frame.node) && self.nodes.len() >= NODES {
            self.nodes.clear();
        }
        // Of a node that is new, something may have been said before.
        let is_new = frame.number != 0 && !self.nodes.contains_key(&frame.node);
        let peer = self.nodes.entry(frame.node).or_insert_with(|| Peer {
            next: frame.number,
            heard: now,
            partial: Vec::new(),
        });
        peer.heard = now;
        let gap = is_new || peer.next != frame.number;
        peer.next = frame.number + 1;
        if gap {
            peer.partial = Vec::new();
        }
        peer.take(frame.body, gap)
    }

    /// True when connections are to look into the store, because a node that was there says nothing.
    pub(crate) fn are_silent(&mut self, now: Instant) -> bool {
        self.nodes.retain(|_, peer| now - peer.heard < GONE);
        let silent = self.nodes.values().any(|peer| now - peer.heard >= SILENCE);
        let due = self.looked.is_none_or(|looked| now - looked >= LOOK_AGAIN);
        if silent && due {
            self.looked = Some(now);
        }
        silent && due
    }
}

impl Peer {
    fn take(&mut self, body: Body<'_>, gap: bool) -> Heard {
        match body {
            Body::Notices(notices) => Heard {
                notices: notices.into_iter().map(<[u8]>::to_vec).collect(),
                gap,
            },
            Body::Piece { bytes, .. } if self.partial.len() + bytes.len() > LARGEST => {
                self.partial = Vec::new();
                Heard { notices: Vec::new(), gap: true }
            }
            Body::Piece { bytes, is_last } => {
                self.partial.extend_from_slice(bytes);
                let whole = is_last.then(|| std::mem::take(&mut self.partial));
                // When its beginning was lost it is no notice, which is seen where it is read.
                Heard { notices: whole.into_iter().collect(), gap }
            }
            Body::Bye => Heard::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Numbered;

    fn one() -> Vec<Vec<u8>> {
        vec![b"one".to_vec()]
    }

    #[test]
    fn what_comes_in_order_is_heard_without_a_gap() {
        let (mut peers, mut node, now) = (Peers::default(), Numbered::new(1), Instant::now());
        for _ in 0..3 {
            let frame = &node.notices(&one())[0];
            assert_eq!(peers.hear(frame, now), Heard { notices: one(), gap: false });
        }
        let large = vec![vec![5; 2 * 1024 * 1024]];
        let mut heard = Vec::new();
        for frame in node.notices(&large) {
            let part = peers.hear(&frame, now);
            assert!(!part.gap);
            heard.extend(part.notices);
        }
        assert_eq!(heard, large);
        assert_eq!(peers.hear(&node.bye(), now), Heard::default());
        assert!(!peers.are_silent(now + 2 * SILENCE), "it has said so");
    }

    #[test]
    fn what_is_lost_doubled_or_unknown_is_a_gap() {
        let (mut peers, mut node, now) = (Peers::default(), Numbered::new(1), Instant::now());
        node.skip();
        let mut frames = Vec::new();
        for _ in 0..4 {
            frames.extend(node.notices(&one()));
        }
        let gaps = [0, 1, 3, 3, 2].map(|n| peers.hear(&frames[n], now).gap);
        assert_eq!(gaps, [true, false, true, true, true]);
        assert!(peers.hear(b"", now).gap);
    }

    #[test]
    fn silence_is_noticed_until_it_is_over_or_long() {
        let (mut peers, mut node, now) = (Peers::default(), Numbered::new(1), Instant::now());
        peers.hear(&node.notices(&[])[0], now);
        assert!(!peers.are_silent(now + Duration::from_secs(2)));
        assert!(peers.are_silent(now + Duration::from_secs(3)));
        assert!(!peers.are_silent(now + Duration::from_secs(4)));
        assert!(peers.are_silent(now + Duration::from_secs(5)));
        let later = now + Duration::from_secs(6);
        peers.hear(&node.notices(&[])[0], later);
        assert!(!peers.are_silent(later + Duration::from_secs(2)));
        assert!(!peers.are_silent(later + 2 * GONE));
    }
}
