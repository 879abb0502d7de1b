//! Connections that do nothing, and the memory that the server has for each.

use crate::Failed;
use crate::figures::Figures;
use crate::process::usage;
use crate::wire::{Target, User, Wire};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How many users the connections belong to.
const USERS: usize = 20;

/// How many connect at once.
const AT_ONCE: usize = 100;

/// Memory is steady when it has not changed for so long.
const STEADY: Duration = Duration::from_millis(500);

/// How long it is waited for.
const PATIENCE: usize = 20;

#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// They do not authenticate.
    #[arg(long)]
    no_auth: bool,
    /// They use TLS, and connect here.
    #[arg(long, requires = "certificate", conflicts_with = "no_auth")]
    tls: Option<SocketAddr>,
    /// The server's own certificate, for localhost.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

/// How they connect.
#[derive(Clone)]
pub(crate) enum How {
    AsNobody,
    Resumed,
    ResumedOverTls(TlsConnector, SocketAddr),
}

/// What keeps a connection.
type Kept = Box<dyn Send>;

pub(crate) async fn run(target: Target, load: &Load) -> Result<Figures, Failed> {
    let pid = target.pids[0].ok_or("to tell its memory, --server-pid is needed")?;
    let how = match (load.tls, &load.certificate) {
        (Some(address), Some(certificate)) => How::ResumedOverTls(trusting(certificate)?, address),
        _ if load.no_auth => How::AsNobody,
        _ => How::Resumed,
    };
    let before = steady_kib(pid).await?;
    let users = User::register_all(target, USERS).await?;
    let kept = connect(target, &users, load.connections, how).await?;
    let after = steady_kib(pid).await?;
    let mut figures = Figures::default();
    figures.add("connections", kept.len() as f64);
    figures.add("server_before_kib", before as f64);
    figures.add("server_after_kib", after as f64);
    let grown = after.saturating_sub(before) as f64;
    figures.add("kib_each", grown / kept.len() as f64);
    Ok(figures)
}

/// So many connections of these users.
pub(crate) async fn connect(
    target: Target,
    users: &[User],
    count: usize,
    how: How,
) -> Result<Vec<Kept>, Failed> {
    let mut kept = Vec::new();
    let mut connecting = JoinSet::new();
    for (number, user) in users.iter().cycle().take(count).enumerate() {
        if connecting.len() == AT_ONCE
            && let Some(connection) = connecting.join_next().await
        {
            kept.push(connection??);
        }
        if number > 0 && number % 1000 == 0 {
            eprintln!("{number} of {count} are connected");
        }
        connecting.spawn(connect_one(target, user.clone(), how.clone()));
    }
    while let Some(connection) = connecting.join_next().await {
        kept.push(connection??);
    }
    Ok(kept)
}

async fn connect_one(target: Target, user: User, how: How) -> Result<Kept, Failed> {
    let mut wire = match how {
        How::AsNobody => Wire::connect_unknown(target).await?,
        How::Resumed => Wire::connect(target, &user).await?,
        How::ResumedOverTls(tls, address) => {
            let stream = TcpStream::connect(address).await?;
            let stream = tls.connect("localhost".try_into()?, stream).await?;
            let (client, events) = messenger_client::over(stream).await?;
            let (cid, sid) = (&*user.login, &*user.sid);
            client.resume(&cid.into(), &sid.into()).await?;
            return Ok(Box::new((client, events)));
        }
    };
    wire.rest();
    Ok(Box::new(wire))
}

/// Trusts this certificate and no other.
fn trusting(certificate: &Path) -> Result<TlsConnector, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The process's memory once it does not change any more.
pub(crate) async fn steady_kib(pid: u32) -> Result<u64, Failed> {
    let mut last = usage(pid)?.resident_kib;
    for _ in 0..PATIENCE {
        sleep(STEADY).await;
        let now = usage(pid)?.resident_kib;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}
