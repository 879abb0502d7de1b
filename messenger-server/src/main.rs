//! The server binary.

use clap::Parser;
use messenger_core::BuildError;
use messenger_server::{Drained, Server, Settings, SettingsError};
use std::error::Error;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Gives memory back after bursts (password hashes, large frames), where the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is to be done; serving, unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "messenger-server", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Copy the store to a new file, also while a server uses it, and exit.
    #[cfg(feature = "sqlite")]
    Backup {
        /// The file to make; a server can be started on it (--store sqlite:PATH).
        path: std::path::PathBuf,
    },
}

/// Why the server did not start, with what to do about it.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the runtime could not be started; are there enough threads and open files?")]
    Runtime(#[source] io::Error),
    #[error("cannot listen on {address}; is the port taken? (--listen ADDRESS:PORT)")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the engine could not be built")]
    Engine(#[from] BuildError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Whoever read the log may be gone; that must not end the server.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let done = match command {
        None => start(&settings),
        #[cfg(feature = "sqlite")]
        Some(Command::Backup { path }) => settings.back_up(&path).map_err(StartError::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "nothing was done");
            ExitCode::FAILURE
        }
    }
}

fn start(settings: &Settings) -> Result<(), StartError> {
    allow_open_files(settings.connection.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: &Settings) -> Result<(), StartError> {
    let engine = settings.engine()?.build()?;
    let address = settings.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    // The port may have been the system's choice.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "listening");
    let told_to_stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let server = Server::new(engine, settings.transport());
    let Drained { cut } = server.serve(listener, told_to_stop).await;
    if cut > 0 {
        tracing::warn!(cut, "stopped; some connections did not finish in time");
    } else {
        tracing::info!("stopped");
    }
    Ok(())
}

/// Raises the soft limit of open files as far as the system allows and the connections need.
fn allow_open_files(connections: u64) {
    const BESIDES: u64 = 128;
    let wanted = connections.saturating_add(BESIDES);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < wanted => {
            tracing::warn!(
                allowed,
                wanted,
                "fewer open files are allowed than connections; raise the limit (ulimit -n)"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
