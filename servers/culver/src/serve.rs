//! `culver serve`.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Context, ensure};
use culver_runtime::{
    Accepted, Connections, Limits, Listener, Logins, OpenStorages, PoolOptions, Stop, Stopper, StoragePool,
    StorageProvider, UserName,
};
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info};
use tracing_subscriber::EnvFilter;

use crate::{ServeArguments, data_folder::DataFolder};

/// The user that is made where there is none.
const FIRST_USER: &str = "culver";

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(arguments: &ServeArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("CULVER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    for address in [arguments.imap, arguments.lmtp] {
        ensure!(address.ip().is_loopback(), "{address} is not a loopback address, and there is no TLS yet");
    }
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let folder = DataFolder::open(&arguments.data, env.clone())?;
    make_first_user(&folder)?;
    folder.recover().context("looking over the stores")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments, folder))?;
    // What was acknowledged as flags and not yet synced is synced now.
    env.flush().context("syncing flags")?;
    Ok(())
}

fn make_first_user(folder: &DataFolder) -> anyhow::Result<()> {
    let name = UserName::new(FIRST_USER)?;
    if let Some(user) = folder.users().create_first_user(&name)? {
        let mut out = std::io::stdout().lock();
        writeln!(out, "user: {}\npassword: {}", user.name, user.password)?;
        out.flush()?;
    }
    Ok(())
}

/// What all sessions share.
#[derive(Clone)]
struct Host {
    name: Arc<str>,
    limits: Arc<Limits>,
    logins: Logins,
    pool: StoragePool,
    storages: Arc<dyn StorageProvider>,
    stop: Stop,
}

async fn serve(arguments: &ServeArguments, folder: DataFolder) -> anyhow::Result<()> {
    let limits = Arc::new(Limits::default());
    let (stopper, stop) = Stopper::new();
    let passwords = StoragePool::new(PoolOptions::passwords());
    let host = Host {
        name: host_name().into(),
        logins: Logins::new(Arc::new(folder.users()), passwords, &limits),
        pool: StoragePool::new(PoolOptions::storage()),
        storages: Arc::new(OpenStorages::new(folder, limits.open_storages_max)),
        limits,
        stop,
    };
    let imap_connections = Connections::new(&host.limits);
    let imap = bind(&host, arguments.imap, imap_connections.clone(), b"* BYE Too many connections\r\n").await?;
    let lmtp_connections = Connections::new(&host.limits);
    let lmtp = bind(&host, arguments.lmtp, lmtp_connections, b"421 4.7.0 Too many connections\r\n").await?;
    info!(imap = %imap.local_addr()?, lmtp = %lmtp.local_addr()?, "listening");
    let imap_host = host.clone();
    let imap = imap.run(move |accepted| imap_session(imap_host.clone(), imap_connections.clone(), accepted));
    let lmtp = lmtp.run(move |accepted| lmtp_session(host.clone(), accepted));
    let stopped = async {
        let outcome = wait_for_signal().await;
        stopper.stop();
        outcome
    };
    let ((), (), stopped) = tokio::join!(imap, lmtp, stopped);
    stopped
}

async fn bind(
    host: &Host,
    address: SocketAddr,
    connections: Connections,
    refusal: &'static [u8],
) -> anyhow::Result<Listener> {
    let listener = Listener::bind(address, &host.limits, connections, host.stop.clone(), refusal).await;
    listener.with_context(|| format!("listening on {address}"))
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => info!("stopping on SIGTERM"),
        _ = interrupt.recv() => info!("stopping on SIGINT"),
    }
    Ok(())
}

async fn lmtp_session(host: Host, accepted: Accepted) {
    let Accepted { stream, peer, .. } = accepted;
    let context = culver_lmtp::SessionContext {
        host_name: host.name,
        peer: peer.to_string().into(),
        limits: host.limits,
        logins: host.logins,
        pool: host.pool,
        storages: host.storages,
        stop: host.stop,
    };
    if let Err(error) = culver_lmtp::serve(stream, context).await {
        debug!(%peer, %error, "LMTP connection lost");
    }
}

async fn imap_session(host: Host, connections: Connections, accepted: Accepted) {
    let Accepted { stream, peer, .. } = accepted;
    let context = culver_imap::SessionContext {
        logins: host.logins,
        storages: host.storages,
        pool: host.pool,
        connections,
        limits: host.limits,
        stop: host.stop,
        peer: Some(peer),
        plaintext_login_allowed: peer.ip().is_loopback(),
    };
    culver_imap::serve(stream, context).await;
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}
