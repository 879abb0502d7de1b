//! The page's files. All but the first have the version in their address, so that a browser asks for each of them once.

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;

/// As which the version stands in the first file.
const VERSION_GAP: &str = "VERSION";

/// Where the first file names the modules, so that a browser asks for all of them at once.
const PRELOADS_GAP: &str = "<!-- PRELOADS -->";

/// What a browser keeps without asking again: another version has other addresses.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// It may keep this, but asks whether it is still so.
const ASK_AGAIN: &str = "no-cache";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../web/", $name)))),*]
    };
}

const FIRST: &str = include_str!("../../web/index.html");

const OTHERS: [(&str, &str); 40] = files![
    "app.js",
    "attachments.js",
    "avatar.js",
    "chat.js",
    "composer.js",
    "connection.js",
    "conversation.js",
    "dialogs.js",
    "failures.js",
    "history.js",
    "i18n.js",
    "icon.svg",
    "importing.js",
    "inbox.js",
    "login.js",
    "markup.js",
    "message.js",
    "outbox.js",
    "password.js",
    "pending.js",
    "person.js",
    "profile.js",
    "roster.js",
    "session.js",
    "sidebar.js",
    "status.js",
    "store.js",
    "style.css",
    "vcard.js",
    "visible.js",
    "vendor/ical/LICENSE",
    "vendor/ical/ical.min.js",
    "vendor/noble-hashes/LICENSE",
    "vendor/noble-hashes/_md.js",
    "vendor/noble-hashes/_u64.js",
    "vendor/noble-hashes/legacy.js",
    "vendor/noble-hashes/utils.js",
    "vendor/README.md",
    "words/en.js",
    "words/ru.js",
];

/// What is given to a browser.
pub(super) struct Content {
    pub(super) kind: &'static str,
    pub(super) tag: HeaderValue,
    pub(super) plain: Bytes,
    /// The same as gzip.
    pub(super) packed: Bytes,
}

/// A file that was asked for.
pub(super) struct File<'a> {
    pub(super) content: &'a Content,
    /// What the browser is told of keeping it.
    pub(super) cached: &'static str,
}

/// All files of the page, packed once.
pub(super) struct Files {
    version: String,
    first: Content,
    others: HashMap<&'static str, Content>,
}

impl Files {
    pub(super) fn new() -> Self {
        let mut hash = Sha256::new_with_prefix(FIRST);
        for (name, content) in OTHERS {
            hash.update(name);
            hash.update(content);
        }
        let digest = hash.finalize();
        let version: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tag = HeaderValue::from_str(&format!("\"{version}\""));
        // Digits and quotes are always a header's value.
        let tag = tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        let first = FIRST.replace(PRELOADS_GAP, &preloads());
        let first = first.replace(VERSION_GAP, &version);
        let others = OTHERS.into_iter().map(|(name, content)| {
            let content = Content::new(name, Bytes::from_static(content.as_bytes()), &tag);
            (name, content)
        });
        Self {
            first: Content::new("index.html", first.into(), &tag),
            others: others.collect(),
            version,
        }
    }

    /// What is at this path.
    pub(super) fn find(&self, path: &str) -> Option<File<'_>> {
        if path == "/" {
            let content = &self.first;
            let cached = ASK_AGAIN;
            return Some(File { content, cached });
        }
        let (version, name) = path.strip_prefix("/v/")?.split_once('/')?;
        let content = self.others.get(name)?;
        // A page of an earlier version, open since, may want a file that it has not loaded yet.
        let cached = if version == self.version {
            FOR_EVER
        } else {
            ASK_AGAIN
        };
        Some(File { content, cached })
    }
}

/// The modules that every visit needs; those of others are loaded when they are.
fn preloads() -> String {
    let names = OTHERS.iter().map(|(name, _)| name);
    let own = names.filter(|name| name.ends_with(".js") && !name.starts_with("vendor/"));
    let links =
        own.map(|name| format!("<link rel=\"modulepreload\" href=\"/v/{VERSION_GAP}/{name}\">"));
    links.collect()
}

impl Content {
    fn new(name: &str, plain: Bytes, tag: &HeaderValue) -> Self {
        let kind = match name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        // Memory takes everything.
        let _ = packed.write_all(&plain);
        let packed = packed.finish().unwrap_or_default().into();
        let tag = tag.clone();
        Self {
            kind,
            tag,
            plain,
            packed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files_in(folder: &Path, found: &mut Vec<String>, root: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_in(&path, found, root);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = Vec::new();
        files_in(&root, &mut found, &root);
        found.sort();
        let mut served: Vec<_> = OTHERS.iter().map(|(name, _)| (*name).to_owned()).collect();
        served.push("index.html".to_owned());
        served.sort();
        assert_eq!(found, served);
    }
}
