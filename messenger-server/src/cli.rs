//! The command line, and the environment that stands in for it.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use messenger_server::Settings;
use messenger_server::operator::Command;
use std::fmt::Display;
use std::io::{self, Write};
use std::process;

/// What all settings' variables begin with.
const PREFIX: &str = "MESSENGER_";

/// The settings that every command's help shows.
const OF_COMMANDS: [&str; 1] = ["store"];

/// The command whose help shows all settings, as it checks them.
const CHECK: &str = "check";

const ABOUT: &str = "A messenger server: JSON objects over TCP. Without a command it serves";
const LONG_ABOUT: &str = "A messenger server: JSON objects over TCP. Without a command it serves.

Every flag can be given as an environment variable instead: MESSENGER_ and its name in capitals, \
such as MESSENGER_LISTEN. Bytes may be given with a unit (16MiB, 16MB), long numbers as 60_000.";

/// What is to be done; serving, unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "messenger-server", version, about = ABOUT, long_about = LONG_ABOUT, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// What the process was started with. Ends the process when that cannot be done, or was a question.
    pub(crate) fn read() -> Self {
        let mut line = with_own_help(Self::command());
        let unknown = std::env::vars_os().find_map(|(name, _)| {
            let name = name.into_string().ok()?;
            is_unknown(&name, &line).then_some(name)
        });
        let matches = line.try_get_matches_from_mut(std::env::args_os());
        let matches = matches.unwrap_or_else(|error| answer(&error));
        if let Some(name) = unknown {
            refuse(format!(
                "{name} is set, and no setting has this name; messenger-server --help tells all that there are"
            ));
        }
        Self::from_arg_matches(&matches).unwrap_or_else(|error| answer(&error))
    }
}

/// Says why the process cannot begin, and ends it.
pub(crate) fn refuse(why: impl Display) -> ! {
    answer(&Cli::command().error(ErrorKind::InvalidValue, why))
}

/// Writes what stands in the way, or what was asked for, and ends the process.
fn answer(error: &clap::Error) -> ! {
    let written = error.print().and_then(|()| io::stdout().flush());
    let code = match written {
        Err(why) if !error.use_stderr() => {
            // Whoever was to read it may be gone.
            let _ = writeln!(
                io::stderr(),
                "messenger-server: the answer could not be written ({why})"
            );
            1
        }
        _ => error.exit_code(),
    };
    process::exit(code)
}

/// Every command takes every setting, as they may be in the environment that it shares with the server; its help
/// shows those that matter to it.
fn with_own_help(line: clap::Command) -> clap::Command {
    let settings: Vec<_> = line
        .get_arguments()
        .filter(|setting| !OF_COMMANDS.contains(&setting.get_id().as_str()))
        .map(|setting| setting.clone().hide(true))
        .collect();
    line.mut_subcommands(|command| match command.get_name() {
        CHECK => command,
        _ => hide(command, &settings),
    })
}

fn hide(command: clap::Command, settings: &[clap::Arg]) -> clap::Command {
    command
        .args(settings)
        .mut_subcommands(|command| hide(command, settings))
}

fn is_unknown(name: &str, line: &clap::Command) -> bool {
    name.starts_with(PREFIX)
        && !is_of_containers(name)
        && !line
            .get_arguments()
            .any(|setting| setting.get_env().is_some_and(|own| own == name))
}

/// Kubernetes and Docker tell every container where others are: when one of these is called `messenger`, such as by
/// MESSENGER_SERVICE_HOST and MESSENGER_PORT_7788_TCP.
fn is_of_containers(name: &str) -> bool {
    name.ends_with("_PORT")
        || ["_PORT_", "_SERVICE_"]
            .iter()
            .any(|part| name.contains(part))
}
