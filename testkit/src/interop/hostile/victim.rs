//! The server that is attacked, and the well-behaved client beside the attackers.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::{
    culver::{Culver, Start},
    dovecot::PASSWORD,
    imap::Imap,
    interop::StoreFormat,
    place::{MailUser, Place},
};

/// Whom the attackers are.
pub(super) const EVE: &str = "eve";
/// Who only wants to read mail.
const ANN: &str = "ann";
/// How long an attacker waits for an answer that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// Messages that the well-behaved client reads in a round.
const READ: usize = 10;

/// A server with the users `ann`, who behaves, and `eve`, who does not.
#[derive(Debug)]
pub struct Victim {
    culver: Culver,
    /// Held by the well-behaved client during a round.
    turn: Mutex<()>,
    served: AtomicUsize,
    _place: Place,
}

impl Victim {
    /// Starts a server on an empty store and gives ann some mail.
    pub(super) fn start(program: &Path, format: StoreFormat, settings: &[&str]) -> anyhow::Result<Self> {
        let (place, owner) = (Place::new("hostile")?, MailUser::for_tests()?);
        let data = place.folder_of(&owner, "data")?;
        Culver::prepare(&data, &owner, &[ANN, EVE])?;
        // Stores are filled faster when nobody waits for the disk; what is measured here is not the disk.
        let format = format.culver_settings();
        let format = format.iter().map(String::as_str);
        let settings: Vec<_> = settings.iter().copied().chain(["storage.fsync=never"]).chain(format).collect();
        let start = Start { pop3: true, tls: None, settings: &settings };
        let culver = Culver::start_with(program, &data, &owner, start)?;
        let victim = Self { culver, turn: Mutex::new(()), served: AtomicUsize::new(0), _place: place };
        let mut imap = Imap::login(victim.imap(), ANN, PASSWORD)?;
        for number in 0..READ {
            let answer = imap.append("INBOX", "", None, format!("Subject: {number}\r\n\r\nHello.\r\n").as_bytes())?;
            ensure!(answer.is_ok(), "filling: {answer:?}");
        }
        Ok(victim)
    }

    pub(super) fn imap(&self) -> SocketAddr {
        self.culver.imap
    }

    pub(super) fn lmtp(&self) -> SocketAddr {
        self.culver.lmtp
    }

    pub(super) fn pop3(&self) -> anyhow::Result<SocketAddr> {
        self.culver.more.pop3.context("started without POP3")
    }

    /// An IMAP session of eve's.
    pub(super) fn eve(&self) -> anyhow::Result<Imap> {
        let mut imap = Imap::login(self.imap(), EVE, PASSWORD)?;
        imap.patience(PATIENCE)?;
        Ok(imap)
    }

    /// What the system counts of the server in `/proc/PID/status`, in KiB.
    pub(super) fn memory_kib(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.culver.pid()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.and_then(|value| value.split_whitespace().next()).context("the server is gone")?;
        Ok(value.parse()?)
    }

