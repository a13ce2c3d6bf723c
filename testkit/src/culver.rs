//! A `culver serve` beside the tests: started, killed, started again.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    dovecot::PASSWORD,
    place::{MailUser, free_port},
};

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct Culver {
    child: Child,
    log: PathBuf,
    /// Where IMAP answers.
    pub imap: SocketAddr,
    /// Where LMTP answers.
    pub lmtp: SocketAddr,
    /// Where it answers besides, if it was started so.
    pub more: More,
}

/// Listeners beyond IMAP and LMTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct More {
    /// IMAP within TLS.
    pub imaps: Option<SocketAddr>,
    /// POP3.
    pub pop3: Option<SocketAddr>,
    /// POP3 within TLS.
    pub pop3s: Option<SocketAddr>,
}

/// How a server is started beyond IMAP and LMTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Whether it serves POP3.
    pub pop3: bool,
    /// The certificate and its key, in PEM: then it has listeners within TLS too.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// Settings such as `storage.format=maildir`.
    pub settings: &'a [&'a str],
}

/// The program that is tested: `CULVER_BIN`, else the release build, else the debug build beside this crate.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CULVER_BIN") {
        return Ok(fs::canonicalize(path)?);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let builds = ["release/culver", "debug/culver"].map(|build| target.join(build));
    let built = builds.into_iter().find(|path| path.exists()).context("build culver first: cargo build --release")?;
    Ok(fs::canonicalize(built)?)
}

impl Culver {
    /// Writes the password file for a data folder, so that no user is made up at the first start.
    pub fn prepare(data: &Path, owner: &MailUser, users: &[&str]) -> anyhow::Result<()> {
        fs::create_dir_all(data.join("mail"))?;
        let lines: String = users.iter().map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n")).collect();
        fs::write(data.join("users"), lines)?;
        Ok(owner.own(data)?)
    }

    /// Where the mail of the users of a data folder lies, with `%u` for the user.
    pub fn mail_of(data: &Path, user: &str) -> PathBuf {
        data.join("mail").join(user)
    }

    /// Starts the program on a data folder and waits until it listens.
    pub fn start(program: &Path, data: &Path, owner: &MailUser) -> anyhow::Result<Self> {
        let (imap, lmtp) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command.args(["serve", "--data"]).arg(data);
        command.args(["--imap", &imap.to_string(), "--lmtp", &lmtp.to_string()]);
        Self::spawn(command, data, owner, imap, lmtp, More::default())
    }

    /// Starts it with settings such as `storage.format=maildir`.
    pub fn start_set(program: &Path, data: &Path, owner: &MailUser, settings: &[&str]) -> anyhow::Result<Self> {
        let (imap, lmtp) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command.args(["serve", "--data"]).arg(data);
        command.args(["--imap", &imap.to_string(), "--lmtp", &lmtp.to_string()]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        Self::spawn(command, data, owner, imap, lmtp, More::default())
    }

    /// Starts it with a configuration file that has more listeners.
    pub fn start_with(program: &Path, data: &Path, owner: &MailUser, start: Start<'_>) -> anyhow::Result<Self> {
        let (imap, lmtp) = (free_address()?, free_address()?);
        let free = |wanted: bool| wanted.then(free_address).transpose();
        let is_tls = start.tls.is_some();
        let more = More { imaps: free(is_tls)?, pop3: free(start.pop3)?, pop3s: free(start.pop3 && is_tls)? };
        let on_request = if is_tls { "starttls" } else { "none" };
        let mut configuration = format!("data = {data:?}\n");
        for (protocol, tls, address) in [
            ("imap", on_request, Some(imap)),
            ("imap", "implicit", more.imaps),
            ("pop3", on_request, more.pop3),
            ("pop3", "implicit", more.pop3s),
            ("lmtp", "none", Some(lmtp)),
        ] {
            let Some(address) = address else { continue };
            configuration +=
                &format!("[[listener]]\nprotocol = \"{protocol}\"\ntls = \"{tls}\"\naddress = \"{address}\"\n");
        }
        if let Some((certificate, key)) = start.tls {
            configuration += &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
        }
        let file = data.with_extension("toml");
        fs::write(&file, configuration)?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(file);
        command.args(start.settings.iter().flat_map(|setting| ["--set", setting]));
        Self::spawn(command, data, owner, imap, lmtp, more)
    }

    fn spawn(
        mut command: Command,
        data: &Path,
        owner: &MailUser,
        imap: SocketAddr,
        lmtp: SocketAddr,
        more: More,
    ) -> anyhow::Result<Self> {
        let log = data.with_extension("log");
        let stderr = fs::File::options().create(true).append(true).open(&log)?;
        command.current_dir(data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        owner.run_as(&mut command);
        let child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
        let mut culver = Self { child, log, imap, lmtp, more };
        culver.wait_until_up()?;
        Ok(culver)
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let more = [self.more.imaps, self.more.pop3, self.more.pop3s];
        for address in [self.imap, self.lmtp].into_iter().chain(more.into_iter().flatten()) {
            while std::net::TcpStream::connect(address).is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("culver ended with {status}: {}", self.log()?);
                }
                if Instant::now() > deadline {
                    bail!("culver does not come up: {}", self.log()?);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// All that it logged, over all starts on this data folder.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, now.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(([127, 0, 0, 1], free_port()?).into())
}

impl Drop for Culver {
    fn drop(&mut self) {
        // It may have been killed already; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
