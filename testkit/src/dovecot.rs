//! A real Dovecot beside us, 2.3 or 2.4: its own configuration, ports and log, the same mail.

mod configuration;
mod location;
mod release;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use self::configuration::{Ports, configuration};
pub use self::release::Release;
use crate::place::{MailUser, free_port};

/// The password of every user of every peer.
pub const PASSWORD: &str = "secret";

/// A Dovecot that serves until dropped.
#[derive(Debug)]
pub struct Dovecot {
    release: &'static Release,
    folder: PathBuf,
    /// Where IMAP answers.
    pub imap: SocketAddr,
    /// Where LMTP answers.
    pub lmtp: SocketAddr,
}

/// Whether the one that was chosen is there (dovecot-core, -imapd, -lmtpd).
pub fn is_installed() -> bool {
    Release::chosen().is_ok_and(Release::is_installed)
}

/// Whether dovecot-pop3d is there too.
pub fn has_pop3() -> bool {
    is_installed() && Release::chosen().is_ok_and(|release| release.has(&["/usr/lib/dovecot/pop3"]))
}

/// How a Dovecot is set up.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// `mail_location` in the words of 2.3, with `%u` for the user.
    pub mail_location: String,
    /// Who may log in.
    pub users: &'a [&'a str],
    /// Further lines of configuration, in the words of the release that was chosen.
    pub extra: &'a str,
}

impl Dovecot {
    /// Starts one with its files in `folder` (which must exist), serving mail that belongs to `owner`.
    pub fn start(folder: &Path, owner: &MailUser, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let release = Release::chosen()?;
        let (imap, lmtp) = (free_port()?, free_port()?);
        let folder = folder.join("dovecot");
        fs::create_dir_all(folder.join("home"))?;
        owner.own(&folder.join("home"))?;
        let users: String = setup.users.iter().map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n")).collect();
        fs::write(folder.join("users"), users)?;
        fs::write(folder.join("dovecot.conf"), configuration(release, &folder, owner, setup, Ports { imap, lmtp }))?;
        let dovecot =
            Self { release, imap: ([127, 0, 0, 1], imap).into(), lmtp: ([127, 0, 0, 1], lmtp).into(), folder };
        // The daemon keeps what it inherits: with a pipe for its output, waiting for the pipe's end would never end.
        let mut command = release.command("/usr/sbin/dovecot");
        command.arg("-c").arg(dovecot.folder.join("dovecot.conf")).stdin(Stdio::null()).stdout(Stdio::null());
        ensure!(command.status()?.success(), "Dovecot does not start");
        dovecot.wait_until_up()?;
        Ok(dovecot)
    }

    fn wait_until_up(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(self.imap).is_err() {
            ensure!(Instant::now() < deadline, "Dovecot does not come up: {}", self.log()?);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Runs `doveadm` with this Dovecot's configuration.
    pub fn doveadm(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let config = self.folder.join("dovecot.conf");
        let output = self.release.command("/usr/bin/doveadm").arg("-c").arg(&config).args(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "doveadm {arguments:?}: {errors}");
        Ok(output.stdout)
    }

    /// All that it logged.
    pub fn log(&self) -> anyhow::Result<String> {
        let path = self.folder.join("dovecot.log");
        let log = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// The lines that are more than information, without time and process.
    pub fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let is_complaint =
            |line: &&str| ["Warning: ", "Error: ", "Fatal: ", "Panic: "].iter().any(|word| line.contains(word));
        Ok(self.log()?.lines().filter(is_complaint).map(str::to_owned).collect())
    }

    /// The process that everything else of it descends from.
    pub fn master_pid(&self) -> anyhow::Result<u32> {
        Ok(fs::read_to_string(self.folder.join("run/master.pid"))?.trim().parse()?)
    }

    /// Where its own files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let Ok(pid) = self.master_pid() else { return };
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        // The master ends its children; a second look gives them time to finish their logs.
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok() {
            let deadline = Instant::now() + Duration::from_secs(5);
            while nix::sys::signal::kill(pid, None).is_ok() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
