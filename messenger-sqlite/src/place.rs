//! Where a store's file lies, or has lain. SQLite keeps what was committed last in a log beside it, and our lock lies there too, both
//! under the file's name. Through another name of the same file neither is found.

use crate::{OpenError, format};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// Where Linux tells a process what is mounted, as far as it sees it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The one name of a store's file, whether it is there already or not. But not when it is gone: SQLite would drop the
/// log that is left.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let resolved = path.canonicalize().or_else(|_| not_there(path))?;
    refuse_gone(&resolved)?;
    refuse_foreign_log(&resolved)?;
    // What cannot be looked at cannot be opened either, which tells why.
    if let Ok(file) = resolved.metadata() {
        refuse_links(&resolved, &file)?;
        refuse_mount(&resolved, &file)?;
    }
    Ok(resolved)
}

fn not_there(path: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(target) = path.read_link() {
        return Err(OpenError::Gone {
            path: target,
            trace: path.to_owned(),
        });
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => Ok(folder.join(name)),
        // Opening it tells why.
        _ => Ok(path.to_owned()),
    }
}

#[cfg(unix)]
fn refuse_links(path: &Path, file: &Metadata) -> Result<(), OpenError> {
    if file.is_file() && std::os::unix::fs::MetadataExt::nlink(file) > 1 {
        return Err(OpenError::Linked {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_links(_: &Path, _: &Metadata) -> Result<(), OpenError> {
    Ok(())
}

fn refuse_mount(path: &Path, file: &Metadata) -> Result<(), OpenError> {
    let is_mounted = match fs::read(MOUNTS) {
        Ok(mounts) => is_mount_point(path, &mounts),
        Err(_) => is_of_another_device(path, file),
    };
    if is_mounted {
        return Err(OpenError::Mounted {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// A line for each mount; its fifth field is where, with blanks and backslashes as octal numbers.
fn is_mount_point(path: &Path, mounts: &[u8]) -> bool {
    let mut field = Vec::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => field.extend(format!("\\{byte:03o}").as_bytes()),
            _ => field.push(*byte),
        }
    }
    let mut lines = mounts.split(|byte| *byte == b'\n');
    lines.any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&field))
}

/// Where there is no list of mounts, this tells most of them. (With the list it would tell too many: in a container's
/// own layers files and folders may seem to be of different devices.)
#[cfg(unix)]
fn is_of_another_device(path: &Path, file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let folder = path.parent().and_then(|folder| folder.metadata().ok());
    folder.is_some_and(|folder| folder.dev() != file.dev())
}

#[cfg(not(unix))]
fn is_of_another_device(_: &Path, _: &Metadata) -> bool {
    false
}

/// Refuses a store that is not there, or empty, where something tells that there was one.
fn refuse_gone(path: &Path) -> Result<(), OpenError> {
    if !is_empty(path) {
        return Ok(());
    }
    // Beside an empty file a journal is of somebody who was interrupted when about to begin.
    let endings: &[&str] = if path.exists() {
        &["-wal", ".lock"]
    } else {
        &["-wal", "-journal", ".lock"]
    };
    let mut traces = endings.iter().map(|ending| beside(path, ending));
    match traces.find(|trace| !is_empty(trace)) {
        Some(trace) => Err(OpenError::Gone {
            path: path.to_owned(),
            trace,
        }),
        None => Ok(()),
    }
}

/// A log beside a copy is of the store that was there before it: SQLite would take it for the copy's and write it
/// all over it. So nothing is opened. (That is why copies use no log.)
fn refuse_foreign_log(path: &Path) -> Result<(), OpenError> {
    if !is_empty(&beside(path, "-wal")) && format::is_copy(path).unwrap_or(false) {
        return Err(OpenError::ForeignLog {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// True also of a file that is not there.
pub(crate) fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |file| file.len() == 0)
}

/// The name of a file beside the store's, such as its `-wal`.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
