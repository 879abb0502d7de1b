//! The command line, and the environment that stands in for it.

use crate::config_file::{CONFIG, ConfigFile};
use crate::effective::Effective;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use messenger_server::Settings;
use messenger_server::operator::Command;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;

/// What all settings' variables begin with.
const PREFIX: &str = "MESSENGER_";

/// The settings that every command's help shows.
const OF_COMMANDS: [&str; 2] = [CONFIG, "store"];

/// The command whose help shows all settings, as it checks them.
const CHECK: &str = "check";

const ABOUT: &str =
    "A messenger server: JSON objects over TCP or WebSocket. Without a command it serves";
const LONG_ABOUT: &str = "A messenger server: JSON objects over TCP or WebSocket. Without a command it serves.

A setting can be given as a flag, as an environment variable (MESSENGER_ and the flag's name in capitals, \
such as MESSENGER_LISTEN), or in a file (--config). A flag overrides a variable, and a variable overrides the file. \
Bytes may be given with a unit (16MiB, 16MB), long numbers as 60_000.";

/// The version, and the commit where it is known.
pub(crate) const VERSION: &str = env!("BUILT_VERSION");

/// What is to be done; serving, unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "messenger-server", version = VERSION, about = ABOUT, long_about = LONG_ABOUT, max_term_width = 100)]
pub(crate) struct Cli {
    /// A file of settings, in TOML: a name there is a flag's, as in `max-frame = "16MiB"`. A flag or a variable overrides
    /// what it says.
    #[arg(long, env = "MESSENGER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// What else can be done than to serve.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    #[command(flatten)]
    Operator(Command),
    /// Write what completes commands and flags in a shell.
    ///
    /// Such as: messenger-server completions bash > /etc/bash_completion.d/messenger-server
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page.
    ///
    /// Such as: messenger-server man > /usr/local/share/man/man1/messenger-server.1
    Man,
}

impl Cli {
    /// What the process was started with, and where each setting was said. Ends the process when that cannot be done,
    /// or was a question.
    pub(crate) fn read() -> (Self, Effective) {
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
        let is_given = |id: &str| is_given(&matches, id);
        let file = matches.get_one::<PathBuf>(CONFIG);
        let file = file.map(|path| ConfigFile::read(path, &line).unwrap_or_else(|e| refuse(e)));
        let all = match &file {
            Some(file) => with_file(&mut line, file, is_given),
            None => matches.clone(),
        };
        let effective = Effective::new(&line, &all, file.as_ref(), is_given);
        let cli = Self::from_arg_matches(&all).unwrap_or_else(|error| answer(&error));
        (cli, effective)
    }
}

/// True for a setting of which a flag or a variable tells.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let source = matches.value_source(id);
    source.is_some_and(|source| source != ValueSource::DefaultValue)
}

/// The command line with what the file says, where it does not say so itself.
fn with_file(
    line: &mut clap::Command,
    file: &ConfigFile,
    is_given: impl Fn(&str) -> bool,
) -> ArgMatches {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let first = arguments.len().min(1);
    arguments.splice(first..first, file.flags(is_given));
    let matches = line.try_get_matches_from_mut(arguments);
    matches.unwrap_or_else(|error| {
        // Whoever was to read it may be gone.
        let _ = writeln!(io::stderr(), "in {}:", file.path.display());
        answer(&error)
    })
}

impl Task {
    /// Writes what it is about the command line itself that was asked for.
    pub(crate) fn describe(shell: Option<Shell>, out: &mut impl Write) -> io::Result<()> {
        let mut line = Cli::command();
        match shell {
            Some(shell) => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut line, "messenger-server", &mut script);
                out.write_all(&script)
            }
            None => clap_mangen::Man::new(line).render(out),
        }
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
