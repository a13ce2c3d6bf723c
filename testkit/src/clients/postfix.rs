//! A Postfix of a test's own, which hands all mail to an LMTP server.
//!
//! It has its own configuration, queue and log. Of the system's it uses the programs and the `postfix` user; its master
//! process must be root's. It is told to leave messages as they are: no rewriting, no header dropped, no line split.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};

use crate::{lmtp::dot_stuffed, place::free_port, wire::Input};

/// How long a queue may take to empty: far longer than it needs.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running Postfix, stopped when dropped.
#[derive(Debug)]
pub struct Postfix {
    folder: PathBuf,
    master: Child,
    /// Where it takes mail by SMTP.
    pub smtp: SocketAddr,
}

/// A message with its envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SentMessage {
    /// The reverse path, without brackets.
    pub sender: String,
    /// The forward paths, without brackets.
    pub recipients: Vec<String>,
    /// Header and body with CRLF line ends.
    pub bytes: Vec<u8>,
}

impl Postfix {
    /// Starts one with its files in `folder`, which must be open to all users' searches. Mail goes to `lmtp`.
    pub fn start(folder: &Path, lmtp: SocketAddr) -> anyhow::Result<Self> {
        let smtp: SocketAddr = ([127, 0, 0, 1], free_port()?).into();
        let folder = folder.join("postfix");
        for name in ["conf", "queue", "data"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let user = User::from_name("postfix")?.context("there is no user postfix")?;
        chown(folder.join("data"), Some(user.uid.as_raw()), None)?;
        fs::write(folder.join("conf/main.cf"), main_cf(&folder, lmtp))?;
        fs::write(folder.join("conf/master.cf"), master_cf(smtp))?;
        let mut check = Command::new("/usr/sbin/postfix");
        let check = check.arg("-c").arg(folder.join("conf")).arg("check").stdin(Stdio::null()).output()?;
        let complaints = String::from_utf8_lossy(&check.stderr).into_owned();
        ensure!(check.status.success(), "postfix check: {complaints}{}", log(&folder));
        let mut command = Command::new("/usr/lib/postfix/sbin/master");
        command.arg("-d").arg("-c").arg(folder.join("conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("stderr"))?);
        // When it ends, it kills its process group.
        command.process_group(0);
        let master = command.spawn().context("starting Postfix's master")?;
        let mut postfix = Self { folder, master, smtp };
        postfix.wait_until_up()?;
        Ok(postfix)
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // The master listens before it knows whether a server can be started.
        while !self.greets() {
            if let Some(status) = self.master.try_wait()? {
                bail!("Postfix ended with {status}: {}", self.log());
            }
            ensure!(!self.log().contains("fatal:"), "Postfix does not come up: {}", self.log());
            ensure!(Instant::now() < deadline, "Postfix does not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn greets(&self) -> bool {
        let greeting = TcpStream::connect(self.smtp).and_then(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            Input::new(stream).line()
        });
        greeting.is_ok_and(|line| line.starts_with(b"220"))
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    /// Hands in messages over one connection, each of which must be taken.
    pub fn send<'a>(&self, messages: impl IntoIterator<Item = &'a SentMessage>) -> anyhow::Result<()> {
        let stream = TcpStream::connect(self.smtp)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut smtp = Smtp { input: Input::new(stream) };
        smtp.expect("220")?;
        smtp.command("EHLO client.test.example", "250")?;
        for message in messages {
            smtp.command(&format!("MAIL FROM:<{}> BODY=8BITMIME", message.sender), "250")?;
            for recipient in &message.recipients {
                smtp.command(&format!("RCPT TO:<{recipient}>"), "250")?;
            }
            smtp.command("DATA", "354")?;
            smtp.write(&dot_stuffed(&message.bytes))?;
            smtp.expect("250")?;
        }
        smtp.command("QUIT", "221")
    }

    /// Waits until nothing is left to deliver. What was sent back or put off is an error.
    pub fn wait_until_empty(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.queued()? > 0 {
            let put_off = self.folder.join("queue/deferred");
            ensure!(count_files(&put_off)? == 0, "mail was put off: {}", self.troubles());
            ensure!(Instant::now() < deadline, "the queue does not empty: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let troubles = self.troubles();
        ensure!(troubles.is_empty(), "not all was delivered: {troubles}");
        Ok(())
    }

    fn queued(&self) -> anyhow::Result<usize> {
        // In the order in which a message passes them, so that none is missed on its way.
        let queues = ["maildrop", "incoming", "active", "deferred", "hold"];
        queues.iter().map(|queue| count_files(&self.folder.join("queue").join(queue))).sum()
    }

    /// The lines of the log about deliveries that did not succeed.
    fn troubles(&self) -> String {
        let log = self.log();
        let bad = ["status=deferred", "status=bounced", "warning:", "fatal:", "panic:"];
        let lines = log.lines().filter(|line| bad.iter().any(|word| line.contains(word)));
        lines.take(10).collect::<Vec<_>>().join("\n")
    }

    /// How many deliveries it says the LMTP server took.
    pub fn deliveries(&self) -> usize {
        self.log().lines().filter(|line| line.contains("status=sent")).count()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.master.id().cast_signed());
        // The master ends its children before itself.
        if kill(pid, Signal::SIGTERM).is_ok() {
            let _ = self.master.wait();
        }
    }
}

fn log(folder: &Path) -> String {
    fs::read(folder.join("mail.log")).map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into_owned())
}

fn count_files(folder: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn main_cf(folder: &Path, lmtp: SocketAddr) -> String {
    let folder = folder.display();
    let (address, port) = (lmtp.ip(), lmtp.port());
    format!(
        "compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.test.example
mydestination =
alias_maps =
alias_database =
default_transport = lmtp:inet:[{address}]:{port}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
local_header_rewrite_clients =
message_drop_headers =
disable_mime_input_processing = yes
lmtp_line_length_limit = 0
header_size_limit = 1024000
in_flow_delay = 0
smtp_dns_support_level = disabled
"
    )
}

fn master_cf(smtp: SocketAddr) -> String {
    format!(
        "{smtp} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"
    )
}

struct Smtp {
    input: Input<TcpStream>,
}

impl Smtp {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.input.stream();
        Ok(stream.write_all(bytes)?)
    }

    fn command(&mut self, command: &str, code: &str) -> anyhow::Result<()> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.expect(code).with_context(|| command.to_owned())
    }

    fn expect(&mut self, code: &str) -> anyhow::Result<()> {
        loop {
            let line = String::from_utf8_lossy(&self.input.line()?).into_owned();
            ensure!(line.starts_with(code), "expected {code}: {line}");
            if !line[code.len()..].starts_with('-') {
                return Ok(());
            }
        }
    }
}
