//! Logging in: the hash on its own pool, failures with a delay.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep_until};

use crate::{AuthError, Authenticator, Limits, StoragePool, User, UserName};

/// Checks names and passwords without blocking. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logins {
    authenticator: Arc<dyn Authenticator>,
    pool: StoragePool,
    failed_delay: Duration,
}

impl Logins {
    /// `pool` should be one of [`crate::PoolOptions::passwords`].
    pub fn new(authenticator: Arc<dyn Authenticator>, pool: StoragePool, limits: &Limits) -> Self {
        Self { authenticator, pool, failed_delay: limits.failed_login_delay }
    }

    /// The user, if name and password are right. Else the answer comes `failed_login_delay` after the call, or later
    /// where checking took longer, whatever was wrong.
    pub async fn verify(&self, name: &str, password: Vec<u8>) -> Result<Option<User>, AuthError> {
        let began = Instant::now();
        let outcome = self.check(name, password).await;
        if !matches!(outcome, Ok(Some(_))) {
            sleep_until(began + self.failed_delay).await;
        }
        outcome
    }

    async fn check(&self, name: &str, password: Vec<u8>) -> Result<Option<User>, AuthError> {
        // A name that nobody can have needs no hash: its shape is no secret.
        let Ok(queue) = UserName::new(name) else { return Ok(None) };
        let (authenticator, name) = (Arc::clone(&self.authenticator), name.to_owned());
        let step = move || authenticator.verify(&name, &password);
        self.pool.run(&queue, step).await.map_err(|error| AuthError(error.to_string()))?
    }

    /// The user with that name, for mail that is to be delivered.
    pub async fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        let Ok(queue) = UserName::new(name) else { return Ok(None) };
        let (authenticator, name) = (Arc::clone(&self.authenticator), name.to_owned());
        let step = move || authenticator.lookup(&name);
        self.pool.run(&queue, step).await.map_err(|error| AuthError(error.to_string()))?
    }
}
