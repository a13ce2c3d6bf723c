//! The listeners that are open, made equal to those of a configuration, at the start and at each reload.
//!
//! A socket that systemd handed over takes the place of the one that a listener would bind: by the listener's
//! `systemd_name`; else by its address; else by the name of its protocol (`imap`, `imaps`, `pop3`, `pop3s`, `lmtp`,
//! `metrics`). A listener takes all sockets of its name.

use std::time::Duration;

use anyhow::Context as _;
use culver_runtime::{BoundSocket, ListenAddress, Listener, Refusal, Stopper};
use tokio::{task::JoinHandle, time::sleep};
use tracing::{error, info, warn};

use super::{host::Host, notify::Passed};
use crate::config::{
    Config, tables,
    tables::{ListenerTls, Protocol},
};

/// How often, and how soon, a listener is tried again at a reload.
const OPEN_RETRIES: usize = 20;
const OPEN_RETRY_DELAY: Duration = Duration::from_millis(25);

/// What makes two listeners the same.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    protocol: Protocol,
    tls: ListenerTls,
    address: ListenAddress,
    systemd_name: Option<String>,
}

struct Open {
    place: Place,
    close: Stopper,
    tasks: Vec<JoinHandle<()>>,
    /// Where it is, with the ports that the system chose.
    addresses: Vec<ListenAddress>,
}

/// The listeners that are open.
pub(crate) struct Listeners {
    host: Host,
    passed: Vec<Passed>,
    open: Vec<Open>,
    /// Of closed ones whose sessions go on.
    closed: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// None yet; `passed` was handed over by systemd.
    pub(crate) fn new(host: Host, passed: Vec<Passed>) -> Self {
        Self { host, passed, open: Vec::new(), closed: Vec::new() }
    }

    /// Opens all of a configuration. One that cannot be opened fails it.
    pub(crate) fn open(&mut self, config: &Config) -> anyhow::Result<()> {
        let places = places(config);
        for passed in &self.passed {
            let takes = |place: &Place| place.takes(passed);
            if !places.iter().any(takes) {
                warn!(name = passed.name, "systemd handed over a socket that no listener takes");
            }
        }
        for place in places {
            self.open_one(place)?;
        }
        Ok(())
    }

    /// Closes those that the configuration has no more, and opens those that it has now. One that cannot be opened is
    /// logged, and the others are served.
    pub(crate) async fn reload(&mut self, config: &Config) {
        self.closed.retain(|task| !task.is_finished());
        let mut wanted = places(config);
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|open| {
            let at = wanted.iter().position(|place| *place == open.place);
            at.map(|at| wanted.remove(at)).is_some()
        });
        self.open = kept;
        for Open { place, close, tasks, .. } in gone {
            info!(protocol = place.protocol.word(), address = %place.address, "no longer listening");
            close.stop();
            self.closed.extend(tasks);
        }
        for place in wanted {
            let mut opened = self.open_one(place.clone());
            // Where it was only changed, the old one may not be closed yet.
            for _ in 0..OPEN_RETRIES {
                if opened.is_ok() {
                    break;
                }
                sleep(OPEN_RETRY_DELAY).await;
                opened = self.open_one(place.clone());
            }
            if let Err(error) = opened {
                error!(error = format!("{error:#}"), "listener not opened");
            }
        }
    }

    /// What is open, for people.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = String> {
        self.open.iter().flat_map(|Open { place, addresses, .. }| {
            let tls = match place.tls {
                ListenerTls::None => "",
                ListenerTls::StartTls => "  STARTTLS",
                ListenerTls::Implicit => "  TLS",
            };
            addresses.iter().map(move |address| format!("{:8}{address}{tls}", place.protocol.word()))
        })
    }

    /// Waits for the end of all of them, after a stop.
    pub(crate) async fn ended(&mut self) {
        for task in self.open.drain(..).flat_map(|open| open.tasks).chain(self.closed.drain(..)) {
            // A listener's task does not panic; if it did, the others are still waited for.
            let _ = task.await;
        }
    }

    fn open_one(&mut self, place: Place) -> anyhow::Result<()> {
        let doing = || format!("listening on {} for {}", place.address, place.protocol.word());
        let passed = self.passed.iter().filter(|passed| place.takes(passed));
        let mut sockets =
            passed.map(|passed| passed.socket.adopt()).collect::<Result<Vec<_>, _>>().with_context(doing)?;
        if sockets.is_empty() {
            sockets.push(BoundSocket::bind(&place.address).with_context(doing)?);
        }
        let (close, _) = Stopper::new();
        let addresses = sockets.iter().map(BoundSocket::local_addr).collect::<Result<_, _>>()?;
        let tasks = sockets.into_iter().map(|socket| self.run(&place, socket, &close)).collect::<Result<_, _>>()?;
        self.open.push(Open { place, close, tasks, addresses });
        Ok(())
    }

    fn run(&self, place: &Place, socket: BoundSocket, close: &Stopper) -> anyhow::Result<JoinHandle<()>> {
        let (protocol, tls) = (place.protocol, place.tls);
        let (address, host) = (socket.local_addr()?, self.host.clone());
        let (limits, stop) = (host.limits.clone(), host.stop.clone());
        let mut listener = Listener::new(socket, host.connections(protocol), limits, stop, close.listen());
        if tls != ListenerTls::Implicit {
            listener = listener.refusing_with(refusal(protocol));
        }
        info!(protocol = protocol.word(), %address, tls = tls.word(), "listening");
        Ok(tokio::spawn(listener.run(move |accepted| host.clone().serve(protocol, tls, accepted))))
    }
}

impl Place {
    /// Whether a socket of systemd's is meant for this listener.
    fn takes(&self, passed: &Passed) -> bool {
        if let Some(name) = &self.systemd_name {
            return *name == passed.name;
        }
        let same_address = match (&self.address, passed.socket.address()) {
            (ListenAddress::Tcp(ours), Some(ListenAddress::Tcp(theirs))) => *ours == theirs,
            (ListenAddress::Unix { path, .. }, Some(ListenAddress::Unix { path: theirs, .. })) => *path == theirs,
            _ => false,
        };
        let implicit = if self.tls == ListenerTls::Implicit { "s" } else { "" };
        same_address || passed.name == format!("{}{implicit}", self.protocol.word())
    }
}

fn places(config: &Config) -> Vec<Place> {
    let place = |listener: &tables::Listener| {
        let address = match (*listener.address, &*listener.socket) {
            (Some(address), _) => ListenAddress::Tcp(address),
            (None, Some(socket)) => {
                let mode = listener.mode.map(|mode| mode.0);
                ListenAddress::Unix { path: config.path(socket), mode }
            }
            (None, None) => return None,
        };
        let systemd_name = (*listener.systemd_name).clone();
        Some(Place { protocol: (*listener.protocol)?, tls: listener.tls_mode(), address, systemd_name })
    };
    config.listeners.iter().filter_map(place).collect()
}

/// What one too many is told.
fn refusal(protocol: Protocol) -> Refusal {
    match protocol {
        Protocol::Imap => |limit| format!("* BYE [LIMIT] Too many connections ({limit}).\r\n"),
        Protocol::Pop3 => |limit| format!("-ERR [SYS/TEMP] Too many connections ({limit}).\r\n"),
        Protocol::Lmtp => |limit| format!("421 4.7.0 Too many connections ({limit})\r\n"),
        Protocol::Metrics => |_| "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n".to_owned(),
    }
}
