//! What grows with what a store holds: a server on one with very many users and messages, beside the same on one that
//! holds little more than those who are measured.
//!
//! Stores are filled by their own calls, not through a server; everybody's password has a hash that costs nothing.

mod crowd;
mod upkeep;

use crate::Failed;
use crate::compare::Compared;
use crate::figures::Figures;
use crate::idle::{self, How, steady_kib};
use crate::process::Server;
use crate::wire::User;
use clap::Args;
use crowd::{LATE, OWNERS, Person, Sizes};
use messenger_client::proto::ImportEntry;
use messenger_client::{Client, Events};
use messenger_core::storage::Storage;
use messenger_postgres::PostgresStorage;
use messenger_sqlite::SqliteStorage;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testing_servers::Postgres;

/// How many entries an address book has.
const ENTRIES: usize = 1000;

/// One in so many of them is somebody.
const FOUND: usize = 20;

/// Open files that are kept from connections.
const FILES_BESIDES: u64 = 200;

/// How long somebody who catches up waits for the messages.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many accounts there are in the full store, each with a session.
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// How many messages wait for them.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// How many contacts a long list has.
    #[arg(long, default_value_t = 1000)]
    contacts: usize,
    /// How many messages wait in a long inbox.
    #[arg(long, default_value_t = 5000)]
    long_inbox: usize,
    /// How many messages somebody has to catch up on.
    #[arg(long, default_value_t = 1000)]
    backlog: usize,
    /// How many connections do nothing.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How often each thing is measured in a round.
    #[arg(long, default_value_t = 300)]
    samples: usize,
    /// How many turns each store has.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The stores are PostgreSQL databases, which are started for it, not files.
    #[arg(long)]
    postgres: bool,
}

/// Both stores in turns.
pub(crate) async fn run(load: Load) -> Result<Compared, Failed> {
    let full = load.sizes();
    let empty = Sizes {
        accounts: full.measured().max(full.contacts),
        messages: 0,
        ..full
    };
    if full.accounts < empty.accounts {
        return Err(format!("the full store needs {} accounts", empty.accounts).into());
    }
    let connections = load.connections.min(allowed_connections()?);
    if connections < load.connections {
        eprintln!("open files allow {connections} connections (ulimit -Hn)");
    }
    eprintln!("filling the empty store");
    let empty = Filled::begin(empty, load.postgres).await?;
    eprintln!("filling the full store");
    let full = Filled::begin(full, load.postgres).await?;
    let mut compared = Compared::of("full", "empty");
    for round in 0..load.rounds {
        eprintln!("round {}, full", round + 1);
        let of_full = full.measure(round, connections).await?;
        eprintln!("round {}, empty", round + 1);
        compared.add(of_full, empty.measure(round, connections).await?);
    }
    Ok(compared)
}

/// Raises the limit of open files as far as the system allows; for how many connections that is enough, here and in the
/// server, which does the same.
fn allowed_connections() -> Result<usize, Failed> {
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(usize::try_from(files.saturating_sub(FILES_BESIDES))?)
}

impl Load {
    fn sizes(self) -> Sizes {
        Sizes {
            accounts: self.accounts,
            messages: self.messages,
            contacts: self.contacts,
            long_inbox: self.long_inbox,
            backlog: self.backlog,
            samples: self.samples,
            rounds: self.rounds,
        }
    }
}

/// A store that is filled.
struct Filled {
    sizes: Sizes,
    place: Place,
}

/// Where a store is.
enum Place {
    File(TempDir),
    Database { url: String, _server: Postgres },
}

impl Place {
    /// As a setting.
    fn url(&self) -> String {
        match self {
            Self::File(folder) => format!("sqlite:{}", folder.path().join("messages").display()),
            Self::Database { url, .. } => url.clone(),
        }
    }

    async fn open(&self) -> Result<Arc<dyn Storage>, Failed> {
        Ok(match self {
            Self::File(folder) => Arc::new(SqliteStorage::open(folder.path().join("messages"))?),
            Self::Database { url, .. } => Arc::new(PostgresStorage::connect(url).await?),
        })
    }
}

impl Filled {
    async fn begin(sizes: Sizes, postgres: bool) -> Result<Self, Failed> {
        let place = if postgres {
            let server = Postgres::start_with(&crate::compare::SETTINGS).await;
            Place::Database {
                url: server.database().await,
                _server: server,
            }
        } else {
            Place::File(tempfile::tempdir()?)
        };
        let begun = Instant::now();
        let store = place.open().await?;
        crowd::fill(&store, sizes).await?;
        close(store).await;
        eprintln!(
            "it is filled after {:.0} seconds",
            begun.elapsed().as_secs_f64()
        );
        Ok(Self { sizes, place })
    }

    /// Measures the server on it, and then how it is kept tidy.
    async fn measure(&self, round: usize, connections: usize) -> Result<Figures, Failed> {
        let mut figures = Figures::default();
        let (url, most) = (self.place.url(), (connections + 100).to_string());
        let flags = [
            "--store",
            &url,
            "--no-rate-limits",
            "--max-connections",
            &most,
        ];
        let begun = Instant::now();
        let server = Server::messenger(&flags).await?;
        figures.add("start_us", begun.elapsed().as_micros() as f64);
        let pid = server.target.pids[0].ok_or("the server has no process")?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        figures.add("at_rest_mib", mib(steady_kib(pid).await?));
        let measuring = Measuring {
            sizes: self.sizes,
            round,
            address: server.target.any_node(),
        };
        measuring.all(&mut figures).await?;
        let used = steady_kib(pid).await?;
        figures.add("after_use_mib", mib(used));
        // Nothing waits for these.
        let idle = self.sizes.with_nothing(0, 0)..self.sizes.measured();
        let users: Vec<_> = idle.map(crowd::user).collect();
        let kept = idle::connect(server.target, &users, connections, How::Resumed).await?;
        let grown = steady_kib(pid).await?.saturating_sub(used);
        figures.add("connections", kept.len() as f64);
        figures.add("kib_each", grown as f64 / kept.len().max(1) as f64);
        drop(kept);
        server.end().await?;
        let store = self.place.open().await?;
        upkeep::measure(&store, self.sizes, round, &mut figures).await?;
        close(store).await;
        Ok(figures)
    }
}

