//! Logging in, whatever the protocol: which mechanisms a client may use, hashes on their own pool, failures with a delay
//! and a penalty for the address.

use std::{net::IpAddr, sync::Arc};

use auth::{
    ScramSha256, Secret,
    sasl::{self, ChannelBinding, Mechanism, Next},
};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tracing::debug;

use crate::{
    AuthError, Authenticator, Limits, METRICS, StoragePool, TlsInfo, User, UserName,
    penalty::{Penalties, PenaltyOptions},
};

/// Who wants to log in, and over what.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// Where he is; `None` for this machine (a pipe, a unix socket).
    pub address: Option<IpAddr>,
    /// What his TLS agreed on, if he has it.
    pub tls: Option<TlsInfo>,
    /// Whether a password may be sent without TLS: it does not leave the machine, or nobody cares.
    pub plaintext_allowed: bool,
    /// When he connected, from where on he has `login_timeout` to log in. `None`: when the session began, as there was
    /// no handshake before it.
    pub connected: Option<Instant>,
}

/// How logging in goes.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// The mechanisms, in the order in which clients are told of them. `None`: PLAIN and LOGIN, and SCRAM where the
    /// authenticator says so ([`Authenticator::offers_scram`]).
    pub mechanisms: Option<Vec<Mechanism>>,
    /// How long the answer to a failed login takes, from the command on.
    pub failed_delay: Duration,
    /// How long an address waits after failures before its next attempt is looked at.
    pub penalty: PenaltyOptions,
    /// Makes the salts of names that nobody has; the same after a restart, so that they do not change then. `None`: a
    /// random one.
    pub decoy_secret: Option<Secret>,
}

impl LoginOptions {
    /// As the limits say, the rest as Dovecot does it.
    pub fn new(limits: &Limits) -> Self {
        let failed_delay = limits.failed_login_delay;
        let penalty = PenaltyOptions {
            first: failed_delay * 2,
            longest: failed_delay * 15 / 2,
            forget_after: Duration::from_secs(120),
            addresses_max: 10_000,
        };
        Self { mechanisms: None, failed_delay, penalty, decoy_secret: None }
    }
}

/// Checks names and passwords without blocking. Cheap to clone; all clones count failures together.
#[derive(Clone, Debug)]
pub struct Logins {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authenticator: Arc<dyn Authenticator>,
    pool: StoragePool,
    mechanisms: Option<Vec<Mechanism>>,
    failed_delay: Duration,
    penalties: Penalties,
    decoy_secret: Secret,
}

/// An exchange by a SASL mechanism.
#[derive(Debug)]
pub struct Exchange {
    logins: Logins,
    client: Client,
    mechanism: Mechanism,
    sasl: sasl::Exchange,
    /// When the command came, or the last challenge was answered.
    name: Option<String>,
    user: Option<User>,
}

/// What an exchange leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SaslStep {
    /// Send this and give the client's answer to [`Exchange::step`].
    Challenge(Vec<u8>),
    /// He is in.
    Done(User),
    /// He is not.
    Failed,
}

/// Why an exchange does not begin.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CannotStart {
    /// There is no such mechanism, or it is not for this client.
    #[error("unsupported authentication mechanism")]
    Unknown,
    /// The mechanism sends a password and the connection is not encrypted.
    #[error("plaintext authentication disallowed on non-secure connections")]
    PrivacyRequired,
    /// Something is wrong with this host.
    #[error(transparent)]
    Failed(#[from] AuthError),
}

impl Client {
    /// When he must have logged in.
    pub fn login_deadline(&self, limits: &Limits) -> Instant {
        self.connected.unwrap_or_else(Instant::now) + limits.login_timeout
    }

    /// Whether he may send a password.
    pub fn may_send_password(&self) -> bool {
        self.tls.is_some() || self.plaintext_allowed
    }

    fn channel_binding(&self) -> ChannelBinding {
        self.tls.as_ref().map(|tls| tls.channel_binding.clone()).unwrap_or_default()
    }
}

