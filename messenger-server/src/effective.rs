//! What each setting is, and where that was said.

use crate::config_file::ConfigFile;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use std::io::{self, Write};

/// All settings.
pub(crate) struct Effective(Vec<Setting>);

struct Setting {
    name: String,
    value: String,
    origin: String,
}

impl Effective {
    /// Of a command line that was read: `file` says which of its flags are not `given` on it, but in the file.
    pub(crate) fn new(
        line: &clap::Command,
        matches: &ArgMatches,
        file: Option<&ConfigFile>,
        is_given: impl Fn(&str) -> bool,
    ) -> Self {
        let settings = line.get_arguments().filter_map(|arg| {
            let env = arg.get_env()?.to_string_lossy();
            let id = arg.get_id().as_str();
            let origin = match matches.value_source(id) {
                Some(ValueSource::EnvVariable) => env.into_owned(),
                Some(ValueSource::CommandLine) => {
                    let file = file.filter(|file| file.sets(id) && !is_given(id));
                    file.map_or("flag".to_owned(), |file| file.path.display().to_string())
                }
                _ => "default".to_owned(),
            };
            Some(Setting {
                name: arg.get_long()?.to_owned(),
                value: value(arg, matches),
                origin,
            })
        });
        Self(settings.collect())
    }

    /// Writes a line for each.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let width = |part: fn(&Setting) -> &str| {
            let widths = self.0.iter().map(|setting| part(setting).chars().count());
            widths.max().unwrap_or(0)
        };
        let (names, values) = (width(|s| &s.name), width(|s| &s.value));
        for Setting {
            name,
            value,
            origin,
        } in &self.0
        {
            writeln!(out, "{name:names$}  {value:values$}  {origin}")?;
        }
        Ok(())
    }
}

/// A value as it was given. Of one that may hold a password only its beginning.
fn value(arg: &Arg, matches: &ArgMatches) -> String {
    let Some(values) = matches.get_raw(arg.get_id().as_str()) else {
        return "-".to_owned();
    };
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    let value = values.join(",");
    match value.split_once(':') {
        Some((scheme, rest)) if arg.is_hide_env_values_set() && rest.contains(['@', '?']) => {
            format!("{scheme}:…")
        }
        _ => value,
    }
}
