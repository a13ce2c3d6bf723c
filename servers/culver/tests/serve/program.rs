//! `culver serve` with a configuration of the test's, its log as JSON, its ports chosen by the system.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use testkit::place::Place;

pub(crate) const CULVER: &str = env!("CARGO_BIN_EXE_culver");
/// How long anything is waited for before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, killed when dropped.
pub(crate) struct Program {
    child: Child,
    file: PathBuf,
    log: PathBuf,
}

/// Listeners of IMAP and LMTP on ports that the system chooses.
pub(crate) const LISTENERS: &str = "
[[listener]]
protocol = \"imap\"
address = \"127.0.0.1:0\"

[[listener]]
protocol = \"lmtp\"
address = \"127.0.0.1:0\"
tls = \"none\"
";

impl Program {
    /// Writes the configuration into the place and starts; the user `ann` has the password `secret`.
    pub(crate) fn start(place: &Place, sections: &str) -> Self {
        Self::start_by(place, sections, |_| {})
    }

    /// The same, with a command that is changed first.
    pub(crate) fn start_by(place: &Place, sections: &str, change: impl FnOnce(&mut Command)) -> Self {
        let (file, log) = (place.path().join("culver.toml"), place.path().join("data/log"));
        fs::create_dir_all(place.path().join("data")).unwrap();
        let users = place.path().join("data/users");
        if !users.exists() {
            fs::write(&users, "ann:{PLAIN}secret\nbob:{PLAIN}secret\n").unwrap();
        }
        write_config(&file, sections);
        let mut command = Command::new(CULVER);
        command.args(["serve", "--config"]).arg(&file).current_dir(place.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        change(&mut command);
        let child = command.spawn().unwrap();
        let mut program = Self { child, file, log };
        program.wait_for("it listens", |program| program.said("ready").is_some());
        program
    }

    pub(crate) fn configure(&self, sections: &str) {
        write_config(&self.file, sections);
    }

    /// Every line of the log that is whole.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last line with that message.
    pub(crate) fn said(&self, message: &str) -> Option<Value> {
        self.log().into_iter().rfind(|line| line["message"] == message)
    }

    /// How many lines have that message.
    pub(crate) fn times_said(&self, message: &str) -> usize {
        self.log().iter().filter(|line| line["message"] == message).count()
    }

    /// Where the listener is that was opened last for a protocol.
    pub(crate) fn address(&self, protocol: &str, tls: &str) -> SocketAddr {
        let is_it = |line: &Value| line["message"] == "listening" && line["protocol"] == protocol && line["tls"] == tls;
        let line = self.log().into_iter().rfind(is_it).unwrap_or_else(|| panic!("no {protocol} with {tls}"));
        line["address"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn imap(&self) -> SocketAddr {
        self.address("imap", "starttls")
    }

    pub(crate) fn lmtp(&self) -> SocketAddr {
        self.address("lmtp", "none")
    }

    pub(crate) fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("waiting until {what}: ended with {status}\n{}", self.log_text());
            }
            assert!(Instant::now() < deadline, "waiting until {what}:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// SIGHUP, and waits until it has taken effect or was refused.
    pub(crate) fn reload(&mut self) {
        let told = |program: &Self| {
            program.times_said("configuration reloaded")
                + program.times_said("configuration not reloaded, the old one stays")
        };
        let before = told(self);
        self.signal(Signal::SIGHUP);
        self.wait_for("it has reloaded", |program| told(program) > before);
    }

    /// Waits until it has heard of a signal to stop.
    pub(crate) fn wait_for_signal(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.said("stopping on SIGTERM").is_none() {
            assert!(Instant::now() < deadline, "it does not stop:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(file: &Path, sections: &str) {
    let log = if sections.contains("[log]") { "" } else { "[log]\ntarget = \"log\"\nformat = \"json\"\n" };
    fs::write(file, format!("data = \"data\"\n{log}{sections}")).unwrap();
}

/// One request to an address over HTTP; the answer's head and body.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: culver\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
