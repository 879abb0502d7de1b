//! A server as a process of its own.

use super::SOON;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Notify,
}

impl Process {
    /// The binary, on a store in a file.
    pub(crate) async fn start(store: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command.args(flags(store));
        Self::spawn(command).await
    }

    /// A command that becomes the server, without rate limits: tests flood on purpose.
    pub(crate) async fn spawn(mut command: Command) -> Self {
        command.env("MESSENGER_NO_RATE_LIMITS", "true");
        Self::spawn_limited(command).await
    }

    /// A command that becomes the server.
    pub(crate) async fn spawn_limited(mut command: Command) -> Self {
        let mut child = command
            .env_remove("RUST_LOG")
            .env("MESSENGER_METRICS_LISTEN", "off")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Log::default());
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once("address=") {
                    return address.trim().to_owned();
                }
                eprintln!("{line}");
                log.lines.lock().unwrap().push(line);
            }
            panic!("the server ended");
        };
        let address = timeout(SOON, listening).await.unwrap();
        let kept = Arc::clone(&log);
        // Read on, so that the server is not held up by its own log.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lines.lock().unwrap().push(line);
                kept.grown.notify_one();
            }
        });
        Self {
            child,
            address,
            log,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The memory it holds, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("VmRSS")).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// The processor time it has used, in hundredths of a second.
    pub(crate) fn used(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Behind the program's name, which may have spaces: the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Waits until the log has a line with this in it.
    pub(crate) async fn logs(&self, sentence: &str) {
        let logged = async {
            let has = || {
                let lines = self.log.lines.lock().unwrap();
                lines.iter().any(|line| line.contains(sentence))
            };
            while !has() {
                self.log.grown.notified().await;
            }
        };
        timeout(SOON, logged).await.expect("a line in the log");
    }

    /// The log so far.
    pub(crate) fn said(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// Waits for a line of the log with this in it, and gives the address at its end.
    pub(crate) async fn address_behind(&self, sentence: &str) -> String {
        self.logs(sentence).await;
        let lines = self.log.lines.lock().unwrap();
        let line = lines.iter().find(|line| line.contains(sentence)).unwrap();
        let (_, address) = line.split_once("address=").unwrap();
        address.trim().to_owned()
    }

    /// Sends a signal, such as TERM.
    pub(crate) async fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let kill = kill.args([&format!("-{name}"), &self.id().to_string()]);
        assert!(kill.status().await.unwrap().success());
    }

    /// Waits until it has ended; its exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let ended = timeout(SOON, self.child.wait()).await;
        ended.expect("the server ends").unwrap().code()
    }

    /// Kills it as a power cut would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The flags of a server on a store in a file, on a port of the system's choice.
pub(crate) fn flags(store: &Path) -> [String; 4] {
    let store = format!("sqlite:{}", store.display());
    ["--listen", "127.0.0.1:0", "--store", &store].map(str::to_owned)
}