    /// Begins a new peak (`VmHWM`).
    pub(super) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.culver.pid()), "5")?)
    }

    /// What the server has computed so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.culver.pid()))?;
        let (_, rest) = stat.rsplit_once(") ").context("stat without a name")?;
        let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux that Rust runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Rounds of the well-behaved client.
    pub(super) fn rounds_alone(&self, count: usize) -> anyhow::Result<Vec<Duration>> {
        (0..count).map(|_| self.round()).collect()
    }

    /// A round of it: log in, SELECT, read, APPEND, log out.
    fn round(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut imap = Imap::login(self.imap(), ANN, PASSWORD)?;
        imap.ok("SELECT INBOX")?;
        let fetched = imap.ok(&format!("FETCH 1:{READ} (FLAGS ENVELOPE BODY.PEEK[])"))?.fetches()?.len();
        ensure!(fetched == READ, "{fetched} messages of {READ}");
        let answer = imap.append("Drafts", "\\Seen", None, b"Subject: draft\r\n\r\nHello.\r\n")?;
        if !answer.is_ok() {
            imap.ok("CREATE Drafts")?;
        }
        imap.ok("LOGOUT")?;
        Ok(start.elapsed())
    }

    /// Does something while the well-behaved client goes round and round; its rounds.
    pub(super) fn meanwhile<T>(
        &self,
        attack: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Vec<Duration>)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut rounds = Vec::new();
                while !is_over.load(Ordering::Acquire) {
                    let turn = self.keep_away();
                    let round = self.round().inspect_err(|_| self.served.store(GAVE_UP, Ordering::Release))?;
                    drop(turn);
                    rounds.push(round);
                    self.served.fetch_add(1, Ordering::AcqRel);
                    thread::sleep(Duration::from_millis(50));
                }
                anyhow::Ok(rounds)
            });
            let attacked = attack();
            is_over.store(true, Ordering::Release);
            let rounds = client.join().map_err(|_| anyhow::anyhow!("the well-behaved client panicked"))?;
            Ok((attacked?, rounds.context("the well-behaved client")?))
        })
    }

    /// Waits, in the middle of an attack, until the well-behaved client has been served once more from login to LOGOUT.
    pub(super) fn serve_once(&self) -> anyhow::Result<()> {
        let served = self.served.load(Ordering::Acquire);
        let start = Instant::now();
        // The round that is under way may have begun before.
        while self.served.load(Ordering::Acquire) < served + 2 {
            let gave_up = self.served.load(Ordering::Acquire) >= GAVE_UP;
            ensure!(!gave_up && start.elapsed() < PATIENCE, "the well-behaved client is not served");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Has the well-behaved client stay away, once it is done with its round, for as long as the guard lives.
    pub(super) fn keep_away(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server answers, and no part of it panicked.
    pub(super) fn check_alive(&self) -> anyhow::Result<()> {
        self.round().context("after the attack")?;
        let log = self.culver.log()?;
        match log.lines().find(|line| line.contains("panicked")) {
            Some(line) => bail!("in the log: {line}"),
            None => Ok(()),
        }
    }
}

/// What is counted as served when the well-behaved client has failed.
const GAVE_UP: usize = usize::MAX / 2;

/// Connects from an address of loopback, 127.0.0.`host`.
pub(super) fn connect_from(host: u8, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let SocketAddr::V4(to) = to else { bail!("not an address of IPv4: {to}") };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
    let stream = TcpStream::from(socket);
    patient(&stream)?;
    Ok(stream)
}

/// Connects, with the timeouts of an attacker.
pub(super) fn open(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    patient(&stream)?;
    Ok(stream)
}

fn patient(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream.set_write_timeout(Some(PATIENCE))?)
}

/// Reads a line, byte for byte; what there is if the server closes.
pub(super) fn line(stream: &mut TcpStream) -> anyhow::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// A session of eve's by plain text, `before` said and answered; answers are not read beyond that.
pub(super) fn eve_raw(to: SocketAddr, before: &[&str]) -> anyhow::Result<TcpStream> {
    let mut stream = open(to)?;
    line(&mut stream)?;
    for command in [&format!("LOGIN {EVE} {PASSWORD}")[..]].iter().chain(before) {
        stream.write_all(format!("x {command}\r\n").as_bytes())?;
        loop {
            let answer = line(&mut stream)?;
            ensure!(!answer.is_empty(), "closed after {command}");
            if let Some(status) = answer.strip_prefix("x ") {
                ensure!(status.starts_with("OK"), "{command}: {status}");
                break;
            }
        }
    }
    Ok(stream)
}

/// What the server says until it closes, at most `max` bytes of it kept.
pub(super) fn last_words(mut stream: TcpStream, max: usize) -> anyhow::Result<String> {
    let (mut said, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                said.extend_from_slice(&buffer[..len]);
                said.drain(..said.len().saturating_sub(max));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error).context("it does not close"),
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Sends without reading, until all is sent or the server takes nothing for two seconds or closes; the bytes it took.
pub(super) fn push(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<usize> {
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) | Err(_) => break,
            Ok(len) => sent += len,
        }
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(sent)
}

/// Nothing to prepare.
pub(super) fn nothing(_: &Victim, _: super::Scale) -> anyhow::Result<()> {
    Ok(())
}
