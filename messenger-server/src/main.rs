//! The server binary.

mod activation;
mod cli;
mod config_file;
mod effective;
mod first_lines;
mod listeners;
mod serving;

use activation::Passed;
use cli::{Cli, Task};
use listeners::{ListenError, Listeners, log_address};
use messenger_core::BuildError;
use messenger_server::operator::{Command, CommandError};
use messenger_server::{
    Monitoring, MonitoringError, Server, Settings, SettingsError, Transport, certificate, logs,
    rustls,
};
use serving::Serving;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

/// Gives memory back after bursts (password hashes, large frames), where the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Open files that are kept from connections, so that the store, the certificate, monitoring and whoever
/// is turned away find some.
const FILES_BESIDES: u64 = 48;

/// Why the server did not do what it was to, with what to do about it.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error("the runtime could not be started; are there enough threads and open files?")]
    Runtime(#[source] io::Error),
    #[error("the limit of open files cannot be read")]
    OpenFiles(#[source] io::Error),
    #[error(
        "{allowed} open files are too few, {FILES_BESIDES} are needed beside connections; raise the limit (ulimit -n)"
    )]
    TooFewOpenFiles { allowed: u64 },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the engine could not be built")]
    Engine(#[from] BuildError),
    #[error(transparent)]
    Monitoring(#[from] MonitoringError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error("told twice to stop; connections were cut")]
    ToldTwice,
}

fn main() -> ExitCode {
    let passed = Passed::from_env();
    let (Cli { settings, task, .. }, effective) = Cli::read();
    // A command speaks to whoever gave it.
    let usual = match task {
        None => LevelFilter::INFO,
        Some(_) => LevelFilter::OFF,
    };
    let log = logs::install(settings.log_format, usual);
    let _log = log.unwrap_or_else(|error| cli::refuse(error));
    let Some(task) = task else {
        return code(start(&settings, passed).map_err(|error| {
            tracing::error!(error = &error as &dyn Error, "it did not work");
        }));
    };
    let mut out = io::stdout().lock();
    let done = match task {
        Task::Completions { shell } => Task::describe(Some(shell), &mut out).map_err(Into::into),
        Task::Man => Task::describe(None, &mut out).map_err(Into::into),
        Task::Operator(command @ Command::Check) => {
            let written = effective.write(&mut out).map_err(CommandError::from);
            written.and_then(|()| command.run(&settings, &mut out))
        }
        Task::Operator(command) => command.run(&settings, &mut out),
    };
    code(done.map_err(|error| say(&error)))
}

fn code(done: Result<(), ()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::FAILURE,
    }
}

/// Says what went wrong, and why.
fn say(error: &dyn Error) {
    let mut sentence = format!("messenger-server: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        sentence = format!("{sentence} ({cause})");
        source = cause.source();
    }
    // Whoever was to read it may be gone.
    let _ = writeln!(io::stderr(), "{sentence}");
}

fn start(settings: &Settings, passed: Passed) -> Result<(), MainError> {
    let mut transport = settings.transport();
    transport.connections = allow_connections(settings.connection.max_connections)?;
    use_small_pages();
    // Whatever else is built beside this may bring another, and then nobody would know which is meant.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(MainError::Runtime)?;
    let served = runtime.block_on(serve(settings, transport, passed));
    match served {
        // Nothing that is still under way is waited for.
        Err(MainError::ToldTwice) => runtime.shutdown_background(),
        // The store is closed with the last that uses it.
        _ => drop(runtime),
    }
    served
}

/// Memory then comes in pages of some KiB. Where the system gives 2 MiB at once it clears them at once, and
/// whoever waits for that thread waits for milliseconds, each time a large frame comes in.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory comes in large pages");
    }
}

async fn serve(settings: &Settings, transport: Transport, passed: Passed) -> Result<(), MainError> {
    // First of all, or whoever is told to stop while the store is begun would leave it half made.
    let told = told_to_stop()?;
    let mut listeners = Listeners::bind(settings, passed)?;
    // Before the engine is built; and only if somebody reads what is recorded.
    let monitoring = match listeners.metrics.take() {
        Some(listener) => Some((listener, Monitoring::install()?)),
        None => None,
    };
    let (engine, others) = settings.engine().await?;
    let engine = engine.build()?;
    first_lines::tell(&settings.store, transport.connections);
    let server = Server::new(engine.clone(), transport);
    if let Some(tls) = &listeners.tls {
        // It records, too.
        tokio::spawn(certificate::watch(tls.clone()));
    }
    log_address(&listeners.tcp, "listening");
    first_lines::tell_how_to_try(&listeners);
    if let Some((listener, monitoring)) = monitoring {
        log_address(&listener, "metrics are told");
        tokio::spawn(monitoring.serve(listener, engine, told.once.clone().cancelled_owned()));
    }
    let serving = Serving {
        server: &server,
        settings,
        stop: &told.once,
    };
    let cut = tokio::select! {
        cut = serving.serve(listeners) => cut,
        () = told.twice.cancelled() => return Err(MainError::ToldTwice),
    };
    others.leave().await;
    if cut > 0 {
        tracing::warn!(cut, "stopped; some connections did not finish in time");
    } else {
        tracing::info!("stopped");
    }
    Ok(())
}

/// SIGTERM and SIGINT.
struct Told {
    /// To stop in good order.
    once: CancellationToken,
    /// To stop at once.
    twice: CancellationToken,
}

fn told_to_stop() -> Result<Told, MainError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(MainError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(MainError::Signals)?;
    let told = Told {
        once: CancellationToken::new(),
        twice: CancellationToken::new(),
    };
    let tokens = [told.once.clone(), told.twice.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(told)
}

/// Raises the soft limit of open files as far as the system allows and the connections need; how many
/// connections may be served then.
fn allow_connections(wanted: u64) -> Result<usize, MainError> {
    let allowed = rlimit::increase_nofile_limit(wanted.saturating_add(FILES_BESIDES))
        .or_else(|_| rlimit::Resource::NOFILE.get_soft())
        .map_err(MainError::OpenFiles)?;
    let connections = allowed.saturating_sub(FILES_BESIDES).min(wanted);
    if connections == 0 {
        return Err(MainError::TooFewOpenFiles { allowed });
    }
    if connections < wanted {
        tracing::warn!(
            connections,
            open_files = allowed,
            "fewer connections are served than --max-connections allows, as each is an open file; raise the limit (ulimit -n)"
        );
    }
    Ok(usize::try_from(connections).unwrap_or(usize::MAX))
}
