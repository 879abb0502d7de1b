//! How long the database may work on a statement, and wait for a lock: less than a call may take, which tries twice to get a lock.
//!
//! Each connection asks for it when it begins. A pooler such as pgbouncer refuses that; then it has to be set for the user,
//! which is looked at when the store is opened.

use crate::error::ConnectError;
use crate::row::first_text;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

/// Settings, and what each connection asks for. Behind a pooler times may be others, but for none.
const SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "3500ms"),
    ("lock_timeout", "1500ms"),
    ("default_transaction_isolation", "read committed"),
];

/// Has a connection ask for them.
pub(crate) fn ask(config: &Config) -> Config {
    let mut options = config.get_options().unwrap_or_default().to_owned();
    for (setting, value) in SETTINGS {
        options += &format!(" -c {setting}={}", value.replace(' ', "\\ "));
    }
    let mut config = config.clone();
    config.options(options);
    config
}

/// Whether it is for having asked that there is no connection.
pub(crate) fn are_refused(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else {
        return false;
    };
    *error.code() == SqlState::PROTOCOL_VIOLATION && error.message().contains("startup parameter")
}

/// Whether they are set, whoever has seen to that.
pub(crate) async fn check(client: &Client) -> Result<(), ConnectError> {
    for (setting, needed) in SETTINGS {
        let answer = client.simple_query(&format!("SHOW {setting}")).await;
        let answer = answer.map_err(ConnectError::prepare)?;
        let value = first_text(&answer).unwrap_or_default();
        let is_time = setting.ends_with("timeout");
        if value == "0" || (!is_time && value != needed) {
            return Err(ConnectError::NotSet { setting, needed });
        }
    }
    Ok(())
}
