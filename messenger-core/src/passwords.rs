//! Hashing passwords off the async threads, a bounded number at once.

use crate::background::{NoThread, Pool};
use crate::entropy::{Entropy, NoEntropy};
use crate::meters;
use crate::policy::PasswordPolicy;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use messenger_proto::Password;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Argon2id with a bound on how many run and how many wait, for all of an engine's passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    params: Params,
    threads: Pool,
    /// How many run or wait, and how many may.
    places: Arc<AtomicUsize>,
    most: usize,
    entropy: Arc<dyn Entropy>,
    refused: metrics::Counter,
}

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("too many passwords wait to be checked")]
    Busy,
    #[error("hashing a password failed")]
    Hash(#[source] password_hash::Error),
    #[error("a password's salt could not be drawn")]
    Entropy(#[from] NoEntropy),
    #[error(transparent)]
    Thread(#[from] NoThread),
}

/// The policy's costs are out of Argon2's range.
#[derive(Debug, thiserror::Error)]
#[error("the cost of a password is out of range: {0}")]
pub struct PasswordCostError(argon2::Error);

impl Passwords {
    pub(crate) fn new(
        policy: PasswordPolicy,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PasswordCostError> {
        let params = Params::new(policy.memory_kib, policy.passes, 1, None);
        let at_once = policy.at_once.max(1);
        Ok(Self {
            params: params.map_err(PasswordCostError)?,
            threads: Pool::new(at_once),
            places: Arc::default(),
            most: at_once.saturating_add(policy.waiting),
            entropy,
            refused: meters::limit("max_hashing"),
        })
    }

    /// Hashes a password into a PHC string.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, PasswordError> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt)?;
        let argon2 = self.argon2();
        let password = password.clone();
        self.run(move || {
            let password = password.as_str().as_bytes();
            let hash = argon2.hash_password_with_salt(password, &salt);
            hash.map(|hash: PasswordHash| hash.to_string())
        })
        .await?
        .map_err(PasswordError::Hash)
    }

    /// True when the PHC string is the password's.
    pub(crate) async fn matches(
        &self,
        password: &Password,
        hash: String,
    ) -> Result<bool, PasswordError> {
        let argon2 = self.argon2();
        let password = password.clone();
        let verified = self
            .run(move || argon2.verify_password(password.as_str().as_bytes(), hash.as_str()))
            .await?;
        match verified {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordError::Hash(error)),
        }
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let Some(place) = Place::take(&self.places, self.most) else {
            self.refused.increment(1);
            return Err(PasswordError::Busy);
        };
        let work = move || {
            // Given back when the work is done, whether anybody waits for it or not.
            let _place = place;
            work()
        };
        Ok(self.threads.run(work).await?)
    }
}

/// A place among those who run or wait, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(places));
        (places.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
