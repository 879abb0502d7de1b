//! Long contact lists, and address books that are imported.

use crate::Failed;
use crate::figures::Figures;
use crate::process::Meter;
use crate::wire::{Target, User};
use clap::Args;
use hdrhistogram::Histogram;
use messenger_client::proto::ImportEntry;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many contacts the list has, and entries the address book.
    #[arg(long, default_value_t = 1000)]
    entries: usize,
    /// Seconds for each of both.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, load.entries + 1).await?;
    let (client, _events) = messenger_client::connect(target.any_node()).await?;
    client.auth(&users[0].login, &User::pass()).await?;
    for user in &users[1..] {
        client.add_contact(user.login.as_str()).await?;
    }
    let book: Vec<_> = (0..load.entries)
        .map(|number| {
            ImportEntry::new(number.to_string())
                .name("somebody")
                .phone(format!("+4930{number:07}"))
                .email(format!("somebody-{number}@example.org"))
        })
        .collect();
    let seconds = Duration::from_secs(load.seconds);

    let (mut lists, mut imports) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let meter = Meter::begin(target)?;
    let began = Instant::now();
    while began.elapsed() < seconds {
        let asked = Instant::now();
        let list = client.contact_list().await?;
        lists.record(u64::try_from(asked.elapsed().as_micros())?)?;
        if list.len() != load.entries {
            return Err("the list is not whole".into());
        }
    }
    let mut figures = meter.end("lists_a_second", lists.len())?;
    eprintln!("the lists are done");
    let began = Instant::now();
    while began.elapsed() < seconds {
        let asked = Instant::now();
        client.import(book.clone()).await?;
        imports.record(u64::try_from(asked.elapsed().as_micros())?)?;
    }
    figures.add_times(&lists);
    figures.add(
        "imports_a_second",
        imports.len() as f64 / began.elapsed().as_secs_f64(),
    );
    figures.add("import_p50_us", imports.value_at_quantile(0.5) as f64);
    figures.add("import_p99_us", imports.value_at_quantile(0.99) as f64);
    Ok(figures)
}
