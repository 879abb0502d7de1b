//! An IRC server of a test's own, in a folder of its own and on a free port.

use crate::DEADLINE;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often a port is looked for that nobody takes before the server does.
const ATTEMPTS: usize = 10;

/// A server that holds nobody back, which ends with the test.
#[derive(Debug)]
pub struct Ngircd {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Ngircd {
    /// Starts one, and waits until it listens.
    pub fn start() -> Self {
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let folder = tempfile::tempdir().unwrap();
            let mut server = Self {
                process: serve(&folder, port),
                port,
                folder,
            };
            if server.is_up() {
                return server;
            }
        }
        panic!("the server ended");
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, and starts it again where it was.
    pub fn restart(&mut self) {
        self.end();
        self.process = serve(&self.folder, self.port);
        assert!(self.is_up(), "the server ended");
    }

    /// Waits until it takes connections; false when it ends instead.
    fn is_up(&mut self) -> bool {
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.address()).is_ok() {
                return true;
            }
            assert!(began.elapsed() < DEADLINE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Ngircd {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(folder: &TempDir, port: u16) -> Child {
    let file = folder.path().join("settings");
    let settings = format!(
        "[Global]\n\
         Name = irc.example.org\n\
         Info = A server for tests\n\
         Listen = 127.0.0.1\n\
         Ports = {port}\n\
         MotdPhrase = Hello\n\
         [Limits]\n\
         MaxConnectionsIP = 0\n\
         MaxPenaltyTime = 0\n\
         [Options]\n\
         DNS = no\n\
         Ident = no\n\
         PAM = no\n\
         IncludeDir = {}\n",
        folder.path().display(),
    );
    std::fs::write(&file, settings).unwrap();
    Command::new("ngircd")
        .args(["--nodaemon", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ngircd is installed (apt-get install ngircd)")
}
