//! A process that can be killed and made to stand still.

use super::patience::DEADLINE;
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use tokio::time::{Duration, sleep, timeout};

/// A process with all its children, which is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Everything in it stands still.
    pub(crate) fn freeze(&self) {
        // Itself first, or it would go on and make others.
        signal("STOP", &self.family());
    }

    pub(crate) fn thaw(&self) {
        signal("CONT", &self.family());
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        signal("TERM", &[self.id()]);
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, ended).await.expect("the process ends")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn family(&self) -> Vec<u32> {
        let id = self.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|id| id.parse().unwrap());
        [id].into_iter().chain(children).collect()
    }

    fn end(&mut self) {
        if !self.is_running() {
            return;
        }
        let family = self.family();
        signal("KILL", &family);
        let _ = self.0.wait();
        // Whoever starts it again must not find a child alive. Dead ones have no command line.
        let begun = Instant::now();
        let is_alive =
            |id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty());
        while family.iter().any(is_alive) && begun.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Some of them may be gone by now.
fn signal(name: &str, ids: &[u32]) {
    let ids = ids.iter().map(u32::to_string);
    let mut kill = Command::new("kill");
    let sent = kill
        .args(["-s", name])
        .args(ids)
        .stderr(Stdio::null())
        .status();
    sent.unwrap();
}
