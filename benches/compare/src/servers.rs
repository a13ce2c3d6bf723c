//! The two servers, each on stores of its own with the same mail.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use testkit::{
    culver::{self, Culver, Start},
    dovecot::{Dovecot, PASSWORD, Setup},
    imap::Imap,
    place::{MailUser, Place, copy_tree, free_port},
    pop3::Pop3,
};

use crate::measure::cpu_seconds;

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Culver,
    Dovecot,
}

/// The format of all stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Sdbox,
    Mdbox,
    Maildir,
    Mbox,
}

impl Format {
    /// By its name on the command line.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        match name {
            "sdbox" => Ok(Self::Sdbox),
            "mdbox" => Ok(Self::Mdbox),
            "maildir" => Ok(Self::Maildir),
            "mbox" => Ok(Self::Mbox),
            other => anyhow::bail!("{other} is no format; there are sdbox, mdbox, maildir and mbox"),
        }
    }

    /// As both servers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
            Self::Maildir => "maildir",
            Self::Mbox => "mbox",
        }
    }

    /// Where a store of it lies, in the words of both.
    pub(crate) fn location(self, mail: &str) -> String {
        match self {
            Self::Mbox => format!("mbox:{mail}:INBOX={mail}/inbox"),
            _ => format!("{}:{mail}", self.name()),
        }
    }
}

/// What all stores of a run are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stores {
    pub(crate) format: Format,
    /// Bodies keep the line ends that they come with.
    pub(crate) crlf: bool,
    /// New bodies are compressed.
    pub(crate) zstd: bool,
}

impl Stores {
    /// Culver's settings for them.
    fn culver(self) -> Vec<String> {
        let format = format!("storage.format={}", self.format.name());
        let mut settings = vec![format, "storage.separator=/".to_owned()];
        settings.extend(self.crlf.then(|| "storage.line_ends=crlf".to_owned()));
        settings.extend(self.zstd.then(|| "storage.compression=zstd".to_owned()));
        settings
    }

    /// Dovecot's.
    fn dovecot(self) -> String {
        let mut settings = String::new();
        if self.crlf {
            settings += "mail_save_crlf = yes\n";
        }
        if self.zstd {
            settings += "mail_plugins = $mail_plugins zlib\nplugin {\n  zlib_save = zstd\n}\n";
        }
        settings
    }
}

/// One user for each connection of the deliveries, and one for each large store.
pub(crate) const USERS: [&str; 25] = [
    "u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "u10", "u11", "u12", "u13", "u14", "u15", "large",
    "plain", "changed", "many", "idle", "shared", "disk", "purged", "million",
];

/// Both, running. `shared` is on one store of the two; the other users have a store at each.
pub(crate) struct Pair {
    pub(crate) culver: Culver,
    pub(crate) dovecot: Dovecot,
    stores: Stores,
    configuration: PathBuf,
    place: Place,
    dovecot_imaps: SocketAddr,
    dovecot_pop3: SocketAddr,
    culver_mail: PathBuf,
    dovecot_mail: PathBuf,
    owner: MailUser,
}

