//! Databases that could lose what they have stored.

use crate::error::ConnectError;
use crate::migrations::text;
use tokio_postgres::Client;

/// Settings, and what they have to be. `synchronous_commit` may be more than `on`.
const SETTINGS: [(&str, &str); 4] = [
    ("server_encoding", "UTF8"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

pub(crate) async fn check(client: &Client) -> Result<(), ConnectError> {
    for (setting, needed) in SETTINGS {
        let answer = client.simple_query(&format!("SHOW {setting}")).await;
        let answer = answer.map_err(|error| ConnectError::Prepare(error.into()))?;
        let value = text(&answer).unwrap_or_default();
        let is_safe = value == needed || (setting == "synchronous_commit" && value != "off");
        if !is_safe {
            return Err(ConnectError::Unsafe {
                setting: setting.to_owned(),
                value: value.to_owned(),
                needed: needed.to_owned(),
            });
        }
    }
    Ok(())
}
