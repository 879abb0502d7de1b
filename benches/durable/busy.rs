//! Somebody else on the same disk.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What somebody else writes to the same disk, and in which pieces.
const BESIDE: usize = 50 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;

/// Where in its file that goes on from the beginning.
const LAP: u64 = 256 * 1024 * 1024;

/// Somebody else who writes to the same disk, until this is dropped.
pub(crate) struct Other(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Other {
    pub(crate) fn write(folder: &Path) -> Self {
        let mut file = File::create(folder.join("beside")).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let piece = vec![b'x'; PIECE];
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                file.write_all(&piece).unwrap();
                if file.stream_position().unwrap() >= LAP {
                    file.seek(SeekFrom::Start(0)).unwrap();
                }
                thread::sleep(
                    Duration::from_secs(1) * u32::try_from(PIECE).unwrap()
                        / u32::try_from(BESIDE).unwrap(),
                );
            }
        });
        Self(is_over, Some(thread))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}
