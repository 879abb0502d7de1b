//! What a node hears of the others, and whether it has heard all.

use crate::frame::{Body, Frame};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long another node may say nothing. It says something every second.
const SILENCE: Duration = Duration::from_secs(3);

/// After that it is forgotten, and what it says then is a gap. Until then it may be that only NATS has lost it.
const GONE: Duration = Duration::from_secs(300);

/// The most nodes; whoever comes then takes the place of all.
const NODES: usize = 1000;

/// The most bytes of notices of which pieces are missing, of all nodes together.
const PARTIAL: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Peers {
    nodes: HashMap<u64, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// The number of the frame to come.
    next: u64,
    heard: Option<Instant>,
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

impl Heard {
    const GAP: Self = Self {
        notices: Vec::new(),
        gap: true,
    };
}

impl Peers {
    /// Takes what another node has sent.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        let Some(Frame { node, number, body }) = Frame::decode(bytes) else {
            return Heard::GAP;
        };
        // No node comes to the last number.
        let Some(next) = number.checked_add(1) else {
            return Heard::GAP;
        };
        if body == Body::Bye {
            let known = self.nodes.remove(&node);
            let gap = known.is_some_and(|peer| peer.next != number);
            return Heard {
                notices: Vec::new(),
                gap,
            };
        }
        if !self.nodes.contains_key(&node) && self.nodes.len() >= NODES {
            self.nodes.clear();
        }
        let partial = self.nodes.values().map(|peer| peer.partial.len()).sum();
        // A node that is new may have said something before.
        let peer = self.nodes.entry(node).or_default();
        peer.heard = Some(now);
        // Doubled or late; somebody would be given a copy twice.
        if number < peer.next {
            return Heard::GAP;
        }
        let gap = std::mem::replace(&mut peer.next, next) != number;
        if gap {
            peer.partial = Vec::new();
        }
        peer.take(body, gap, partial)
    }

    /// True while a node that was there says nothing.
    pub(crate) fn are_silent(&mut self, now: Instant) -> bool {
        self.nodes.retain(|_, peer| peer.silence(now) < GONE);
        let mut are_silent = false;
        for peer in self.nodes.values_mut() {
            if peer.silence(now) >= SILENCE {
                // Others need the room.
                peer.partial = Vec::new();
                are_silent = true;
            }
        }
        are_silent
    }
}

impl Peer {
    fn silence(&self, now: Instant) -> Duration {
        self.heard
            .map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard))
    }

    /// `partial` is how much is held of all nodes' notices.
    fn take(&mut self, body: Body<'_>, gap: bool, partial: usize) -> Heard {
        match body {
            Body::Notices(notices) => Heard {
                notices: notices.into_iter().map(<[u8]>::to_vec).collect(),
                gap,
            },
            Body::Piece { bytes, .. } if partial.saturating_add(bytes.len()) > PARTIAL => {
                self.partial = Vec::new();
                Heard::GAP
            }
            Body::Piece { bytes, is_last } => {
                self.partial.extend_from_slice(bytes);
                let whole = is_last.then(|| std::mem::take(&mut self.partial));
                // When its beginning was lost it is no notice, which is seen where it is read.
                Heard {
                    notices: whole.into_iter().collect(),
                    gap,
                }
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
            assert_eq!(
                peers.hear(frame, now),
                Heard {
                    notices: one(),
                    gap: false
                }
            );
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
        let heard = [0, 1, 3, 3, 2].map(|n| peers.hear(&frames[n], now));
        let gaps = heard.each_ref().map(|heard| heard.gap);
        assert_eq!(gaps, [true, false, true, true, true]);
        let counts = heard.each_ref().map(|heard| heard.notices.len());
        assert_eq!(
            counts,
            [1, 1, 1, 0, 0],
            "what is doubled or late is not told"
        );
        assert!(peers.hear(b"", now).gap);
    }

    #[test]
    fn silence_is_noticed_until_it_is_over_or_long() {
        let (mut peers, mut node, now) = (Peers::default(), Numbered::new(1), Instant::now());
        peers.hear(&node.notices(&[])[0], now);
        assert!(!peers.are_silent(now + Duration::from_secs(2)));
        assert!(peers.are_silent(now + SILENCE));
        assert!(peers.are_silent(now + 2 * SILENCE));
        let later = now + 3 * SILENCE;
        peers.hear(&node.notices(&[])[0], later);
        assert!(!peers.are_silent(later + Duration::from_secs(2)));
        assert!(!peers.are_silent(later + GONE));
    }

    #[test]
    fn a_node_that_died_amid_a_notice_leaves_its_room_to_others() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let mut pieces = Numbered::new(1).notices(&[vec![0; PARTIAL]]);
        pieces.pop();
        for piece in &pieces {
            assert!(!peers.hear(piece, now).gap);
        }
        let large = vec![vec![5; 2 * 1024 * 1024]];
        let told = |peers: &mut Peers, node| {
            let frames = Numbered::new(node).notices(&large);
            let heard = frames
                .iter()
                .flat_map(|frame| peers.hear(frame, now).notices);
            heard.collect::<Vec<_>>() == large
        };
        assert!(!told(&mut peers, 2));
        assert!(peers.are_silent(now + SILENCE));
        assert!(told(&mut peers, 3));
    }

    /// Numbers a node cannot have come to, and pieces without an end, of one node and of many.
    #[test]
    fn what_strangers_say_is_held_in_bounded_memory() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let mut last = Numbered::new(0);
        let mut frame = last.notices(&one())[0].to_vec();
        frame[10..18].fill(0xff);
        for _ in 0..2 {
            assert!(peers.hear(&frame, now).gap);
        }
        let unfinished = |node| {
            let mut pieces = Numbered::new(node).notices(&[vec![0; 8 * 1024 * 1024]]);
            pieces.pop();
            pieces
        };
        for node in 1..=2 * NODES as u64 {
            let frames = if node < 20 {
                unfinished(node)
            } else {
                Numbered::new(node).notices(&one())
            };
            for frame in &frames {
                peers.hear(frame, now);
            }
            let held = peers
                .nodes
                .values()
                .map(|peer| peer.partial.len())
                .sum::<usize>();
            assert!(held <= PARTIAL && peers.nodes.len() <= NODES, "{held}");
        }
    }
}
