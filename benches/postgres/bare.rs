//! The least a database must do: insert as many rows as come at once, and commit.

use crate::BODY;
use std::time::Duration;
use tokio::process::Command;
use tokio_postgres::Client;

/// A table of rows as messages are, in one piece.
pub(crate) async fn prepare(client: &Client) {
    let create = "CREATE TABLE bare (LIKE messages INCLUDING DEFAULTS, PRIMARY KEY (user_no, seq))";
    client.batch_execute(create).await.unwrap();
}

/// How many batches there have been of all lanes.
pub(crate) async fn batches(client: &Client) -> f64 {
    let row = client.query_one("SELECT coalesce(sum(batch), 0)::float8 FROM lanes", &[]);
    row.await.unwrap().get(0)
}

/// How many rows `pgbench` inserts a second, in batches of so many, on as many connections as there are lanes.
pub(crate) async fn rate(url: &str, under_way: usize, batch: f64, time: Duration) -> f64 {
    let batch = batch.round().max(1.0);
    let script = format!(
        "\\set user random(1, {})\n\
         \\set seq random(1, 1000000000000000)\n\
         INSERT INTO bare SELECT :user + n, :seq, {BODY}, 1700000000, '0123456789abcdef-00000', 'user100', 'Sender', \
         repeat('x', {BODY}), '', '' FROM generate_series(1, {batch}) n;\n",
        under_way.max(100),
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let clients = under_way.min(2).to_string();
    let seconds = time.as_secs().max(1).to_string();
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--time", &seconds, "--client", &clients])
        .arg("--file")
        .arg(file.path())
        .arg(url)
        .output()
        .await;
    let output = output.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let rate = told.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let rate = rate.split(' ').next().unwrap();
    rate.parse::<f64>().unwrap() * batch
}
