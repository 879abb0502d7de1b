//! The world: users with devices, a server, and what a seed lets happen to them.

use super::device::Device;
use super::flaky::FlakyNotifier;
use async_trait::async_trait;
use futures_util::FutureExt;
use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
use messenger_core::clock::Clock;
use messenger_core::proto::{Password, SendMessage, UserId};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::{ManualClock, SeededEntropy};
use messenger_core::{Engine, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Sessions a user may have, so few that some are ended now and then.
const SESSIONS: usize = 3;

/// How far the clock jumps: what there is would be long out of date.
const FAR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Everybody's password is right.
struct TrustingAuthenticator;

#[async_trait]
impl Authenticator for TrustingAuthenticator {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        let nick = login.as_str().to_uppercase();
        Ok(Some(Identity::new(nick)))
    }

    async fn verify(&self, login: &UserId, _: &Password) -> Result<Verdict, AuthenticatorError> {
        let nick = login.as_str().to_uppercase();
        Ok(Verdict::Accepted(Identity::new(nick)))
    }
}

/// A message that was sent and whose reply did not come: it will be sent again.
#[derive(Clone)]
struct Unsure {
    from: UserId,
    message: SendMessage,
}

pub(crate) struct World {
    random: SeededEntropy,
    clock: ManualClock,
    storage: Arc<MemoryStorage>,
    notifier: Arc<FlakyNotifier>,
    engine: Engine,
    users: Vec<UserId>,
    devices: Vec<Device>,
    /// Bodies accepted with status 0, by recipient, in the order of acceptance.
    accepted: BTreeMap<UserId, Vec<String>>,
    unsure: Vec<Unsure>,
    /// How many `mid`s were used, by sender and recipient: other pairs use the same ones.
    mids: BTreeMap<(UserId, UserId), usize>,
    sent: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let random = SeededEntropy::new(seed);
        let clock = ManualClock::default();
        let storage = Arc::new(MemoryStorage::new());
        let notifier = Arc::new(FlakyNotifier::new(random.clone()));
        let engine = build(&storage, &notifier, &clock, &random);
        let users = (0..2 + random.below(3)).map(|number| UserId::from(format!("user{number}")));
        Self {
            users: users.collect(),
            random,
            clock,
            storage,
            notifier,
            engine,
            devices: Vec::new(),
            accepted: BTreeMap::new(),
            unsure: Vec::new(),
            mids: BTreeMap::new(),
            sent: 0,
        }
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) {
        match self.random.below(100) {
            0..3 => self.log_in(),
            3..35 => self.send(),
            35..40 => self.send_again(),
            40..60 => self.with_device(|device, random| device.receive(1 + random.below(5))),
            60..73 => self.with_device(|device, random| device.process(1 + random.below(5))),
            73..80 => self.with_device(|device, _| device.acknowledge()),
            80..86 => self.with_device(|device, _| device.cut()),
            86..92 => self.resume(),
            92..95 => self.notifier.deliver_late(),
            95..97 => self.run_maintenance(),
            97 if self.random.below(4) == 0 => self.jump(),
            97 => self.clock.advance(Duration::from_secs(60)),
            98 => self.crash(),
            _ => self.clock.advance(Duration::from_millis(5)),
        }
    }

    /// Everything that was broken works again, and everybody reads all there is.
    pub(crate) fn settle(&mut self) {
        while !self.unsure.is_empty() {
            if !self.devices.iter().any(Device::is_connected) {
                self.log_in();
            }
            self.send_again();
        }
        for user in self.users.clone() {
            self.devices.push(Device::log_in(&self.engine, &user, true));
        }
        for _ in 0..3 {
            self.run_maintenance();
            for device in self.devices.iter_mut().filter(|device| !device.ended) {
                if !device.is_connected() {
                    device.resume(&self.engine);
                }
                device.receive(usize::MAX);
                device.process(usize::MAX);
                device.acknowledge();
                device.probe();
            }
        }
    }

    /// The promises.
    pub(crate) fn check(&self) {
        for user in &self.users {
            let devices = || self.devices.iter().filter(|device| device.user == *user);
            let inbox = self.inbox_as_given(user);
            let newest = inbox.keys().last().copied().unwrap_or(0);
            let numbers: Vec<u64> = inbox.keys().copied().collect();
            assert_eq!(numbers, Vec::from_iter(1..=newest), "given to nobody");

            let delivered_up_to: Vec<&String> = inbox.values().collect();
            let accepted = self.accepted.get(user).map_or(&[][..], Vec::as_slice);
            let accepted: Vec<&String> = accepted.iter().collect();
            assert_eq!(
                delivered_up_to, accepted,
                "not what was accepted, in its order"
            );
            let once: BTreeSet<_> = delivered_up_to.iter().collect();
            assert_eq!(once.len(), delivered_up_to.len(), "stored twice");

            for device in devices().filter(|device| !device.ended) {
                let processed: Vec<u64> = device
                    .processed
                    .iter()
                    .filter_map(|event| event.seq)
                    .collect();
                let start = device.start.unwrap_or(newest);
                assert_eq!(
                    processed,
                    Vec::from_iter(start + 1..=newest),
                    "a device missed some"
                );
            }
        }
    }

    /// The user's inbox put together from what all the devices were given.
    fn inbox_as_given(&self, user: &UserId) -> BTreeMap<u64, String> {
        let mut inbox = BTreeMap::new();
        for device in self.devices.iter().filter(|device| device.user == *user) {
            for event in &device.processed {
                let body = event.message.body.as_str().to_owned();
                let before = inbox.insert(event.seq.unwrap_or(0), body.clone());
                assert!(
                    before.is_none_or(|before| before == body),
                    "devices disagree"
                );
            }
        }
        inbox
    }

    fn log_in(&mut self) {
        let user = self.users[self.random.below(self.users.len())].clone();
        let acks = self.random.below(2) == 0;
        self.devices.push(Device::log_in(&self.engine, &user, acks));
    }

    fn send(&mut self) {
        let to = self.users[self.random.below(self.users.len())].clone();
        self.sent += 1;
        let number = self.sent;
        let unsure = self.random.below(8) == 0;
        let mut message = SendMessage::new(to, format!("message {number}"));
        let sender = self.random.below(self.devices.len().max(1));
        let Some(device) = self.devices.get_mut(sender) else {
            return;
        };
        let from = device.user.clone();
        if unsure {
            let pair = (from.clone(), message.uid.clone());
            let used = self.mids.entry(pair).or_default();
            message.mid = Some(format!("mid {used}").into());
            *used += 1;
            // The message may or may not arrive; its reply does not.
            if self.random.below(2) == 0 {
                let sent = device.send(message.clone());
                if matches!(sent, Some(Ok(_))) {
                    self.note_accepted(&message);
                }
            }
            self.devices[sender].cut();
            self.unsure.push(Unsure { from, message });
        } else if matches!(device.send(message.clone()), Some(Ok(_))) {
            self.note_accepted(&message);
        }
    }

    /// Sends again what was perhaps not stored, under its `mid`, from any device of its sender.
    fn send_again(&mut self) {
        let Some(unsure) = self.unsure.pop() else {
            return;
        };
        let mut devices = self.devices.iter_mut();
        let device = devices.find(|device| device.user == unsure.from && device.is_connected());
        let sent = match device {
            Some(device) => device.send(unsure.message.clone()),
            None => {
                let device = Device::log_in(&self.engine, &unsure.from, false);
                self.devices.push(device);
                None
            }
        };
        match sent {
            Some(Ok(_)) => self.note_accepted(&unsure.message),
            _ => self.unsure.push(unsure),
        }
    }

    fn note_accepted(&mut self, message: &SendMessage) {
        let body = message.body.as_str().to_owned();
        let accepted = self.accepted.entry(message.uid.clone()).or_default();
        if !accepted.contains(&body) {
            accepted.push(body);
        }
    }

    fn with_device(&mut self, act: impl FnOnce(&mut Device, &SeededEntropy)) {
        let index = self.random.below(self.devices.len().max(1));
        if let Some(device) = self.devices.get_mut(index) {
            act(device, &self.random);
        }
    }

    fn resume(&mut self) {
        let engine = self.engine.clone();
        self.with_device(|device, _| {
            if !device.ended {
                device.resume(&engine);
            }
        });
    }

    fn run_maintenance(&self) {
        let kept = self.engine.run_maintenance().now_or_never();
        kept.expect("nothing waits").expect("the store works");
    }

    /// The machine's clock shows another year, past or future.
    fn jump(&self) {
        let now = self.clock.now();
        self.clock.set(match self.random.below(2) {
            0 => now.before(FAR),
            _ => now.after(FAR),
        });
    }

    /// The server's process dies: every connection with it, and what it had not stored.
    fn crash(&mut self) {
        for device in &mut self.devices {
            device.cut();
        }
        self.notifier = Arc::new(FlakyNotifier::new(self.random.clone()));
        self.engine = build(&self.storage, &self.notifier, &self.clock, &self.random);
    }
}

fn build(
    storage: &Arc<MemoryStorage>,
    notifier: &Arc<FlakyNotifier>,
    clock: &ManualClock,
    random: &SeededEntropy,
) -> Engine {
    let mut policy = Policy::default();
    policy.limits.sessions = SESSIONS;
    Engine::builder()
        .storage(Arc::<MemoryStorage>::clone(storage))
        .notifier(Arc::<FlakyNotifier>::clone(notifier))
        .authenticator(Arc::new(TrustingAuthenticator))
        .clock(Arc::new(clock.clone()))
        .entropy(Arc::new(random.clone()))
        .policy(policy)
        .manual_maintenance()
        .build()
        .expect("an engine")
}
