//! Newcomers: accounts that are registered all the time, each of which somebody adds as a contact.

use super::cluster::Cluster;
use super::node::{Session, is_done, pass};
use super::sender::Stage;
use messenger_client::ClientError;
use messenger_core::testing::SeededEntropy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long it is waited between two of them, because a password costs processor time.
const PAUSE: Duration = Duration::from_secs(2);

/// A user who knows everybody that has come.
pub(crate) struct Host {
    session: Session,
    random: SeededEntropy,
    /// Logins of those who were registered and added.
    guests: Vec<String>,
}

impl Host {
    pub(crate) fn new(session: Session, random: SeededEntropy) -> Self {
        Self {
            session,
            random,
            guests: Vec::new(),
        }
    }

    pub(crate) async fn run(
        mut self,
        cluster: Arc<Cluster>,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        while *stage.borrow() == Stage::Running {
            let login = format!("newcomer{}", self.guests.len());
            while !self.register(&cluster, &login).await {}
            while !self.add(&cluster, &login).await {}
            self.guests.push(login);
            sleep(PAUSE).await;
        }
        self
    }

    /// Whoever was told nothing asks again, and may then be told that it is done already.
    async fn register(&self, cluster: &Cluster, login: &str) -> bool {
        let line = cluster.connect(&self.random).await;
        let pass = pass();
        let registering = line.client.register(login, &pass, login);
        is_done_by_now(line.ask("a registration", registering).await)
    }

    async fn add(&self, cluster: &Cluster, login: &str) -> bool {
        let mut line = cluster.connect(&self.random).await;
        line.resume(&self.session, 0).await && {
            let adding = line.client.add_contact(login);
            is_done_by_now(line.ask("a contact", adding).await)
        }
    }

    /// Everybody is there, on every node.
    pub(crate) async fn check(&self, cluster: &Cluster) {
        for node in &cluster.nodes {
            let mut line = node.connect().await.unwrap();
            assert!(line.resume(&self.session, 0).await);
            let contacts = line.client.contact_list().await.unwrap();
            let contacts = contacts.iter().map(|contact| contact.card.uid.as_str());
            assert!(
                contacts.eq(&self.guests),
                "a newcomer was lost at {}",
                node.name
            );
        }
    }
}

fn is_done_by_now<T>(result: Result<T, ClientError>) -> bool {
    match result {
        Err(ClientError::Refused(failure)) if failure.code.number() == 1 => true,
        other => is_done(other).is_some(),
    }
}
