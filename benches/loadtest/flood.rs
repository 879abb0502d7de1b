//! Honest clients, alone and then beside others that flood the server: how much longer their messages take.
//!
//! The server is to run with its limits, which are what stands between the two.

use crate::Failed;
use crate::figures::Figures;
use crate::open;
use crate::wire::{Target, User, Wire};
use bytes::BufMut;
use clap::{Args, ValueEnum};
use messenger_client::proto::SetUserInfo;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The picture of whoever is found again and again, in bytes.
const PICTURE: usize = 60_000;

/// So many entries of an address book find as many of them.
const ENTRIES: usize = 1000;

/// The text of a large message, in bytes.
const TEXT: usize = 60_000;

/// The text of a short message, in bytes.
const SHORT_TEXT: usize = 100;

/// A large attachment, in bytes.
const ATTACHMENT: usize = 15 * 1024 * 1024;

/// How many bytes are written at once.
const PIECE: usize = 1024 * 1024;

/// How often somebody who takes nothing looks whether the server has ended the connection.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Address books that find many megabytes of pictures, which nobody takes.
    Imports,
    /// Messages of 60 kB to recipients that are not there.
    Messages,
    /// Attachments of 15 MiB to recipients that are not there.
    Attachments,
    /// Short messages to one recipient, who takes them.
    Recipient,
}

// Two groups of flags must not have one name.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(crate) struct Load {
    /// What the server is flooded with.
    #[arg(value_enum)]
    by: By,
    /// By how many clients.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    #[command(flatten)]
    honest: open::Load,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let honest = User::register_all(target, 2 * load.honest.pairs).await?;
    let hostile = User::register_all(target, 2 * load.clients).await?;
    let quiet = open::measure(target, &honest, load.honest).await?;
    eprintln!("the flood begins");
    // A thread of its own: or honest clients would wait for hostile ones in this program.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(give_way)
        .enable_all()
        .build()?;
    let mut flood = begin(target, load.by, hostile, runtime.handle()).await?;
    let flooded = open::measure(target, &honest, load.honest).await?;
    let has_ended = flood.try_join_next().is_some();
    runtime.shutdown_background();
    if has_ended {
        return Err("the flood ended before the honest clients did".into());
    }
    let mut figures = Figures::default();
    let of = |figures: &Figures, name| figures.get(name).unwrap_or_default();
    for (name, of_quiet, of_flooded) in [
        ("p50_us", "quiet_p50_us", "flooded_p50_us"),
        ("p99_us", "quiet_p99_us", "flooded_p99_us"),
        ("longest_us", "quiet_longest_us", "flooded_longest_us"),
    ] {
        figures.add(of_quiet, of(&quiet, name));
        figures.add(of_flooded, of(&flooded, name));
    }
    figures.add("p99_times", of(&flooded, "p99_us") / of(&quiet, "p99_us"));
    figures.add("lost", of(&quiet, "lost") + of(&flooded, "lost"));
    if target.pids[0].is_some() {
        figures.add("server_peak_mib", of(&flooded, "server_peak_mib"));
    }
    Ok(figures)
}

/// Hostile clients have machines of their own: what they take of this one's processors is not what is measured.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Has half of these flood the server, until the tasks are dropped.
async fn begin(
    target: Target,
    by: By,
    users: Vec<User>,
    on: &Handle,
) -> Result<JoinSet<Result<(), Failed>>, Failed> {
    let mut flood = JoinSet::new();
    let busy = &users[1];
    match by {
        By::Imports => show_picture(target, &users[0]).await?,
        By::Recipient => {
            flood.spawn_on(receive(Wire::connect(target, busy).await?), on);
        }
        By::Messages | By::Attachments => {}
    }
    for pair in users.chunks_exact(2) {
        let (from, to) = (pair[0].clone(), pair[1].clone());
        match by {
            By::Imports => flood.spawn_on(import(target, from), on),
            By::Messages => flood.spawn_on(send(target, from, to, TEXT, 0), on),
            By::Attachments => flood.spawn_on(send(target, from, to, 0, ATTACHMENT), on),
            By::Recipient => flood.spawn_on(send(target, from, busy.clone(), SHORT_TEXT, 0), on),
        };
    }
    Ok(flood)
}

/// The address that everybody's address books are full of.
fn address(user: &User) -> String {
    // Of this run alone.
    let (run, _) = user.login.rsplit_once('-').unwrap_or_default();
    format!("{run}@example.org")
}

async fn show_picture(target: Target, user: &User) -> Result<(), Failed> {
    let (client, _events) = messenger_client::connect(target.any_node()).await?;
    client.auth(&user.login, &User::pass()).await?;
    let profile = SetUserInfo::new()
        .email(address(user))
        .picture("A".repeat(PICTURE));
    Ok(client.set_user_info(profile).await?)
}

/// Asks for a long list and takes nothing of it, again and again.
async fn import(target: Target, user: User) -> Result<(), Failed> {
    let User { login, sid, .. } = &user;
    let email = address(&user);
    let entry = format!(r#"{{"myid":"1","name":"","phone":"","email":"{email}"}}"#);
    let entries = vec![entry; ENTRIES].join(",");
    let import = format!(
        r#"{{"action":"import","data":{{"cid":"{login}","sid":"{sid}","contacts":[{entries}]}}}}"#
    );
    loop {
        let mut wire = Wire::connect(target, &user).await?;
        wire.out.put_slice(import.as_bytes());
        while wire.flush().await.is_ok() {
            sleep(LOOKED_AT_EVERY).await;
            wire.out.put_slice(b" ");
        }
    }
}

/// Takes what comes.
async fn receive(mut wire: Wire) -> Result<(), Failed> {
    loop {
        wire.frame().await?;
    }
}

/// Sends as fast as the server takes it, whatever it answers.
async fn send(
    target: Target,
    from: User,
    to: User,
    text: usize,
    attached: usize,
) -> Result<(), Failed> {
    let (text, attached) = (vec![b'x'; text], vec![b'A'; attached]);
    let mut wire = Wire::connect(target, &from).await?;
    loop {
        wire.send(&to, &from, &text, &attached);
        wire.flush_in(PIECE).await?;
        while wire.received()?.is_some() {}
    }
}
