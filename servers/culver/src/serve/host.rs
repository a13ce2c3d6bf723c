//! What all sessions share, and what one of each protocol is given.

use std::{collections::HashMap, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use culver_pop3::SessionLocks;
use culver_runtime::{
    Accepted, Client, Connections, CurrentLimits, LoginOptions, Logins, METRICS, OpenStorages, PasswordFile, Peer,
    PenaltyOptions, PoolOptions, ProtocolMetrics, Stop, StoragePool, StorageProvider, Stream, Tls,
};
use mailfs::RealDisk;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::{
    limits::limits,
    mechanisms::mechanisms,
    metered::Metered,
    metrics::{self, Pools},
    secret::login_secret,
    tls,
};
use crate::{
    config::{
        Config,
        tables::{ListenerTls, Protocol},
    },
    stores::Stores,
};

/// What all sessions share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Host {
    name: Arc<str>,
    config: Arc<ArcSwap<Config>>,
    /// The limits that hold now.
    pub(crate) limits: CurrentLimits,
    logins: Logins,
    pools: Pools,
    storages: Arc<dyn StorageProvider>,
    tls: Arc<ArcSwapOption<Tls>>,
    connections: Arc<HashMap<Protocol, Connections>>,
    pop3_locks: SessionLocks,
    /// When everything ends.
    pub(crate) stop: Stop,
}

impl Host {
    /// As the configuration says. Blocks for as long as reading certificates and a secret does.
    pub(crate) fn new(config: &Config, users: Arc<PasswordFile>, stores: Stores, stop: Stop) -> anyhow::Result<Self> {
        let limits = limits(&config.limits);
        let storage_options = match *config.storage.threads {
            0 => PoolOptions::storage(),
            threads => PoolOptions { threads, ..PoolOptions::storage() },
        };
        let pools =
            Pools { storage: StoragePool::new(storage_options), passwords: StoragePool::new(PoolOptions::passwords()) };
        let login_options = LoginOptions {
            mechanisms: mechanisms(&config.login),
            penalty: PenaltyOptions {
                first: config.login.penalty_first.0,
                longest: config.login.penalty_longest.0,
                forget_after: config.login.penalty_forget_after.0,
                addresses_max: *config.login.penalty_addresses_max,
            },
            decoy_secret: login_secret(&RealDisk::new(), &config.data()),
            ..LoginOptions::new(&limits)
        };
        let protocols = [Protocol::Imap, Protocol::Pop3, Protocol::Lmtp, Protocol::Metrics];
        let host = Self {
            name: (*config.general.host_name).clone().unwrap_or_else(host_name).into(),
            logins: Logins::with_options(users, pools.passwords.clone(), login_options),
            storages: Arc::new(OpenStorages::new(stores, limits.open_storages_max)),
            pools,
            tls: Arc::default(),
            pop3_locks: SessionLocks::default(),
            connections: Arc::new(protocols.map(|protocol| (protocol, Connections::new(&limits))).into()),
            limits: CurrentLimits::new(limits),
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            stop,
        };
        host.load_tls(config)?;
        Ok(host)
    }