impl Pair {
    pub(crate) fn start(stores: Stores) -> anyhow::Result<Self> {
        let place = Place::new("compare")?;
        let owner = MailUser::for_tests()?;
        let certificate = certificate(place.path(), &owner)?;
        let data = place.folder_of(&owner, "culver")?;
        Culver::prepare(&data, &owner, &USERS)?;
        let settings = stores.culver();
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let (public, key) = &certificate;
        let start = Start { pop3: true, tls: Some((public, key)), settings: &settings };
        let culver = Culver::start_with(&culver::program()?, &data, &owner, start)?;
        let dovecot_mail = place.folder_of(&owner, "dovecot-mail")?;
        let local = || -> anyhow::Result<SocketAddr> { Ok(([127, 0, 0, 1], free_port()?).into()) };
        let (dovecot_imaps, dovecot_pop3) = (local()?, local()?);
        let setup = Setup {
            mail_location: stores.format.location(&format!("{}/%u", dovecot_mail.display())),
            users: &USERS,
            extra: &(stores.dovecot() + &dovecot_extra(&certificate, dovecot_imaps, dovecot_pop3)),
        };
        let dovecot = Dovecot::start(place.path(), &owner, &setup)?;
        let culver_mail = data.join("mail");
        // One user's mail is the same folder for both: what Dovecot delivers there, Culver must notice.
        let shared = culver_mail.join("shared");
        fs::create_dir_all(&shared)?;
        owner.own(&shared)?;
        std::os::unix::fs::symlink(&shared, dovecot_mail.join("shared"))?;
        Ok(Self {
            culver,
            dovecot,
            stores,
            configuration: data.with_extension("toml"),
            place,
            dovecot_imaps,
            dovecot_pop3,
            culver_mail,
            dovecot_mail,
            owner,
        })
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
            "{} stores{}{}, culver {}, dovecot {}, {cores} cores ({model}); ratio = dovecot / culver, above 1 Culver is \
             ahead",
            self.stores.format.name(),
            if self.stores.crlf { " with CRLF bodies" } else { "" },
            if self.stores.zstd { " with compressed bodies" } else { "" },
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

    /// IMAP within TLS.
    pub(crate) fn imaps(&self, kind: Kind) -> anyhow::Result<SocketAddr> {
        match kind {
            Kind::Culver => self.culver.more.imaps.context("no listener within TLS"),
            Kind::Dovecot => Ok(self.dovecot_imaps),
        }
    }

    pub(crate) fn pop3(&self, kind: Kind, user: &str) -> anyhow::Result<Pop3> {
        let address = match kind {
            Kind::Culver => self.culver.more.pop3.context("no POP3")?,
            Kind::Dovecot => self.dovecot_pop3,
        };
        Pop3::login(address, user, PASSWORD)
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

    /// Whose the mail is.
    pub(crate) fn owner(&self) -> &MailUser {
        &self.owner
    }

    /// What the stores are.
    pub(crate) fn format(&self) -> Format {
        self.stores.format
    }

    /// A place in this run's folder for more stores, made by nobody yet.
    pub(crate) fn aside(&self, kind: Kind, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.place.folder_of(&self.owner, &format!("aside-{kind:?}"))?.join(name))
    }

    /// Runs a command of Culver's with the configuration of the server.
    pub(crate) fn run_culver(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(culver::program()?);
        command.arg("--config").arg(&self.configuration);
        command.args(self.stores.culver().iter().flat_map(|setting| ["--set", setting])).args(arguments);
        command.current_dir(self.place.path());
        self.owner.run_as(&mut command);
        let output = command.output()?;
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "culver {arguments:?}: {}: {told} {errors}", output.status);
        Ok(())
    }

    /// Where the index of a user's INBOX lies.
    pub(crate) fn inbox(&self, kind: Kind, user: &str) -> PathBuf {
        let mail = self.mail(kind, user);
        match self.stores.format {
            Format::Sdbox | Format::Mdbox => mail.join("mailboxes/INBOX/dbox-Mails"),
            Format::Maildir => mail,
            Format::Mbox => mail.join(".imap/INBOX"),
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

/// A certificate for loopback and its key, made for this run.
fn certificate(folder: &Path, owner: &MailUser) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .context("openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    owner.own(&certificate)?;
    owner.own(&key)?;
    Ok((certificate, key))
}

/// What Dovecot needs beyond IMAP and LMTP: POP3, TLS, COMPRESS; and room for many who stay, whose TLS its login processes carry
/// (one process for all of them, as its manual has it for speed).
fn dovecot_extra((certificate, key): &(PathBuf, PathBuf), imaps: SocketAddr, pop3: SocketAddr) -> String {
    let (certificate, key, imaps, pop3) = (certificate.display(), key.display(), imaps.port(), pop3.port());
    format!(
        "protocols = imap lmtp pop3
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
service imap-login {{
  service_count = 0
  client_limit = 2000
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  chroot =
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_zlib
}}
"
    )
}
