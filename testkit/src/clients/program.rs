//! Runs a program to its end, with bounds.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::place::MailUser;

/// How long a program may take. Far more than any needs, so that only one that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program to be run with a home of its own. What it prints goes to files: a pipe that a daemon inherited would never
/// end.
#[derive(Debug)]
pub struct Program {
    command: Command,
    home: PathBuf,
    stdin: Vec<u8>,
    said: PathBuf,
}

/// What a program came to.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it complained of, as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl Program {
    /// A program at `path`, that will think `home` its user's home and start there. Nothing of the environment but the
    /// path is handed on.
    pub fn new(path: &Path, home: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(path);
        command.env_clear().env("HOME", home).env("LC_ALL", "C.UTF-8").env("TERM", "xterm").current_dir(home);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let said = home.join(format!("{name}.{number}"));
        Self { command, home: home.to_owned(), stdin: Vec::new(), said }
    }

    /// Its arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads.
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Has it run as another than root: some refuse root.
    pub fn run_as(mut self, user: &MailUser) -> anyhow::Result<Self> {
        user.own(&self.home)?;
        user.run_as(&mut self.command);
        Ok(self)
    }

    /// Starts it; the caller ends it.
    pub fn spawn(&mut self) -> anyhow::Result<Child> {
        let stdin = self.said.with_added_extension("in");
        fs::write(&stdin, &self.stdin)?;
        self.command.stdin(fs::File::open(stdin)?);
        self.command.stdout(fs::File::create(self.said.with_added_extension("out"))?);
        self.command.stderr(fs::File::create(self.said.with_added_extension("err"))?);
        self.command.spawn().with_context(|| format!("starting {:?}", self.command))
    }

    /// Runs it to its end, whatever that is.
    pub fn run(mut self) -> anyhow::Result<Ran> {
        let mut child = self.spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                anyhow::bail!("{} does not end\n{}", self.name(), self.said()?.errors());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        Ok(Ran { status, ..self.said()? })
    }

    fn name(&self) -> String {
        let arguments = self.command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        format!("{} {arguments}", self.command.get_program().display())
    }

    fn said(&self) -> anyhow::Result<Ran> {
        let read = |extension| fs::read(self.said.with_added_extension(extension));
        Ok(Ran { status: ExitStatus::default(), stdout: read("out")?, stderr: read("err")? })
    }

    /// Runs it, and anything but success is an error.
    pub fn ok(self) -> anyhow::Result<Ran> {
        let what = self.name();
        let ran = self.run()?;
        ensure!(ran.status.success(), "{what}: {}\n{}\n{}", ran.status, ran.text(), ran.errors());
        Ok(ran)
    }
}
