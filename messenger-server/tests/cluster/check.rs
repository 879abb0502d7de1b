//! The promises: what was accepted was given, in order and once.

use super::device::Device;
use super::sender::{END, Sender};
use std::collections::{BTreeMap, BTreeSet};

/// How many messages were accepted.
pub(crate) fn check(senders: &[Sender], devices: &[Device]) -> usize {
    let users: BTreeSet<&String> = devices.iter().map(|device| &device.user).collect();
    for user in users {
        let of_user = || devices.iter().filter(|device| device.user == *user);
        let mut inbox: BTreeMap<u64, &String> = BTreeMap::new();
        for (seq, body) in of_user().flat_map(|device| &device.processed) {
            let before = inbox.insert(*seq, body);
            assert!(
                before.is_none_or(|before| before == body),
                "devices of {user} disagree"
            );
        }
        for device in of_user().filter(|device| device.acks) {
            check_device(senders, device);
        }
    }
    let accepted = senders
        .iter()
        .flat_map(|sender| sender.sent.accepted.values());
    accepted.map(Vec::len).sum()
}

fn check_device(senders: &[Sender], device: &Device) {
    let user = &device.user;
    let mut of: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (_, body) in &device.processed {
        let sender = body.split(' ').next().unwrap();
        of.entry(sender).or_default().push(body);
    }
    for sender in senders {
        let given = of.remove(sender.login.as_str()).unwrap_or_default();
        let once: BTreeSet<_> = given.iter().collect();
        assert_eq!(once.len(), given.len(), "{user} was given some twice");
        let certain = |body: &&&String| !sender.sent.perhaps.contains(**body);
        let certain: Vec<_> = given.iter().filter(certain).copied().collect();
        let accepted = sender.sent.accepted.get(user).unwrap();
        assert!(
            accepted.last().unwrap().ends_with(END),
            "{user} was told the end"
        );
        assert_eq!(
            certain,
            Vec::from_iter(accepted),
            "{user}: not what was accepted, in its order"
        );
    }
    assert!(of.is_empty(), "{user} was given what nobody sent");
}
