//! What the first bytes of a store's file say of it, which SQLite tells late or not in words.

use crate::OpenError;
use crate::place::beside;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// SQLite writes no file whose header asks for a later way of writing.
const WRITTEN: u8 = 2;

/// SQLite's header.
pub(crate) struct Header {
    write_version: u8,
    page: u64,
    pages: u64,
}

impl Header {
    /// Nothing where there is none; opening the file tells why.
    ///
    /// Not of a file that this process has open: SQLite's locks would be lost when it is closed here.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut start = [0; 100];
        File::open(path).ok()?.read_exact(&mut start).ok()?;
        let rest = start.strip_prefix(b"SQLite format 3\0")?;
        let (page, rest) = rest
            .split_first_chunk()
            .map(|(page, rest)| (u16::from_be_bytes(*page), rest))?;
        let (write_version, rest) = rest.split_first()?;
        let pages = rest
            .get(9..)?
            .first_chunk()
            .copied()
            .map(u32::from_be_bytes)?;
        Some(Self {
            write_version: *write_version,
            page: if page == 1 { 65_536 } else { page.into() },
            pages: pages.into(),
        })
    }

    /// How long the file is by it, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.page * self.pages
    }
}

/// Refuses a file that is shorter than it says, as one is that was not copied whole, and one that SQLite would only read.
pub(crate) fn check(path: &Path) -> Result<(), OpenError> {
    // With a log or a journal the file may be short, and what it says is not the last word. With a log it may be in use, too.
    if ["-wal", "-journal"]
        .iter()
        .any(|ending| beside(path, ending).exists())
    {
        return Ok(());
    }
    let (Some(header), Ok(file)) = (Header::read(path), path.metadata()) else {
        return Ok(());
    };
    if file.len() < header.length() {
        return Err(OpenError::Part {
            path: path.to_owned(),
            found: file.len(),
            expected: header.length(),
        });
    }
    if header.write_version > WRITTEN {
        return Err(OpenError::OnlyRead {
            path: path.to_owned(),
        });
    }
    Ok(())
}
