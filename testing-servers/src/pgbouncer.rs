//! A pgbouncer of a test's own.

use crate::postgres::as_other_user;
use crate::{DEADLINE, Postgres};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// In front of a PostgreSQL server: each transaction of a client's goes on some connection that is free.
#[derive(Debug)]
pub struct PgBouncer {
    folder: TempDir,
    process: Child,
}

impl PgBouncer {
    /// Starts one in front of this server.
    pub async fn before(postgres: &Postgres) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = postgres.socket();
        let settings = format!(
            "[databases]\n\
             * = host={} user=messenger\n\
             [pgbouncer]\n\
             listen_addr =\n\
             unix_socket_dir = {}\n\
             listen_port = 5432\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = 4\n\
             server_idle_timeout = 1\n\
             max_client_conn = 1000\n",
            server.parent().unwrap().display(),
            folder.path().display(),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = as_other_user("pgbouncer", folder.path())
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = process.expect("pgbouncer is needed: apt-get install pgbouncer");
        let bouncer = Self { folder, process };
        let begun = Instant::now();
        while UnixStream::connect(bouncer.socket()).await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "pgbouncer does not start");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        bouncer
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// The address of this database, through here.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://messenger@{folder}/{database}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
