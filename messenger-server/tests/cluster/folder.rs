//! Where the processes of a run have their logs and data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that goes with the run, unless that has failed: then the logs stay.
pub(crate) struct Folder(Option<TempDir>);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("messenger-cluster-")
            .tempdir();
        Self(Some(folder.unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
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
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            let path = folder.keep();
            let _ = fs::remove_dir_all(path.join("data"));
            eprintln!("the logs of all processes are in {}", path.display());
        }
    }
}
