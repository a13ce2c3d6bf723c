//! `culver serve`: from the configuration to the last session's end.

mod host;
pub(crate) mod imap;
mod limits;
mod listeners;
mod lmtp;
mod logging;
mod mechanisms;
mod metered;
mod metrics;
mod notify;
mod open_files;
mod pop3;
mod reload;
mod secret;
pub(crate) mod special_use;
pub(crate) mod tls;

use std::{io::Write as _, sync::Arc};

use anyhow::Context;
use culver_runtime::{PasswordFile, Stopper, UserName};
use mailfs::RealDisk;
use mailindex::engine::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use self::{host::Host, listeners::Listeners, logging::Logging, notify::Passed, reload::Reloads};
use crate::{
    config::{Config, Overlay},
    stores::{Stores, env_options, password_file},
};

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(overlay: &Overlay) -> anyhow::Result<()> {
    let (config, problems) = Config::load(overlay);
    problems.result()?;
    let logging = Logging::begin(&config)?;
    for warning in problems.warnings() {
        warn!("{}", warning.on_one_line());
    }
    let passed = notify::passed_sockets();
    open_files::raise_limit(*config.limits.connections_max);
    let env = Env::new(Arc::new(RealDisk::new()), env_options(&config.storage));
    let users = Arc::new(password_file(&config));
    let stores = Stores::open(&config, env.clone(), Arc::clone(&users))?;
    stores.complain(&config)?;
    if *config.storage.check_at_start {
        stores.recover()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reloads = Reloads::new(overlay.clone(), config, logging);
    runtime.block_on(serve(reloads, users, stores, passed))?;
    // What was acknowledged as flags and not yet synced is synced now.
    env.flush().context("syncing flags")?;
    Ok(())
}

/// Makes the first user where there is none, and tells the password, which is written down nowhere else. To be called
/// once the listeners are open: so that what a new user needs stands together, below the log, and a first start that
/// fails has told nothing that is lost with it.
fn greet_first_user(config: &Config, users: &PasswordFile, listeners: &Listeners) -> anyhow::Result<()> {
    let Some(name) = &*config.users.first_user else { return Ok(()) };
    let Some(user) = users.create_first_user(&UserName::new(name)?)? else { return Ok(()) };
    let mut out = std::io::stdout().lock();
    writeln!(out, "user: {}\npassword: {}", user.name, user.password)?;
    out.flush()?;
    drop(out);
    welcome(config, listeners);
    Ok(())
}

/// Tells whoever starts the program for the first time where to go from here. Nobody may be listening any more.
fn welcome(config: &Config, listeners: &Listeners) {
    let mut out = std::io::stdout().lock();
    let mut lines = vec![String::new(), "Mail is served here:".to_owned()];
    lines.extend(listeners.open_ones().map(|listener| format!("  {listener}")));
    lines.push(String::new());
    if config.tls.certificate.is_none() {
        lines.push(format!(
            "TLS has a self-made certificate in {}; clients will",
            config.path("tls".as_ref()).display()
        ));
        lines.push("ask whether to trust it. `[tls]` in a configuration file names a real one.".to_owned());
    }
    lines.push("`culver user add NAME` adds users, `culver config` shows all settings.".to_owned());
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
    let _ = out.flush();
}

/// The signals that the program hears.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Asked {
    End(&'static str),
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up? })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

async fn serve(
    mut reloads: Reloads,
    users: Arc<PasswordFile>,
    stores: Stores,
    passed: Vec<Passed>,
) -> anyhow::Result<()> {
    let (stopper, stop) = Stopper::new();
    // Before anything listens, so that whoever finds it listening can stop it cleanly.
    let mut signals = Signals::new()?;
    let host = Host::new(reloads.config(), Arc::clone(&users), stores, stop.clone())?;
    let mut listeners = Listeners::new(host.clone(), passed);
    listeners.open(reloads.config())?;
    greet_first_user(reloads.config(), &users, &listeners)?;
    let alive = tokio::spawn(notify::keep_alive(stop));
    notify::ready();
    info!("ready");
    loop {
        match signals.next().await {
            Asked::Reload => {
                notify::reloading();
                reloads.reload(&host, &mut listeners).await;
                notify::ready();
            }
            Asked::End(signal) => {
                info!("stopping on {signal}");
                break;
            }
        }
    }
    notify::stopping();
    stopper.stop();
    let second = async {
        loop {
            if let Asked::End(signal) = signals.next().await {
                return signal;
            }
        }
    };
    tokio::select! {
        () = listeners.ended() => {}
        signal = second => warn!("stopping at once on a second {signal}"),
    }
    // It ends by itself at a stop.
    drop(alive);
    Ok(())
}
