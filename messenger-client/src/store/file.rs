//! A folder as a store.

use super::StateStore;
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that says that a program uses the folder.
const LOCK: &str = "lock";

/// What a file that is not whole yet is called. A name of an entry has no dot.
const UNFINISHED: &str = "unfinished.tmp";

/// A folder with a file for each entry, which only its owner may read. A file is written beside, synced, and renamed, so that
/// it is there whole or not at all.
///
/// One program at a time uses a folder.
#[derive(Debug)]
pub struct FileStore(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
}

impl FileStore {
    /// Uses this folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made or written to, or another program uses it (`WouldBlock`).
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        private_folder().recursive(true).create(&path)?;
        let lock = private_file().open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another program uses it")
            }
        })?;
        Ok(Self(Arc::new(Folder { path, _lock: lock })))
    }

    /// Carries out what blocks on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let folder = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .map_err(io::Error::other)?
    }
}

#[async_trait]
impl StateStore for FileStore {
    async fn load(&mut self) -> io::Result<Vec<(String, Bytes)>> {
        self.blocking(Folder::load).await
    }

    async fn put(&mut self, name: &str, value: Bytes) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |folder| folder.put(&name, &value)).await
    }

    async fn delete(&mut self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |folder| folder.delete(&name)).await
    }
}

impl Folder {
    fn load(&self) -> io::Result<Vec<(String, Bytes)>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.path)? {
            let name = file?.file_name();
            // Whatever else lies there is not ours.
            let Some(name) = name.to_str().filter(|name| is_entry(name)) else {
                continue;
            };
            let value = fs::read(self.path.join(name))?;
            entries.push((name.to_owned(), value.into()));
        }
        Ok(entries)
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(UNFINISHED);
        let mut file = private_file().truncate(true).open(&unfinished)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(unfinished, self.path.join(name))?;
        sync_folder(&self.path)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.path),
        }
    }
}

fn is_entry(name: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name != LOCK && name.bytes().all(is_of_one)
}

fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// A new name is on the disk only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