impl Logins {
    /// With the options that go with the limits. `pool` should be one of [`crate::PoolOptions::passwords`].
    pub fn new(authenticator: Arc<dyn Authenticator>, pool: StoragePool, limits: &Limits) -> Self {
        Self::with_options(authenticator, pool, LoginOptions::new(limits))
    }

    /// With these options. `pool` should be one of [`crate::PoolOptions::passwords`].
    pub fn with_options(authenticator: Arc<dyn Authenticator>, pool: StoragePool, options: LoginOptions) -> Self {
        let LoginOptions { mechanisms, failed_delay, penalty, decoy_secret } = options;
        let decoy_secret = decoy_secret.unwrap_or_else(random_secret);
        let penalties = Penalties::new(penalty);
        Self { shared: Arc::new(Shared { authenticator, pool, mechanisms, failed_delay, penalties, decoy_secret }) }
    }

    /// The mechanisms that a client may use now, the first ones preferred. Never blocks.
    pub fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        let offers_scram = || self.shared.authenticator.offers_scram();
        let mut mechanisms = match &self.shared.mechanisms {
            Some(mechanisms) => mechanisms.clone(),
            None if offers_scram() => Mechanism::ALL.to_vec(),
            None => vec![Mechanism::Plain, Mechanism::Login],
        };
        // Not with TLS 1.2: most clients that bind have no type there that would be safe, and would not try without.
        let can_bind = client.tls.as_ref().is_some_and(|tls| tls.channel_binding.exporter.is_some());
        mechanisms.retain(|mechanism| match mechanism {
            Mechanism::ScramSha256Plus => can_bind,
            Mechanism::ScramSha256 => true,
            Mechanism::Plain | Mechanism::Login => client.may_send_password(),
        });
        mechanisms
    }

    /// Begins an exchange. Where the client gave no initial response, send [`Exchange::first_challenge`].
    pub fn start(&self, mechanism: &str, client: &Client) -> Result<Exchange, CannotStart> {
        let mechanism = Mechanism::from_name(mechanism).ok_or(CannotStart::Unknown)?;
        let offered = self.mechanisms(client);
        if !offered.contains(&mechanism) {
            let refused = mechanism.sends_password() && !client.may_send_password();
            return Err(if refused { CannotStart::PrivacyRequired } else { CannotStart::Unknown });
        }
        let binding = match offered.contains(&Mechanism::ScramSha256Plus) {
            true => client.channel_binding(),
            false => ChannelBinding::default(),
        };
        let sasl = sasl::Exchange::new(mechanism, binding).map_err(|error| AuthError(error.to_string()))?;
        Ok(Exchange { logins: self.clone(), client: client.clone(), mechanism, sasl, name: None, user: None })
    }

    /// The user, if name and password are right. Else the answer comes `failed_delay` after the attempt was looked at,
    /// or later where checking took longer, whatever was wrong.
    pub async fn verify(&self, client: &Client, name: &str, password: Vec<u8>) -> Result<Option<User>, AuthError> {
        self.wait_for_turn(client).await;
        let began = Instant::now();
        let password = Arc::new(password);
        let outcome = self.check(client, name, &password).await;
        match &outcome {
            Ok(Some(_)) => {
                METRICS.logins_ok.increment();
                self.shared.penalties.forget(client.address);
            }
            Ok(None) => {
                METRICS.logins_failed.increment();
                self.failed(client, name, &password, began).await;
            }
            Err(_) => {
                METRICS.logins_error.increment();
                sleep_until(began + self.shared.failed_delay).await;
            }
        }
        outcome
    }

    async fn check(&self, client: &Client, name: &str, password: &Arc<Vec<u8>>) -> Result<Option<User>, AuthError> {
        let (address, password) = (client.address, Arc::clone(password));
        let checked = self.on_pool(name, move |authenticator, name| {
            let user = authenticator.verify(name, &password)?;
            Ok(user.filter(|user| user.may_log_in_from(address)))
        });
        checked.await.map(Option::flatten)
    }

    /// The user with that name, for mail that is to be delivered.
    pub async fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        self.on_pool(name, |authenticator, name| authenticator.lookup(name)).await.map(Option::flatten)
    }

    /// Asks the authenticator on the pool; `None` for a name that nobody can have: its shape is no secret.
    async fn on_pool<T: Send + 'static>(
        &self,
        name: &str,
        ask: impl FnOnce(&dyn Authenticator, &str) -> Result<T, AuthError> + Send + 'static,
    ) -> Result<Option<T>, AuthError> {
        let Ok(queue) = UserName::new(name) else { return Ok(None) };
        let (authenticator, name) = (Arc::clone(&self.shared.authenticator), name.to_owned());
        let step = move || ask(&*authenticator, &name);
        let asked = self.shared.pool.run(&queue, step).await;
        asked.map_err(|error| AuthError(error.to_string()))?.map(Some)
    }

    async fn wait_for_turn(&self, client: &Client) {
        let wait = self.shared.penalties.wait(client.address);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    async fn failed(&self, client: &Client, name: &str, password: &[u8], began: Instant) {
        self.shared.penalties.add(client.address, name, password);
        sleep_until(began + self.shared.failed_delay).await;
    }
}

