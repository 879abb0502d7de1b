//! What a process takes, and servers as processes.

use crate::Failed;
use crate::figures::Figures;
use crate::wire::{NODES, Protocol, Target};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};
use testing_servers::{Nats, Postgres};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Processor time is told in ticks of this length on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// How long a server may take to start.
const STARTED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Of the processor, since the process began.
    pub(crate) cpu: Duration,
    /// The memory it has, in KiB.
    pub(crate) resident_kib: u64,
    /// The most it had.
    pub(crate) peak_kib: u64,
}

/// What the process has taken until now.
pub(crate) fn usage(pid: u32) -> Result<Usage, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the program's name, in parentheses, which may hold anything.
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("the process's stat is strange")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let value = value.ok_or("the process has no memory")?;
        Ok::<_, Failed>(value.trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Usage {
        cpu: TICK * ticks,
        resident_kib: kib("VmRSS:")?,
        peak_kib: kib("VmHWM:")?,
    })
}

/// What the processes have taken together, if there are any.
fn usage_of_all(pids: [Option<u32>; NODES]) -> Result<Option<Usage>, Failed> {
    let all: Vec<_> = pids
        .into_iter()
        .flatten()
        .map(usage)
        .collect::<Result<_, _>>()?;
    Ok(all.into_iter().reduce(|one, other| Usage {
        cpu: one.cpu + other.cpu,
        resident_kib: one.resident_kib + other.resident_kib,
        peak_kib: one.peak_kib + other.peak_kib,
    }))
}

/// What this tool and the server take for something, from when it begins.
pub(crate) struct Meter {
    began: Instant,
    own: Usage,
    /// Of all its processes together.
    server: Option<Usage>,
    pids: [Option<u32>; NODES],
}

impl Meter {
    pub(crate) fn begin(target: Target) -> Result<Self, Failed> {
        Ok(Self {
            began: Instant::now(),
            own: usage(std::process::id())?,
            server: usage_of_all(target.pids)?,
            pids: target.pids,
        })
    }

    /// So many things were done. Processor time is told for each in microseconds, which is seconds for
    /// a million.
    pub(crate) fn end(self, rate: &'static str, count: u64) -> Result<Figures, Failed> {
        let seconds = self.began.elapsed().as_secs_f64();
        let count = count.max(1) as f64;
        let each =
            |before: Usage, after: Usage| (after.cpu - before.cpu).as_secs_f64() * 1e6 / count;
        let mut figures = Figures::default();
        figures.add(rate, count / seconds);
        figures.add("tool_cpu_us", each(self.own, usage(std::process::id())?));
        if let (Some(before), Some(after)) = (self.server, usage_of_all(self.pids)?) {
            figures.add("server_cpu_us", each(before, after));
            figures.add(
                "server_grew_mib",
                mib(after.peak_kib) - mib(before.resident_kib),
            );
            figures.add("server_peak_mib", mib(after.peak_kib));
        }
        Ok(figures)
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// A server that ends with this.
pub(crate) struct Server {
    /// Killed when dropped.
    children: Vec<Child>,
    /// These end behind them.
    _database: Option<Postgres>,
    _nats: Option<Nats>,
    pub(crate) target: Target,
}

impl Server {
    /// The server built beside this program, on a free port, with these flags.
    pub(crate) async fn messenger(flags: &[&str]) -> Result<Self, Failed> {
        Self::start(Self::command(flags)?, Protocol::Messenger, false).await
    }

    /// The same, for clients over WebSocket.
    pub(crate) async fn over_websocket(flags: &[&str]) -> Result<Self, Failed> {
        let mut command = Self::command(flags)?;
        command.args(["--ws-listen", "127.0.0.1:0"]);
        Self::start(command, Protocol::Messenger, true).await
    }

    /// Kills it, and waits until it is gone.
    #[cfg(feature = "scale")]
    pub(crate) async fn end(mut self) -> Result<(), Failed> {
        for child in &mut self.children {
            child.kill().await?;
        }
        Ok(())
    }

    fn command(flags: &[&str]) -> Result<Command, Failed> {
        let path = std::env::current_exe()?.with_file_name("messenger-server");
        if !path.exists() {
            return Err("build the server first: cargo build --release -p messenger-server".into());
        }
        let mut command = Command::new(path);
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .env("NO_COLOR", "1");
        Ok(command)
    }

    /// A server in memory with so many accounts, out of this program.
    pub(crate) async fn with_accounts(accounts: usize) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--accounts", &accounts.to_string()]);
        Self::start(command, Protocol::Messenger, false).await
    }

    pub(crate) async fn relay() -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay");
        Self::start(command, Protocol::Relay, false).await
    }

