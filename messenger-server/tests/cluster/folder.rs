//! Where the processes of a run have their logs and data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// A folder whose logs stay behind, unless it was told that all went well. (Whoever drops it last need not know: the task
/// that has failed may be another.)
pub(crate) struct Folder {
    folder: Option<TempDir>,
    is_forgotten: AtomicBool,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("messenger-cluster-")
            .tempdir();
        Self {
            folder: Some(folder.unwrap()),
            is_forgotten: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// All went well: nobody needs the logs.
    pub(crate) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Relaxed);
    }

    /// A new folder in it, for data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        let path = self.path().join("data").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The log of a process, to which it appends.
    pub(crate) fn log(&self, name: &str) -> File {
        let path = self.path().join(format!("{name}.log"));
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
    }

    pub(crate) fn read_log(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_forgotten.load(Ordering::Relaxed)
            && let Some(folder) = self.folder.take()
        {
            let path = folder.keep();
            let _ = fs::remove_dir_all(path.join("data"));
            eprintln!("the logs of all processes are in {}", path.display());
        }
    }
}