impl Exchange {
    /// What to send where the client gave no initial response; its answer goes to [`Exchange::step`].
    pub fn first_challenge(&self) -> &'static [u8] {
        self.mechanism.first_challenge()
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The name that the client gave, as far as it is known; for the log.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Takes the client's initial response or its answer to a challenge, decoded. A failure takes its time.
    pub async fn step(&mut self, message: &[u8]) -> Result<SaslStep, AuthError> {
        let began = Instant::now();
        match self.sasl.step(message) {
            Next::FindScram { name } => self.find_scram(name).await,
            Next::CheckPassword { name, password } => {
                let verified = self.logins.verify(&self.client, &name, password.0).await;
                self.name = Some(name);
                Ok(verified?.map_or(SaslStep::Failed, SaslStep::Done))
            }
            next => self.follow(next, began).await,
        }
    }

    async fn find_scram(&mut self, name: String) -> Result<SaslStep, AuthError> {
        self.logins.wait_for_turn(&self.client).await;
        let began = Instant::now();
        let secret = self.logins.shared.decoy_secret.clone();
        let look = move |authenticator: &dyn Authenticator, name: &str| authenticator.scram_sha256(name, &secret.0);
        let found = self.logins.on_pool(&name, look).await;
        let credentials = match found?.flatten() {
            Some(found) => {
                self.user = Some(found.user);
                found.credentials
            }
            None => {
                let iterations = self.logins.shared.authenticator.scram_iterations();
                ScramSha256::decoy(&self.logins.shared.decoy_secret.0, &name.to_ascii_lowercase(), iterations)
            }
        };
        self.name = Some(name);
        let next = self.sasl.scram(credentials);
        self.follow(next, began).await
    }

    async fn follow(&mut self, next: Next, began: Instant) -> Result<SaslStep, AuthError> {
        let user = match next {
            Next::Challenge(challenge) => return Ok(SaslStep::Challenge(challenge)),
            Next::Proven => self.user.take(),
            Next::Failed(why) => {
                debug!(name = ?self.name, mechanism = %self.mechanism, %why, "exchange failed");
                None
            }
            Next::FindScram { .. } | Next::CheckPassword { .. } => None,
        };
        let Client { address, .. } = self.client;
        match user.filter(|user| user.may_log_in_from(address)) {
            Some(user) => {
                METRICS.logins_ok.increment();
                self.logins.shared.penalties.forget(address);
                Ok(SaslStep::Done(user))
            }
            None => {
                METRICS.logins_failed.increment();
                let name = self.name.as_deref().unwrap_or_default();
                self.logins.failed(&self.client, name, &[], began).await;
                Ok(SaslStep::Failed)
            }
        }
    }
}

/// Random bytes; where the system has none, at least something that differs between processes.
fn random_secret() -> Secret {
    use std::hash::{BuildHasher as _, RandomState};
    let parts = [0u8; 4].map(|_| RandomState::new().hash_one(std::process::id()).to_be_bytes());
    Secret(parts.concat())
}