    /// Another configuration holds for whatever begins from now on. Where its certificates cannot be used, nothing
    /// changes. Blocks for as long as reading certificates does.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.load_tls(config)?;
        let limits = limits(&config.limits);
        for connections in self.connections.values() {
            connections.set_limits(&limits);
        }
        self.limits.store(limits);
        self.config.store(Arc::new(config.clone()));
        Ok(())
    }

    fn load_tls(&self, config: &Config) -> anyhow::Result<()> {
        let Some(options) = tls::options(config, &self.name)? else { return Ok(()) };
        match &*self.tls.load() {
            Some(tls) => tls.reload(&options)?,
            None => self.tls.store(Some(Arc::new(Tls::new(&options)?))),
        }
        Ok(())
    }

    /// The connections of a protocol.
    pub(crate) fn connections(&self, protocol: Protocol) -> Connections {
        self.connections.get(&protocol).cloned().unwrap_or_else(|| Connections::new(&self.limits.load()))
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self, protocol: Protocol, tls: ListenerTls, accepted: Accepted) {
        let Accepted { socket, peer } = accepted;
        let Some(metrics) = metrics_of(protocol) else {
            let path = self.config.load().metrics.path.to_string();
            return metrics::serve(socket, &path, &self.pools).await;
        };
        metrics.sessions.increment();
        let _open = metrics.connections.count();
        let mut stream = Stream::new(Metered::new(socket, metrics));
        let config = self.config.load();
        let mut client = Client {
            address: peer.ip(),
            tls: None,
            plaintext_allowed: peer.is_on_this_host() && *config.login.plaintext_from_loopback,
            connected: Some(Instant::now()),
        };
        drop(config);
        let mut starttls = self.tls.load_full().filter(|_| tls != ListenerTls::None).map(|tls| (*tls).clone());
        if tls == ListenerTls::Implicit
            && let Some(tls) = starttls.take()
        {
            let login_timeout = self.limits.load().login_timeout;
            let late = |_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "limits.login_timeout has passed"));
            match timeout(login_timeout, tls.accept(stream)).await.unwrap_or_else(late) {
                Ok((encrypted, info)) => (stream, client.tls) = (encrypted, Some(info)),
                Err(error) => {
                    metrics.failed_handshakes.increment();
                    return info!(protocol = protocol.word(), %peer, %error, "TLS handshake failed");
                }
            }
        }
        match protocol {
            Protocol::Imap => self.imap(stream, peer, client, starttls).await,
            Protocol::Pop3 => self.pop3(stream, peer, client, starttls).await,
            _ => self.lmtp(stream, peer, client, starttls).await,
        }
    }

    async fn imap(self, stream: Stream, peer: Peer, client: Client, starttls: Option<Tls>) {
        let config = self.config.load_full();
        let special_uses = super::special_use::special_uses(&config.special_use);
        let context = culver_imap::SessionContext {
            connections: self.connections(Protocol::Imap),
            logins: self.logins,
            storages: self.storages,
            pool: self.pools.storage,
            limits: self.limits.load(),
            stop: self.stop,
            peer: peer.address(),
            options: Arc::new(super::imap::options(&config.imap)),
            special_uses: Arc::new(special_uses),
            client,
            starttls,
        };
        culver_imap::serve(stream, context).await;
    }

    async fn pop3(self, stream: Stream, peer: Peer, client: Client, starttls: Option<Tls>) {
        let options = super::pop3::options(&self.config.load().pop3);
        let context = culver_pop3::SessionContext {
            connections: self.connections(Protocol::Pop3),
            logins: self.logins,
            storages: self.storages,
            pool: self.pools.storage,
            limits: self.limits.load(),
            options: Arc::new(options),
            locks: self.pop3_locks,
            stop: self.stop,
            peer: peer.address(),
            client,
            starttls,
        };
        culver_pop3::serve(stream, context).await;
    }

    async fn lmtp(self, stream: Stream, peer: Peer, client: Client, starttls: Option<Tls>) {
        let options = super::lmtp::options(&self.config.load().lmtp);
        let context = culver_lmtp::SessionContext {
            host_name: self.name,
            peer: peer.to_string().into(),
            limits: self.limits.load(),
            logins: self.logins,
            pool: self.pools.storage,
            storages: self.storages,
            options: Arc::new(options),
            stop: self.stop,
            client,
            starttls,
        };
        if let Err(error) = culver_lmtp::serve(stream, context).await {
            debug!(%peer, %error, "LMTP connection lost");
        }
    }
}

/// A protocol's figures; metrics themselves are not counted.
pub(crate) fn metrics_of(protocol: Protocol) -> Option<&'static ProtocolMetrics> {
    match protocol {
        Protocol::Imap => Some(&METRICS.imap),
        Protocol::Pop3 => Some(&METRICS.pop3),
        Protocol::Lmtp => Some(&METRICS.lmtp),
        Protocol::Metrics => None,
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}
