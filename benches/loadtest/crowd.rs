//! What a message costs when there are many accounts and idle connections beside.

use crate::compare::Compared;
use crate::idle::{self, How};
use crate::process::Server;
use crate::wire::User;
use crate::{Failed, Scenario};
use clap::Args;

use messenger_core::storage::{Account, Accounts, MemoryStorage};
use messenger_core::{Engine, Policy};
use messenger_server::{Server as Listener, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How many users the idle connections belong to.
const USERS: usize = 20;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Beside {
    /// How many accounts there are beside.
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// How many idle connections there are beside.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Runs it on a server with a crowd, and on one without.
pub(crate) async fn run(
    crowd: Beside,
    scenario: &Scenario,
    rounds: usize,
) -> Result<Compared, Failed> {
    let crowded = Server::with_accounts(crowd.accounts).await?;
    let users = User::register_all(crowded.target, USERS).await?;
    let _idle = idle::connect(crowded.target, &users, crowd.connections, How::Resumed).await?;
    let empty = Server::with_accounts(0).await?;
    let mut compared = Compared::default();
    for round in 1..=rounds {
        eprintln!("round {round}, with the crowd");
        let of_crowded = scenario.run(crowded.target).await?;
        eprintln!("round {round}, without");
        compared.add(of_crowded, scenario.run(empty.target).await?);
    }
    Ok(compared)
}

/// Serves from memory, with so many accounts that nobody can use.
pub(crate) async fn serve(listen: SocketAddr, accounts: usize) -> Result<(), Failed> {
    let storage = MemoryStorage::new();
    for number in 0..accounts {
        let login = format!("account-{number}");
        let account = Account::new(login.as_str(), login.as_str(), "");
        storage.create_account(account).await?;
    }
    let mut policy = Policy::default();
    policy.rates = None;
    let engine = Engine::builder()
        .policy(policy)
        .storage(Arc::new(storage))
        .build()?;
    let listener = TcpListener::bind(listen).await?;
    eprintln!("listening address={}", listener.local_addr()?);
    let server = Listener::new(engine, Transport::default());
    server.serve(listener, std::future::pending()).await;
    Ok(())
}
