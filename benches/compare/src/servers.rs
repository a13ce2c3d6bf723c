//! The two servers, each on stores of its own with the same mail.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use testkit::{
    culver::{self, Culver},
    dovecot::{Dovecot, PASSWORD, Setup},
    imap::Imap,
    place::{MailUser, Place, copy_tree},
};

use crate::measure::cpu_seconds;

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Culver,
    Dovecot,
}

/// One user for each connection of the deliveries, and one for each large store.
pub(crate) const USERS: [&str; 20] = [
    "u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "u10", "u11", "u12", "u13", "u14", "u15", "large",
    "plain", "idle", "shared",
];

/// Both, running. `shared` is on one store of the two; the other users have a store at each.
pub(crate) struct Pair {
    pub(crate) culver: Culver,
    pub(crate) dovecot: Dovecot,
    culver_mail: PathBuf,
    dovecot_mail: PathBuf,
    owner: MailUser,
    _place: Place,
}

impl Pair {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let place = Place::new("compare")?;
        let owner = MailUser::for_tests()?;
        let data = place.folder_of(&owner, "culver")?;
        Culver::prepare(&data, &owner, &USERS)?;
        let culver = Culver::start(&culver::program()?, &data, &owner)?;
        let dovecot_mail = place.folder_of(&owner, "dovecot-mail")?;
        let setup = Setup { mail_location: format!("sdbox:{}/%u", dovecot_mail.display()), users: &USERS, extra: "" };
        let dovecot = Dovecot::start(place.path(), &owner, &setup)?;
        let culver_mail = data.join("mail");
        // One user's mail is the same folder for both: what Dovecot delivers there, Culver must notice.
        let shared = culver_mail.join("shared");
        fs::create_dir_all(&shared)?;
        owner.own(&shared)?;
        std::os::unix::fs::symlink(&shared, dovecot_mail.join("shared"))?;
        Ok(Self { culver, dovecot, culver_mail, dovecot_mail, owner, _place: place })
    }

    pub(crate) fn describe(&self) -> anyhow::Result<String> {
        let version = |program: &Path, argument: &str| -> anyhow::Result<String> {
            Ok(String::from_utf8_lossy(&Command::new(program).arg(argument).output()?.stdout).trim().to_owned())
        };
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let model =
            cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor").to_owned();
        let cores = std::thread::available_parallelism()?;
        Ok(format!(
            "culver {}, dovecot {}, {cores} cores ({model}); ratio = dovecot / culver, above 1 Culver is ahead",
            version(&culver::program()?, "--version")?,
            version(Path::new("/usr/sbin/dovecot"), "--version")?,
        ))
    }

    pub(crate) fn root_pid(&self, kind: Kind) -> anyhow::Result<u32> {
        match kind {
            Kind::Culver => Ok(self.culver.pid()),
            Kind::Dovecot => self.dovecot.master_pid(),
        }
    }

    pub(crate) fn cpu(&self, kind: Kind) -> anyhow::Result<f64> {
        cpu_seconds(self.root_pid(kind)?)
    }

    pub(crate) fn imap(&self, kind: Kind) -> SocketAddr {
        match kind {
            Kind::Culver => self.culver.imap,
            Kind::Dovecot => self.dovecot.imap,
        }
    }

    pub(crate) fn lmtp(&self, kind: Kind) -> SocketAddr {
        match kind {
            Kind::Culver => self.culver.lmtp,
            Kind::Dovecot => self.dovecot.lmtp,
        }
    }

    pub(crate) fn login(&self, kind: Kind, user: &str) -> anyhow::Result<Imap> {
        Imap::login(self.imap(kind), user, PASSWORD)
    }

    /// Where a user's mail lies.
    pub(crate) fn mail(&self, kind: Kind, user: &str) -> PathBuf {
        match kind {
            Kind::Culver => self.culver_mail.join(user),
            Kind::Dovecot => self.dovecot_mail.join(user),
        }
    }

    /// Gives Dovecot's user the mail that Culver's user has, byte for byte.
    pub(crate) fn copy_to_dovecot(&self, user: &str) -> anyhow::Result<()> {
        let to = self.mail(Kind::Dovecot, user);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy_tree(&self.mail(Kind::Culver, user), &to, &self.owner)?;
        ensure!(to.is_dir(), "copy of {user}");
        Ok(())
    }
}
