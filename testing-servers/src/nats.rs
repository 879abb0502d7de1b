//! A NATS server of a test's own, in a folder of its own and on a free port.

use crate::DEADLINE;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server, which ends with the test.
#[derive(Debug)]
pub struct Nats {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Nats {
    /// Starts one with these further arguments, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_at(-1, arguments, folder)
    }

    fn start_at(port: i32, arguments: &[&str], folder: TempDir) -> Self {
        let process = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .arg("--ports_file_dir")
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed (apt-get install nats-server)");
        let ports = folder
            .path()
            .join(format!("nats-server_{}.ports", process.id()));
        let port = port_in(&ports);
        Self {
            process,
            port,
            _folder: folder,
        }
    }

    /// The port at which it listens, of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        *self = Self::start_at(self.port.into(), &[], folder);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port in the file that the server writes once it listens: `{"nats":["nats://127.0.0.1:4222"]}`.
fn port_in(ports: &Path) -> u16 {
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(ports).unwrap_or_default();
        let digits = text.split_once("127.0.0.1:").map(|(_, rest)| rest);
        let digits = digits.and_then(|rest| rest.split_once('"'));
        if let Some(port) = digits.and_then(|(port, _)| port.parse().ok()) {
            return port;
        }
        assert!(began.elapsed() < DEADLINE, "the server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
