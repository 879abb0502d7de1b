//! How much of the store's disk must stay free, so that messages never fill it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the disk is looked at, while something is written.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// It is looked at again as well when so many bytes of messages came meanwhile.
const LOOKED_AT_AFTER: usize = 16 * 1024 * 1024;

/// How many bytes must stay free; may be changed at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floor(Arc<AtomicU64>);

/// Less is free than must be.
#[derive(Debug, thiserror::Error)]
#[error("less than {floor} bytes of the store's disk are free: make room there")]
pub(crate) struct LowDisk {
    floor: u64,
}

/// The disk, as it was when it was looked at last.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    floor: Floor,
    free: u64,
    looked: Option<Instant>,
    since: usize,
}

impl Floor {
    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Disk {
    /// The disk of a store's file.
    pub(crate) fn of(file: &Path, floor: Floor) -> Self {
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        Self {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            floor,
            free: u64::MAX,
            looked: None,
            since: 0,
        }
    }

    /// Whether so many bytes may be written; looks at the disk now and then.
    pub(crate) fn admit(&mut self, bytes: usize) -> Result<(), LowDisk> {
        let floor = self.floor.get();
        if floor == 0 {
            return Ok(());
        }
        self.since = self.since.saturating_add(bytes);
        let is_fresh = self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOKED_AT_EVERY);
        if !is_fresh || self.since >= LOOKED_AT_AFTER {
            self.looked = Some(Instant::now());
            self.since = 0;
            // When nobody can tell, the disk itself will.
            self.free = free(&self.folder).unwrap_or(u64::MAX);
        }
        match self.free < floor {
            true => Err(LowDisk { floor }),
            false => Ok(()),
        }
    }
}

/// The bytes of the disk that this process may still take.
#[cfg(unix)]
fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_folder: &Path) -> Option<u64> {
    None
}