    /// A NATS server that takes payloads of so many bytes.
    pub(crate) fn nats(max_payload: usize) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let configuration = folder.path().join("nats.conf");
        std::fs::write(&configuration, format!("max_payload: {max_payload}\n"))?;
        let configuration = configuration
            .to_str()
            .ok_or("the folder's name is strange")?;
        let nats = Nats::start(&["--config", configuration]);
        Ok(Self {
            children: Vec::new(),
            _database: None,
            target: Target {
                nodes: [(Ipv4Addr::LOCALHOST, nats.port()).into(); NODES],
                pairs_share: false,
                websocket: None,
                protocol: Protocol::Nats,
                pids: [Some(nats.pid()), None, None],
            },
            _nats: Some(nats),
        })
    }

    /// The server on a database with these settings, which is started for it.
    pub(crate) async fn on_database(settings: &[&str]) -> Result<Self, Failed> {
        let database = Postgres::start_with(settings).await;
        let flags = ["--store", &database.database().await, "--no-rate-limits"];
        let server = Self::messenger(&flags).await?;
        Ok(Self {
            _database: Some(database),
            ..server
        })
    }

    /// So many servers on one such database, which tell each other by a NATS server.
    pub(crate) async fn nodes(settings: &[&str], count: usize) -> Result<Self, Failed> {
        let (database, nats) = (Postgres::start_with(settings).await, Nats::start(&[]));
        let (store, notifier) = (database.database().await, nats.url());
        let flags = [
            "--store",
            &store,
            "--notifier",
            &notifier,
            "--no-rate-limits",
        ];
        let mut all = Self::messenger(&flags).await?;
        for number in 1..count {
            let node = Self::messenger(&flags).await?;
            all.target.nodes[number] = node.target.any_node();
            all.target.pids[number] = node.target.pids[0];
            all.children.extend(node.children);
        }
        Ok(Self {
            _database: Some(database),
            _nats: Some(nats),
            ..all
        })
    }

    async fn start(
        mut command: Command,
        protocol: Protocol,
        is_websocket: bool,
    ) -> Result<Self, Failed> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let log = child.stderr.take().ok_or("the server has no log")?;
        let mut lines = BufReader::new(log).lines();
        let listening = async {
            let mut tcp = None;
            while let Some(line) = lines.next_line().await? {
                let Some((what, address)) = line.split_once(" address=") else {
                    continue;
                };
                let address: SocketAddr = address.trim().parse()?;
                if what.ends_with("listening") {
                    tcp = Some(address);
                }
                match tcp {
                    Some(tcp) if !is_websocket => return Ok::<_, Failed>((tcp, None)),
                    Some(tcp) if what.ends_with("WebSocket") => return Ok((tcp, Some(address))),
                    _ => {}
                }
            }
            Err("the server did not start".into())
        };
        let (address, websocket) = timeout(STARTED, listening).await??;
        // Or it would stop when nobody takes its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let target = Target {
            nodes: [address; NODES],
            pairs_share: false,
            websocket,
            protocol,
            pids: [child.id(), None, None],
        };
        Ok(Self {
            children: vec![child],
            _database: None,
            _nats: None,
            target,
        })
    }
}
