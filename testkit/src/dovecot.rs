//! A real Dovecot 2.3 beside us: its own configuration, ports and log, the same mail.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::place::{MailUser, free_port};

/// The password of every user of every peer.
pub const PASSWORD: &str = "secret";

/// A Dovecot that serves until dropped.
#[derive(Debug)]
pub struct Dovecot {
    folder: PathBuf,
    /// Where IMAP answers.
    pub imap: SocketAddr,
    /// Where LMTP answers.
    pub lmtp: SocketAddr,
}

/// Whether Debian's packages (dovecot-core, -imapd, -lmtpd) are there.
pub fn is_installed() -> bool {
    ["/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/lmtp"].iter().all(|path| Path::new(path).exists())
}

/// Whether dovecot-pop3d is there too.
pub fn has_pop3() -> bool {
    is_installed() && Path::new("/usr/lib/dovecot/pop3").exists()
}

/// How a Dovecot is set up.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// `mail_location`, with `%u` for the user.
    pub mail_location: String,
    /// Who may log in.
    pub users: &'a [&'a str],
    /// Further lines of configuration.
    pub extra: &'a str,
}

impl Dovecot {
    /// Starts one with its files in `folder` (which must exist), serving mail that belongs to `owner`.
    pub fn start(folder: &Path, owner: &MailUser, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let (imap, lmtp) = (free_port()?, free_port()?);
        let folder = folder.join("dovecot");
        fs::create_dir_all(folder.join("home"))?;
        owner.own(&folder.join("home"))?;
        let users: String = setup.users.iter().map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n")).collect();
        fs::write(folder.join("users"), users)?;
        fs::write(folder.join("dovecot.conf"), configuration(&folder, owner, setup, imap, lmtp))?;
        let dovecot = Self { imap: ([127, 0, 0, 1], imap).into(), lmtp: ([127, 0, 0, 1], lmtp).into(), folder };
        // The daemon keeps what it inherits: with a pipe for its output, waiting for the pipe's end would never end.
        let mut command = Command::new("/usr/sbin/dovecot");
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
        let output = Command::new("/usr/bin/doveadm").arg("-c").arg(&config).args(arguments).output()?;
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

fn configuration(folder: &Path, owner: &MailUser, setup: &Setup<'_>, imap: u16, lmtp: u16) -> String {
    let folder = folder.display();
    let MailUser { name, group, .. } = owner;
    let Setup { mail_location, extra, .. } = setup;
    format!(
        r"base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
log_timestamp =
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = {mail_location}
first_valid_uid = 1
first_valid_gid = 1
auth_mechanisms = plain login
mail_max_userip_connections = 1000
postmaster_address = postmaster@test.example
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = uid={name} gid={group} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
  chroot =
}}
service imap {{
  process_limit = 2000
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
{extra}
"
    )
}
