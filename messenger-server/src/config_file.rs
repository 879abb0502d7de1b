//! A file of settings: TOML, with the names of the flags.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The setting that names the file.
pub(crate) const CONFIG: &str = "config";

/// A file whose names are all settings.
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    settings: Vec<Setting>,
}

struct Setting {
    /// As the command line calls it within the program.
    id: String,
    /// As it is called in the file, and as a flag.
    name: String,
    value: String,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file {} cannot be read ({source})", path.display())]
    Read { path: PathBuf, source: io::Error },
    // The line itself may hold a password.
    #[error("line {line} of {} is no TOML: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error(
        "{} sets {name}, and no setting has this name; messenger-server --help tells all that there are",
        path.display()
    )]
    Unknown { path: PathBuf, name: String },
    #[error(
        "{} sets {name} to something that is neither a text, a number, true, false, nor a list of those",
        path.display()
    )]
    Kind { path: PathBuf, name: String },
}

impl ConfigFile {
    /// Reads a file for a program with this command line.
    pub(crate) fn read(path: &Path, line: &clap::Command) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return Err(syntax(path, &text, &error)),
        };
        let mut settings = Vec::new();
        for (name, value) in table {
            let of_name = |arg: &&clap::Arg| arg.get_long() == Some(&name) && is_setting(arg);
            let Some(arg) = line.get_arguments().find(of_name) else {
                return Err(ConfigError::Unknown { path, name });
            };
            let Some(value) = text_of(&value) else {
                return Err(ConfigError::Kind { path, name });
            };
            let id = arg.get_id().to_string();
            settings.push(Setting { id, name, value });
        }
        Ok(Self { path, settings })
    }

    /// The settings as flags, but for those that are given elsewhere.
    pub(crate) fn flags(&self, is_given: impl Fn(&str) -> bool) -> Vec<OsString> {
        let settings = self.settings.iter();
        let settings = settings.filter(|setting| !is_given(&setting.id));
        let flags = settings.map(|setting| format!("--{}={}", setting.name, setting.value).into());
        flags.collect()
    }

    pub(crate) fn sets(&self, id: &str) -> bool {
        self.settings.iter().any(|setting| setting.id == id)
    }
}

/// True for what is not a question (--help), nor where the file is.
fn is_setting(arg: &clap::Arg) -> bool {
    arg.get_env().is_some() && arg.get_id() != CONFIG
}

fn syntax(path: PathBuf, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    ConfigError::Syntax {
        path,
        line: before.unwrap_or_default().matches('\n').count() + 1,
        message: error.message().to_owned(),
    }
}

/// A value as it is written on the command line.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        Value::Array(values) => {
            let values: Option<Vec<_>> = values.iter().map(text_of).collect();
            values.map(|values| values.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}
