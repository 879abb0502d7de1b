//! Clients at work while one fault comes after the other.

use super::check::check;
use super::cluster::Cluster;
use super::device::Device;
use super::newcomers::Host;
use super::patience::DEADLINE;
use super::probe::Probe;
use super::schedule::{Blow, Plan, Step};
use super::sender::{Load, Sender, Stage};
use futures_util::future::join_all;
use messenger_core::testing::SeededEntropy;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::join;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const SENDERS: usize = 12;
const RECIPIENTS: usize = 4;

/// What the nodes are told beside where everything is: nothing that is asserted here is to be limited.
const SETTINGS: [&str; 5] = [
    "--no-rate-limits=on",
    "--max-inbox-messages",
    "10000000",
    "--max-contacts",
    "10000",
];

/// Clients at work.
struct Clients {
    senders: Vec<JoinHandle<Sender>>,
    devices: Vec<JoinHandle<Device>>,
    host: JoinHandle<Host>,
    load: Arc<Load>,
    stage: watch::Sender<Stage>,
}

impl Clients {
    async fn start(cluster: &Arc<Cluster>, random: &SeededEntropy) -> Self {
        let (stage, seen) = watch::channel(Stage::Running);
        let load = Arc::<Load>::default();
        // Each has randomness of its own, so that it does the same whatever the others do.
        let own = || SeededEntropy::new(random.next());
        let log_in = async |login: String, acks: bool, own: SeededEntropy| {
            let session = cluster.connect(&own).await.log_in(&login, acks).await;
            (login, session, own)
        };
        let recipients: Vec<_> = (0..RECIPIENTS)
            .map(|number| format!("recipient{number}"))
            .collect();
        let devices = recipients.iter().flat_map(|recipient| {
            [true, true, false].map(|acks| {
                let logging_in = log_in(recipient.clone(), acks, own());
                async move { (logging_in.await, acks) }
            })
        });
        let senders = (0..SENDERS).map(|number| log_in(format!("sender{number}"), false, own()));
        let host = log_in("host".to_owned(), true, own());
        let (devices, senders, host) = join!(join_all(devices), join_all(senders), host);
        let devices = devices.into_iter().map(|((user, session, own), acks)| {
            let device = Device::new(user, session, acks, own);
            tokio::spawn(device.run(Arc::clone(cluster), SENDERS, seen.clone()))
        });
        let senders = senders.into_iter().map(|(login, session, own)| {
            let sender = Sender::new(login, session, recipients.clone(), Arc::clone(&load), own);
            tokio::spawn(sender.run(Arc::clone(cluster), seen.clone()))
        });
        let (_, session, own) = host;
        let host = Host::new(session, own);
        Self {
            devices: devices.collect(),
            senders: senders.collect(),
            host: tokio::spawn(host.run(Arc::clone(cluster), seen.clone())),
            load,
            stage,
        }
    }

    /// Whoever has ended early has failed.
    async fn are_well(&mut self) {
        for sender in self.senders.iter_mut().filter(|task| task.is_finished()) {
            sender.await.unwrap();
        }
        for device in self.devices.iter_mut().filter(|task| task.is_finished()) {
            device.await.unwrap();
        }
        if self.host.is_finished() {
            (&mut self.host).await.unwrap();
        }
    }

    /// Lets everybody finish; how many messages were accepted.
    async fn finish(self, cluster: &Cluster) -> usize {
        self.stage.send_replace(Stage::Ending);
        let senders = soon(join_all(self.senders), "the last messages are accepted").await;
        // Those that acknowledge end by themselves.
        let given = async {
            while self
                .devices
                .iter()
                .filter(|task| task.is_finished())
                .count()
                < 2 * RECIPIENTS
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        soon(given, "everything is given").await;
        self.stage.send_replace(Stage::Over);
        let devices = soon(join_all(self.devices), "devices end").await;
        let host = soon(self.host, "the host ends").await.unwrap();
        host.check(cluster).await;
        let senders: Vec<_> = senders.into_iter().map(Result::unwrap).collect();
        let devices: Vec<_> = devices.into_iter().map(Result::unwrap).collect();
        check(&senders, &devices)
    }
}

impl Step {
    /// Lets it happen; whatever service it leaves is there meanwhile, and all of it is back behind it.
    async fn happen(&self, cluster: &Cluster, probe: &mut Probe, load: &Load) {
        let before = load.accepted.load(Ordering::Relaxed);
        let leaves_service = self.0.iter().all(|blow| blow.fault.leaves_service());
        let mut probing = leaves_service.then_some(&mut *probe);
        // From the last on: service is looked for when all have begun.
        let blows = self.0.iter().rev().map(|blow| {
            let probing = probing.take();
            blow.fall(cluster, probing, load)
        });
        join_all(blows).await;
        let accepted = load.accepted.load(Ordering::Relaxed) - before;
        let back = probe.is_served(cluster).await;
        println!("     {accepted} messages accepted meanwhile; all is back after {back}");
        for blow in &self.0 {
            blow.fault.clear_up(cluster).await;
        }
    }
}

impl Blow {
    async fn fall(&self, cluster: &Cluster, probing: Option<&mut Probe>, load: &Load) {
        sleep(self.after).await;
        let meanwhile = async {
            if let Some(probe) = probing {
                println!("     served within {}", probe.is_served(cluster).await);
            }
            sleep(self.time).await;
        };
        let fault = self.fault;
        fault.happen(cluster, self.victim, load, meanwhile).await;
    }
}

async fn soon<T>(future: impl Future<Output = T>, what: &str) -> T {
    timeout(DEADLINE, future).await.expect(what)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_given_in_order_and_once_whatever_goes_wrong() {
    let plan = Plan::from_environment();
    println!("to repeat this: {plan}");
    let random = SeededEntropy::new(plan.seed);
    let steps = SeededEntropy::new(random.next());
    let begun = Instant::now();
    let cluster = Arc::new(Cluster::start(&SETTINGS).await);
    println!(
        "{} s: the cluster is there; the logs are in {}",
        begun.elapsed().as_secs(),
        cluster.folder.path().display()
    );
    let mut probe = Probe::new(&cluster).await;
    let mut clients = Clients::start(&cluster, &random).await;
    let least = Duration::from_secs(60 * plan.minutes.unwrap_or(0));
    loop {
        for step in plan.round(&steps) {
            println!("{} s: {step}", begun.elapsed().as_secs());
            step.happen(&cluster, &mut probe, &clients.load).await;
            clients.are_well().await;
        }
        if begun.elapsed() >= least {
            break;
        }
    }
    let accepted = clients.finish(&cluster).await;
    println!(
        "{} s: {accepted} messages; the longest waits: {}; a bystander's visit took {:?}",
        begun.elapsed().as_secs(),
        cluster.patience.longest(),
        cluster.patience.visit()
    );
    assert!(accepted > 0);
    cluster.folder.forget();
}
