//! Databases that could lose what they have stored.

use crate::error::ConnectError;
use crate::row::first_text;
use tokio_postgres::Client;

/// Settings, and what they have to be. `synchronous_commit` may be more than `on`.
const SETTINGS: [(&str, &str); 4] = [
    ("server_encoding", "UTF8"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

/// What an operator should know of a database that is safe as long as its disk lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Concern {
    /// There is no synchronous standby.
    #[error(
        "no standby of the PostgreSQL database confirms what is stored (synchronous_standby_names is empty, or synchronous_commit is local): what was answered can be lost with its disk, or when a standby takes over"
    )]
    NoStandby,
}

pub(crate) async fn concern(client: &Client) -> Result<Option<Concern>, ConnectError> {
    let has_standby = !show(client, "synchronous_standby_names").await?.is_empty()
        && show(client, "synchronous_commit").await? != "local";
    Ok((!has_standby).then_some(Concern::NoStandby))
}

async fn show(client: &Client, setting: &str) -> Result<String, ConnectError> {
    let answer = client.simple_query(&format!("SHOW {setting}")).await;
    let answer = answer.map_err(ConnectError::prepare)?;
    Ok(first_text(&answer).unwrap_or_default().to_owned())
}

pub(crate) async fn check(client: &Client) -> Result<(), ConnectError> {
    for (setting, needed) in SETTINGS {
        let value = show(client, setting).await?;
        let is_safe = value == needed || (setting == "synchronous_commit" && value != "off");
        if !is_safe {
            return Err(ConnectError::Unsafe {
                setting: setting.to_owned(),
                value,
                needed: needed.to_owned(),
            });
        }
    }
    Ok(())
}
