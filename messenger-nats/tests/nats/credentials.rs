//! Credentials, as `nsc` makes them: an operator vouches for an account, the account for its users.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use testing_servers::Nats;

/// A server that lets users in whom its operator knows.
pub(crate) struct Vouching {
    pub(crate) nats: Nats,
    folder: TempDir,
    account: KeyPair,
}

impl Vouching {
    pub(crate) fn start() -> Self {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let of_operator = token(&operator, &operator, r#""type":"operator""#);
        let limits = r#""type":"account","limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,
            "exports":-1,"wildcards":true,"conn":-1,"leaf":-1}"#;
        let of_account = token(&operator, &account, limits);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("nats.conf");
        let name = account.public_key();
        let text = format!(
            "operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {name}: {of_account} }}\n"
        );
        fs::write(&config, text).unwrap();
        let nats = Nats::start(&["--config", config.to_str().unwrap()]);
        Self {
            nats,
            folder,
            account,
        }
    }

    /// The file of a user's credentials.
    pub(crate) fn user(&self) -> PathBuf {
        self.vouched_for_by(&self.account, "user.creds")
    }

    /// The same, of an account that the operator does not know.
    pub(crate) fn stranger(&self) -> PathBuf {
        self.vouched_for_by(&KeyPair::new_account(), "stranger.creds")
    }

    fn vouched_for_by(&self, account: &KeyPair, file: &str) -> PathBuf {
        let user = KeyPair::new_user();
        let limits = r#""type":"user","pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1"#;
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(account, &user, limits),
            user.seed().unwrap()
        );
        let path = self.folder.path().join(file);
        fs::write(&path, text).unwrap();
        path
    }
}

/// What the one says of the other, signed.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &str) -> String {
    let head = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = format!(
        r#"{{"jti":"1","iat":1700000000,"iss":"{}","sub":"{}","name":"x","nats":{{{nats},"version":2}}}}"#,
        issuer.public_key(),
        subject.public_key()
    );
    let said = format!("{head}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
    let signature = issuer.sign(said.as_bytes()).unwrap();
    format!("{said}.{}", BASE64URL_NOPAD.encode(&signature))
}
