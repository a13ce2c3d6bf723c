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
        let (imap, lmtp) = (free_port()?, free_port()?);
        let (imap, lmtp): (SocketAddr, SocketAddr) = (([127, 0, 0, 1], imap).into(), ([127, 0, 0, 1], lmtp).into());
        let log = data.with_extension("log");
        let stderr = fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(program);
        command.args(["serve", "--data"]).arg(data);
        command.args(["--imap", &imap.to_string(), "--lmtp", &lmtp.to_string()]);
        command.current_dir(data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        owner.run_as(&mut command);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut culver = Self { child, log, imap, lmtp };
        culver.wait_until_up()?;
        Ok(culver)
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        for address in [self.imap, self.lmtp] {
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

impl Drop for Culver {
    fn drop(&mut self) {
        // It may have been killed already; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
