//! Clients that come back all at once, as after a restart.

use crate::Failed;
use crate::figures::Figures;
use crate::process::Meter;
use crate::wire::{Target, User, Wire};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use messenger_core::policy::PasswordPolicy;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many users the clients belong to.
const USERS: usize = 20;

/// How long bare hashing is measured.
const HASHING: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// With the session they had.
    Resume,
    /// With their passwords.
    Password,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many clients.
    #[arg(long, default_value_t = 5000)]
    clients: usize,
    /// How many connect at once.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// How they authenticate.
    #[arg(long, value_enum, default_value_t = By::Resume)]
    by: By,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, USERS).await?;
    let bare = match load.by {
        By::Resume => None,
        By::Password => Some(hashes_a_second()?),
    };
    let places = Arc::new(Semaphore::new(load.at_once));
    let meter = Meter::begin(target)?;
    let mut coming = JoinSet::new();
    for user in users.iter().cycle().take(load.clients) {
        let (user, places) = (user.clone(), Arc::clone(&places));
        coming.spawn(async move {
            let _place = places.acquire_owned().await?;
            let began = Instant::now();
            let mut wire = match load.by {
                By::Resume => Wire::connect(target, &user).await?,
                By::Password => Wire::connect_by_password(target, &user).await?,
            };
            wire.rest();
            Ok::<_, Failed>((wire, began.elapsed()))
        });
    }
    let mut times = Histogram::<u64>::new(3)?;
    // Those who have come stay.
    let mut wires = Vec::new();
    while let Some(come) = coming.join_next().await {
        let (wire, took) = come??;
        times.record(u64::try_from(took.as_micros())?)?;
        wires.push(wire);
        if wires.len() % 1000 == 0 {
            eprintln!("{} of {} are back", wires.len(), load.clients);
        }
    }
    let mut figures = meter.end("connections_a_second", wires.len() as u64)?;
    figures.add_times(&times);
    if let Some(bare) = bare {
        let rate = figures.get("connections_a_second").unwrap_or_default();
        figures.add("hashes_a_second", bare);
        figures.add("of_bare_hashing", rate / bare);
    }
    Ok(figures)
}

/// How many passwords as many threads hash as a server does by default, when they do nothing else.
fn hashes_a_second() -> Result<f64, Failed> {
    let policy = PasswordPolicy::default();
    let params = argon2::Params::new(policy.memory_kib, policy.passes, 1, None)
        .map_err(|error| error.to_string())?;
    let began = Instant::now();
    let hashing = || {
        let params = params.clone();
        std::thread::spawn(move || {
            let argon2 =
                argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
            let mut hashed = 0.0;
            while began.elapsed() < HASHING {
                let mut hash = [0; 32];
                argon2
                    .hash_password_into(b"password", b"salt-of-16-bytes", &mut hash)
                    .map_err(|error| error.to_string())?;
                hashed += 1.0;
            }
            Ok::<f64, String>(hashed / began.elapsed().as_secs_f64())
        })
    };
    let threads: Vec<_> = (0..policy.at_once).map(|_| hashing()).collect();
    let mut all = 0.0;
    for thread in threads {
        all += thread.join().map_err(|_| "a hash panicked")??;
    }
    Ok(all)
}
