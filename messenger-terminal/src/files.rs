//! Files that are sent and that come.

use crate::Sentence;
use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE};
use messenger_client::proto::{Attachment, Message, SendMessage};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How many files that came are kept to be saved, and how many bytes of base64 they may have.
const KEPT: usize = 32;
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// The longest file that fits into a message, in bytes: base64 makes four of three, and there is something around.
pub(crate) const LONGEST: u64 = 12 * 1024 * 1024 - 128 * 1024;

/// Files that came and are not forgotten yet.
#[derive(Debug, Default)]
pub(crate) struct Received {
    files: VecDeque<(usize, String, Attachment)>,
    last: usize,
}

impl Received {
    /// Keeps a message's file, and gives the number by which it can be saved.
    pub(crate) fn keep(&mut self, message: &Message) -> usize {
        self.last += 1;
        let name = name(message.body.as_str(), &message.attach.mime);
        self.files
            .push_back((self.last, name, message.attach.clone()));
        let bytes = |files: &VecDeque<(usize, String, Attachment)>| -> usize {
            files
                .iter()
                .map(|(_, _, file)| file.data.as_str().len())
                .sum()
        };
        while self.files.len() > 1 && (self.files.len() > KEPT || bytes(&self.files) > KEPT_BYTES) {
            self.files.pop_front();
        }
        self.last
    }

    /// Saves one, the last if no number is given, in the working folder unless another place is. Nothing is overwritten.
    pub(crate) fn save(&self, number: Option<usize>, to: &str) -> Result<PathBuf, Sentence> {
        let number = number.unwrap_or(self.last);
        let (_, name, file) = self
            .files
            .iter()
            .find(|(kept, ..)| *kept == number)
            .ok_or_else(|| "There is no such file, or not any more.".to_owned())?;
        let decoded = BASE64_MIME_PERMISSIVE.decode(file.data.as_str().as_bytes());
        let bytes = decoded.map_err(|_| "The file is no base64; it cannot be saved.".to_owned())?;
        let mut to = PathBuf::from(to);
        if to.as_os_str().is_empty() || to.is_dir() {
            to.push(name);
        }
        write(&to, &bytes).map_err(|error| format!("Cannot save {}: {error}.", to.display()))
    }
}

/// Writes a file under this name, or one with a number if there is one of that name.
fn write(to: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    for copy in 1..100 {
        let path = match copy {
            1 => to.to_owned(),
            copy => numbered(to, copy),
        };
        match File::create_new(&path) {
            Ok(mut file) => return file.write_all(bytes).map(|()| path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn numbered(path: &Path, copy: usize) -> PathBuf {
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let stem = part(path.file_stem());
    let name = match path.extension() {
        Some(extension) => format!("{stem} ({copy}).{}", extension.to_string_lossy()),
        None => format!("{stem} ({copy})"),
    };
    path.with_file_name(name)
}

/// A name for a file that came: the text that came with it if that can be one. It leads nowhere else, and hides nothing.
fn name(body: &str, mime: &str) -> String {
    let is_good = |sign: char| sign.is_alphanumeric() || " .-_()".contains(sign);
    let fits = !body.is_empty() && body.len() <= 100 && body.chars().all(is_good);
    if fits && !body.starts_with(['.', ' ', '-']) && body.contains('.') {
        return body.to_owned();
    }
    let extension = mime_guess::get_mime_extensions_str(mime).and_then(<[_]>::first);
    format!("file.{}", extension.unwrap_or(&"bin"))
}

/// A message with this file.
pub(crate) fn message(to: &str, path: &Path) -> Result<SendMessage, Sentence> {
    let cannot = |why: String| format!("Cannot send {}: {why}.", path.display());
    let length = fs::metadata(path)
        .map_err(|error| cannot(error.to_string()))?
        .len();
    if length > LONGEST {
        let longest = bytesize::ByteSize(LONGEST);
        return Err(cannot(format!("it is longer than {longest}")));
    }
    let bytes = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    if bytes.is_empty() {
        return Err(cannot("it is empty".to_owned()));
    }
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let attach = Attachment::new(mime.essence_str(), BASE64.encode(&bytes));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(SendMessage::new(to, name.as_ref()).attach(attach))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_others_leads_nowhere() {
        assert_eq!(name("photo (1).png", "image/png"), "photo (1).png");
        for bad in [
            "../../.bashrc",
            "/etc/passwd",
            ".profile",
            "a\nb.png",
            "Look!",
            "",
        ] {
            assert_eq!(name(bad, "image/png"), "file.png", "{bad}");
        }
        assert_eq!(name("", "no/such"), "file.bin");
    }

    #[test]
    fn what_was_sent_is_what_is_saved_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.png");
        fs::write(&path, [1, 2, 3]).unwrap();
        let sent = message("bob", &path).unwrap();
        assert_eq!(sent.attach.mime, "image/png");
        let mut received = Received::default();
        let mut message = Message::default();
        (message.body, message.attach) = (sent.body, sent.attach);
        assert_eq!(received.keep(&message), 1);
        let to = folder.path().to_str().unwrap();
        let saved = received.save(None, to).unwrap();
        assert_eq!(saved, folder.path().join("photo (2).png"));
        assert_eq!(fs::read(saved).unwrap(), [1, 2, 3]);
        assert!(received.save(Some(2), to).is_err());
    }

    #[test]
    fn files_that_came_are_forgotten_beyond_a_bound() {
        let mut received = Received::default();
        let mut message = Message::default();
        message.attach = Attachment::new("image/png", "A".repeat(KEPT_BYTES / 4));
        for _ in 0..10 {
            received.keep(&message);
        }
        assert_eq!(received.files.len(), 4);
        message.attach = Attachment::new("image/png", "AAAA");
        for _ in 0..100 {
            received.keep(&message);
        }
        assert_eq!(received.files.len(), KEPT);
    }
}
