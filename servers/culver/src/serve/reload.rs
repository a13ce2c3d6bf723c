//! SIGHUP: the configuration is read again and takes effect as far as it can, or not at all.

use culver_runtime::METRICS;
use tracing::{error, info, warn};

use super::{host::Host, listeners::Listeners, logging::Logging};
use crate::config::{Config, Overlay, section::Reload, show::sections};

/// Reads the configuration again, from where it was read first.
pub(crate) struct Reloads {
    overlay: Overlay,
    config: Config,
    /// As the process was started: what needs a restart is compared with this.
    started: Config,
    logging: Logging,
}

impl Reloads {
    /// This configuration holds now.
    pub(crate) fn new(overlay: Overlay, config: Config, logging: Logging) -> Self {
        Self { overlay, started: config.clone(), config, logging }
    }

    /// The one that holds.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Reads it again. Where anything is wrong with it, everything is logged and the old one stays. Blocks for as long
    /// as reading a few small files does.
    pub(crate) async fn reload(&mut self, host: &Host, listeners: &mut Listeners) {
        let (config, problems) = Config::load(&self.overlay);
        for problem in problems.in_order() {
            warn!("{}", problem.on_one_line());
        }
        if problems.has_errors() {
            METRICS.reloads_failed.increment();
            return error!(errors = problems.errors().count(), "configuration not reloaded, the old one stays");
        }
        if let Err(error) = host.reload(&config) {
            METRICS.reloads_failed.increment();
            return error!(error = format!("{error:#}"), "configuration not reloaded, the old one stays");
        }
        if let Err(error) = self.logging.reload(&config) {
            warn!(error = format!("{error:#}"), "the log goes on as before");
        }
        listeners.reload(&config).await;
        for key in waiting_for_restart(&self.started, &config) {
            warn!(key, "this setting changed and takes effect at the next start");
        }
        METRICS.reloads_ok.increment();
        info!("configuration reloaded");
        self.config = config;
    }
}

/// The changed settings that need a restart.
fn waiting_for_restart(started: &Config, now: &Config) -> Vec<String> {
    let (before, after) = (sections(started), sections(now));
    let entries = |sections: Vec<(&'static str, Vec<crate::config::section::Entry>)>| {
        sections.into_iter().flat_map(|(path, entries)| entries.into_iter().map(move |entry| (path, entry)))
    };
    entries(before)
        .zip(entries(after))
        .filter(|((_, old), (_, new))| old.value != new.value && old.key.reload == Reload::Restart)
        .map(|((path, old), _)| match path {
            "" => old.key.name.to_owned(),
            path => format!("{path}.{}", old.key.name),
        })
        .collect()
}
