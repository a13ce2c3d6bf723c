//! Where the programs are.

use std::{
    env,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

use crate::skip;

/// A program that tests run, as `scripts/peers` installs it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// `dovecot`, with its IMAP and LMTP servers: every test has one look at the store.
    Dovecot,
    /// `postfix`. Its master insists on root.
    Postfix,
    /// `mbsync` of isync.
    Mbsync,
    /// `offlineimap`.
    OfflineImap,
    /// `mutt`.
    Mutt,
    /// `neomutt`.
    NeoMutt,
    /// `curl`.
    Curl,
    /// `getmail` 6.
    Getmail,
    /// `fetchmail`.
    Fetchmail,
    /// `openssl`.
    OpenSsl,
    /// Python 3 with its own imaplib and poplib, and IMAPClient.
    Python,
    /// Node with imapflow.
    Node,
}

impl Peer {
    /// The program, if it is there with all that it needs.
    pub fn path(self) -> Option<PathBuf> {
        match self {
            Self::Dovecot => crate::dovecot::is_installed().then(|| "/usr/sbin/dovecot".into()),
            Self::Postfix => {
                let (sendmail, master) = ("/usr/sbin/sendmail", "/usr/lib/postfix/sbin/master");
                let is_there = Uid::effective().is_root() && [sendmail, master].iter().all(|p| Path::new(p).exists());
                is_there.then(|| on_path("postfix")).flatten()
            }
            Self::Mbsync => on_path("mbsync"),
            Self::OfflineImap => on_path("offlineimap"),
            Self::Mutt => on_path("mutt"),
            Self::NeoMutt => on_path("neomutt"),
            Self::Curl => on_path("curl"),
            Self::Getmail => on_path("getmail"),
            Self::Fetchmail => on_path("fetchmail"),
            Self::OpenSsl => on_path("openssl"),
            Self::Python => Some(cache().join("python/bin/python")).filter(|path| path.exists()),
            Self::Node => Self::node_modules().join("imapflow").exists().then(|| on_path("node")).flatten(),
        }
    }

    /// Where Node finds imapflow.
    pub fn node_modules() -> PathBuf {
        cache().join("node/node_modules")
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's path often lacks where Debian has servers.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn cache() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    target.join("peers")
}

/// Whether the test `what` must be skipped since one of `peers` is missing, and says so.
///
/// # Panics
/// In CI (`CI=true`, as root), where `scripts/peers` can install all of them.
pub fn missing(what: &str, peers: &[Peer]) -> bool {
    let missing: Vec<_> = peers.iter().filter(|peer| peer.path().is_none()).collect();
    if missing.is_empty() {
        return false;
    }
    let is_ci = env::var_os("CI").is_some_and(|value| value == "true") && Uid::effective().is_root();
    assert!(!is_ci, "{what}: {missing:?} is not installed; run scripts/peers");
    skip(what, &format!("{missing:?}"));
    true
}
