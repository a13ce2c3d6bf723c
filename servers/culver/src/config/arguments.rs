//! The options that every command has which needs a configuration.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    Overlay,
    tables::{ListenerTls, Protocol},
};

/// Which configuration.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigArguments {
    /// The configuration file. Without one everything has its default.
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The folder of users and mail; made if it is not there.
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<PathBuf>,
    /// One setting, such as `limits.connections_max=100`; before the file's.
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    /// Change nothing in anybody's mail, not a byte and no time of a file: the setting `storage.read_only`.
    #[arg(long, global = true)]
    read_only: bool,
}

/// Listeners by options: with any of them, no other is opened.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ListenerArguments {
    /// Where IMAP listens, with STARTTLS.
    #[arg(long, value_name = "ADDRESS")]
    imap: Vec<SocketAddr>,
    /// Where IMAP listens within TLS.
    #[arg(long, value_name = "ADDRESS")]
    imaps: Vec<SocketAddr>,
    /// Where POP3 listens, with STLS.
    #[arg(long, value_name = "ADDRESS")]
    pop3: Vec<SocketAddr>,
    /// Where POP3 listens within TLS.
    #[arg(long, value_name = "ADDRESS")]
    pop3s: Vec<SocketAddr>,
    /// Where LMTP listens.
    #[arg(long, value_name = "ADDRESS")]
    lmtp: Vec<SocketAddr>,
    /// Where figures for Prometheus are.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Vec<SocketAddr>,
}

impl ConfigArguments {
    /// As an overlay of the file.
    pub(crate) fn overlay(&self, listeners: Option<&ListenerArguments>) -> Overlay {
        let listeners = listeners.map(ListenerArguments::listeners).unwrap_or_default();
        let read_only = self.read_only.then(|| "storage.read_only=true".to_owned());
        let set = self.set.iter().cloned().chain(read_only).collect();
        Overlay { file: self.config.clone(), data: self.data.clone(), listeners, set }
    }
}

impl ListenerArguments {
    fn listeners(&self) -> Vec<(Protocol, ListenerTls, SocketAddr)> {
        let named = [
            (Protocol::Imap, ListenerTls::StartTls, &self.imap),
            (Protocol::Imap, ListenerTls::Implicit, &self.imaps),
            (Protocol::Pop3, ListenerTls::StartTls, &self.pop3),
            (Protocol::Pop3, ListenerTls::Implicit, &self.pop3s),
            (Protocol::Lmtp, ListenerTls::None, &self.lmtp),
            (Protocol::Metrics, ListenerTls::None, &self.metrics),
        ];
        let each = |(protocol, tls, addresses): (_, _, &Vec<SocketAddr>)| {
            addresses.iter().map(move |address| (protocol, tls, *address)).collect::<Vec<_>>()
        };
        named.into_iter().flat_map(each).collect()
    }
}
