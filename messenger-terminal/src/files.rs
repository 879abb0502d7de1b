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

/// The longest name of a file that goes or comes, in bytes.
const LONGEST_NAME: usize = 100;

/// What files end in, where a type has several endings.
const USUAL: [&str; 7] = ["bin", "html", "jpg", "mp3", "mp4", "tiff", "txt"];

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

/// A name for a file that came: the one that came with its type, or the text, if that can be one. It leads nowhere else, and hides
/// nothing.
fn name(body: &str, mime: &str) -> String {
    let (kind, named) = parts(mime);
    match named.into_iter().chain([body]).find(|name| is_good(name)) {
        Some(name) => name.to_owned(),
        None => format!("file.{}", extension(kind)),
    }
}

fn is_good(name: &str) -> bool {
    let fits = name.len() <= LONGEST_NAME && name.contains('.');
    let is_plain = |sign: char| sign.is_alphanumeric() || " .-_()".contains(sign);
    fits && !name.starts_with(['.', ' ', '-']) && name.chars().all(is_plain)
}

/// What a file of this type usually ends in.
fn extension(kind: &str) -> &'static str {
    let known = mime_guess::get_mime_extensions_str(kind).unwrap_or_default();
    let usual = known.iter().find(|ending| USUAL.contains(ending));
    usual.or(known.first()).copied().unwrap_or("bin")
}

/// A type, and the file's name, which may stand behind it: `application/pdf; name="report.pdf"`.
pub(crate) fn parts(mime: &str) -> (&str, Option<&str>) {
    let Some((kind, more)) = mime.split_once(';') else {
        return (mime, None);
    };
    let name = more
        .split_once("name=\"")
        .and_then(|(_, name)| name.split_once('"'));
    (kind.trim_end(), name.map(|(name, _)| name))
}

/// The type of a file that is sent. A picture's is nothing but that, as all clients know it; any other's has the name behind it.
fn mime_of(path: &Path, name: &str) -> String {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let ends_it = |sign: char| sign.is_control() || "\"\\".contains(sign);
    if kind.type_() == "image" || name.len() > LONGEST_NAME || name.contains(ends_it) {
        return kind.essence_str().to_owned();
    }
    format!("{}; name=\"{name}\"", kind.essence_str())
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
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let attach = Attachment::new(mime_of(path, &name), BASE64.encode(&bytes));
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
        for bad in ["../../.bashrc", ".profile", "\u{202e}gnp.exe", "a\\b.png"] {
            let mime = format!("image/png; name=\"{bad}\"");
            assert_eq!(name("", &mime), "file.png", "{bad}");
        }
    }

    #[test]
    fn a_file_keeps_its_name_and_one_without_ends_as_usual() {
        let mime = "application/pdf; name=\"a report.pdf\"";
        assert_eq!(name("Look!", mime), "a report.pdf");
        for (mime, usual) in [
            ("application/octet-stream", "file.bin"),
            ("application/pdf; name=\"", "file.pdf"),
            ("image/jpeg", "file.jpg"),
            ("text/plain; charset=utf-8", "file.txt"),
        ] {
            assert_eq!(name("", mime), usual);
        }
        let path = Path::new("notes.txt");
        assert_eq!(mime_of(path, "notes.txt"), "text/plain; name=\"notes.txt\"");
        assert_eq!(mime_of(path, "a\"b.txt"), "text/plain");
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
