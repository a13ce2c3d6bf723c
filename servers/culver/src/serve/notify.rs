//! What systemd is told (sd_notify(3)) and what it hands over (sd_listen_fds(3)). Without systemd nothing happens.

use std::{os::unix::net as unix, time::Duration};

use culver_runtime::{BoundSocket, ListenAddress, Stop};
use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Where systemd puts the names of what it hands over, in order, separated by `:`.
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// All listeners are open.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("Serving mail")]);
}

/// The configuration is read again; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot tell systemd of the reload"),
    }
}

/// The sessions are being ended.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Ending the sessions")]);
}

/// Tells systemd that the program lives, as often as it wants to hear that, until a stop.
pub(crate) async fn keep_alive(mut stop: Stop) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    // Twice as often as would do, as sd_watchdog_enabled(3) says.
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        tokio::select! {
            () = stop.stopping() => return,
            _ = ticks.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd cannot be told");
    }
}

/// A socket that was handed over.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Its name, `unknown` where the unit gives none.
    pub(crate) name: String,
    /// The socket.
    pub(crate) socket: PassedSocket,
}

/// What kind of socket it is.
#[derive(Debug)]
pub(crate) enum PassedSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(unix::UnixListener),
}

impl PassedSocket {
    /// Where it listens.
    pub(crate) fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
                Some(ListenAddress::Unix { path, mode: None })
            }
        }
    }

    /// For listening on. Another handle of the same socket stays here, so that a reload can close and open it.
    pub(crate) fn adopt(&self) -> std::io::Result<BoundSocket> {
        match self {
            Self::Tcp(listener) => BoundSocket::adopt_tcp(listener.try_clone()?),
            Self::Unix(listener) => BoundSocket::adopt_unix(listener.try_clone()?),
        }
    }
}

/// Takes over all sockets that were handed over. To be called once, before threads are started.
pub(crate) fn passed_sockets() -> Vec<Passed> {
    let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..passed.len() {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned());
        let socket = match (passed.take_tcp_listener(at), passed.take_unix_listener(at)) {
            (Ok(Some(tcp)), _) => PassedSocket::Tcp(tcp),
            (_, Ok(Some(unix))) => PassedSocket::Unix(unix),
            (Err(error), _) | (_, Err(error)) => {
                warn!(name, %error, "systemd handed over something that is no listening socket");
                continue;
            }
            _ => continue,
        };
        sockets.push(Passed { name, socket });
    }
    sockets
}