/// Waits until nobody uses it any more: an engine's tasks end some time after the engine.
async fn close(store: Arc<dyn Storage>) {
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What is measured in one round.
struct Measuring {
    sizes: Sizes,
    round: usize,
    address: SocketAddr,
}

impl Measuring {
    async fn all(&self, figures: &mut Figures) -> Result<(), Failed> {
        let Self { sizes, round, .. } = *self;
        let mut times = Times::default();
        for number in 0..sizes.samples {
            let person = sizes.with_nothing(round, number);
            let (client, _events) = messenger_client::connect(self.address).await?;
            let login = crowd::login(person);
            times
                .take(async || client.auth(&login, &User::pass()).await)
                .await?;
        }
        times.add(figures, "log_in_p50_us", "log_in_p99_us");

        let own = sizes.with_nothing(round, 0);
        let (client, _events) = self.resume(own).await?;
        for number in 0..sizes.samples {
            let other = crowd::login(sizes.anybody(number));
            times.take(async || client.user_info(&*other).await).await?;
        }
        times.add(figures, "userinfo_p50_us", "userinfo_p99_us");

        let people = (0..sizes.samples.min(sizes.contacts)).map(|number| sizes.anybody(number));
        for person in people.filter(|person| *person != own) {
            let other = crowd::login(person);
            times
                .take(async || client.add_contact(&*other).await)
                .await?;
        }
        times.add(figures, "addcontact_p50_us", "addcontact_p99_us");

        self.lists(figures, &mut times).await?;

        for number in 0..sizes.samples {
            let to = crowd::login(sizes.with_nothing(round, number));
            times
                .take(async || client.send(&*to, "hello").await)
                .await?;
        }
        times.add(figures, "message_p50_us", "message_p99_us");
        for number in 0..sizes.samples {
            let to = crowd::login(sizes.with_long_inbox(number));
            times
                .take(async || client.send(&*to, "hello").await)
                .await?;
        }
        times.add(
            figures,
            "message_long_inbox_p50_us",
            "message_long_inbox_p99_us",
        );

        for number in 0..LATE {
            let late = sizes.late(round, number);
            times.take(async || self.catch_up(late).await).await?;
        }
        times.add(figures, "catch_up_p50_us", "catch_up_p99_us");
        Ok(())
    }

    /// Long lists, and address books.
    async fn lists(&self, figures: &mut Figures, times: &mut Times) -> Result<(), Failed> {
        let sizes = self.sizes;
        let mut owners = Vec::new();
        for number in 0..OWNERS {
            owners.push(self.resume(sizes.owner(number)).await?);
        }
        let count = sizes.samples / OWNERS;
        for _ in 0..count {
            for (client, _) in &owners {
                times.take(async || client.contact_list().await).await?;
            }
        }
        times.add(figures, "contactlist_p50_us", "contactlist_p99_us");
        for turn in 0..count.div_ceil(4) {
            for (client, _) in &owners {
                let book = self.book(turn);
                let found = times.take(async || client.import(book).await).await?;
                if found.len() != ENTRIES / FOUND {
                    return Err("an address book finds others than it should".into());
                }
            }
        }
        times.add(figures, "import_p50_us", "import_p99_us");
        Ok(())
    }

    /// An address book in which some are users.
    fn book(&self, turn: usize) -> Vec<ImportEntry> {
        let entry = |number: usize| {
            let entry = ImportEntry::new(number.to_string()).name("somebody");
            if number.is_multiple_of(FOUND) {
                entry.phone(crowd::phone(self.sizes.anybody(turn * ENTRIES + number)))
            } else {
                let nobody = format!("nobody-{turn}-{number}@example.org");
                entry.phone(format!("+4989{number:07}")).email(nobody)
            }
        };
        (0..ENTRIES).map(entry).collect()
    }

    async fn resume(&self, person: Person) -> Result<(Client, Events), Failed> {
        let (client, events) = messenger_client::connect(self.address).await?;
        let User { login, sid, .. } = crowd::user(person);
        client
            .resume(&login.as_str().into(), &sid.as_str().into())
            .await?;
        Ok((client, events))
    }

    /// Comes back and takes all that has waited.
    async fn catch_up(&self, person: Person) -> Result<(), Failed> {
        let (_client, mut events) = self.resume(person).await?;
        let all = async {
            for _ in 0..self.sizes.backlog {
                events.next_message().await?;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await?
    }
}

/// How long things of one kind took, in microseconds.
#[derive(Default)]
struct Times(Vec<u64>);

impl Times {
    async fn take<T, E: Into<Failed>>(
        &mut self,
        what: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, Failed> {
        let begun = Instant::now();
        let result = what().await.map_err(Into::into)?;
        self.0.push(u64::try_from(begun.elapsed().as_micros())?);
        Ok(result)
    }

    /// Tells the middle one and that below which 99 of 100 are, and begins anew.
    fn add(&mut self, figures: &mut Figures, middle: &'static str, p99: &'static str) {
        let mut all = std::mem::take(&mut self.0);
        all.sort_unstable();
        for (name, hundredths) in [(middle, 50), (p99, 99)] {
            let time = all.get(all.len() * hundredths / 100);
            figures.add(name, time.copied().unwrap_or_default() as f64);
        }
    }
}
