//! What a process takes, and servers as processes.

use crate::Failed;
use crate::wire::Peer;
use std::process::Stdio;
use std::time::Duration;
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
    /// The most memory it had, in KiB.
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
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("the process has no memory")?;
    Ok(Usage {
        cpu: TICK * ticks,
        peak_kib: peak.trim().trim_end_matches(" kB").parse()?,
    })
}

/// A server that ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) peer: Peer,
}

impl Server {
    /// The server built beside this program, on a free port.
    pub(crate) async fn messenger(store: &str) -> Result<Self, Failed> {
        let path = std::env::current_exe()?.with_file_name("messenger-server");
        if !path.exists() {
            return Err("build the server first: cargo build --release -p messenger-server".into());
        }
        let mut command = Command::new(path);
        command
            .args(["--listen", "127.0.0.1:0", "--no-rate-limits"])
            .args(["--store", store])
            .env("NO_COLOR", "1");
        Self::start(command, false).await
    }

    pub(crate) async fn relay() -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay");
        Self::start(command, true).await
    }

    async fn start(mut command: Command, is_relay: bool) -> Result<Self, Failed> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let log = child.stderr.take().ok_or("the server has no log")?;
        let mut lines = BufReader::new(log).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, address)) = line.split_once("listening address=") {
                    return Ok::<_, Failed>(address.trim().parse()?);
                }
            }
            Err("the server did not start".into())
        };
        let address = timeout(STARTED, listening).await??;
        // Or it would stop when nobody takes its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let peer = Peer { address, is_relay };
        Ok(Self { child, peer })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}
