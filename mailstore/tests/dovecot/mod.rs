//! A real Dovecot on a store: its `imap` program, spoken to over pipes as a pre-authenticated session.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests, whatever clippy takes them for"
)]

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const IMAP: &str = "/usr/lib/dovecot/imap";

/// Whom files belong to when the tests run as root, as which Dovecot serves no mail: `nobody`.
const NOBODY: u32 = 65534;

/// Whether it can be run; says so loudly if not.
pub fn is_installed() -> bool {
    let there = Path::new(IMAP).exists();
    if !there {
        eprintln!("SKIPPED: {IMAP} is not installed, nothing was compared with a real Dovecot");
    }
    there
}

/// A folder with a store that Dovecot and we work on.
pub struct Shared {
    pub dir: tempfile::TempDir,
}

impl Shared {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("culver-dovecot").tempdir().unwrap();
        let (mail, log, run) = (dir.path().join("mail"), dir.path().join("log"), dir.path().join("run"));
        fs::create_dir_all(&run).unwrap();
        let (mail, log, run) = (mail.display(), log.display(), run.display());
        let config = format!(
            "base_dir = {run}\nstate_dir = {run}\nlog_path = {log}\nlog_timestamp =\nssl = no\n\
             mail_location = sdbox:{mail}\nfirst_valid_uid = 1\nstats_writer_socket_path =\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n"
        );
        fs::write(dir.path().join("dovecot.conf"), config).unwrap();
        let shared = Self { dir };
        shared.own();
        shared
    }

    /// Gives all files to whom Dovecot runs as; to be called after changes of ours.
    pub fn own(&self) {
        if is_root() {
            own(self.dir.path());
        }
    }

    /// Has a command run as whom Dovecot runs as.
    pub fn as_dovecot(&self, command: &mut Command) {
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// Starts a session.
    pub fn imap(&self) -> Imap {
        self.own();
        let mut command = Command::new(IMAP);
        command.arg("-c").arg(self.dir.path().join("dovecot.conf"));
        command.env_clear().env("HOME", self.dir.path()).env("USER", "nobody").env("TZ", "UTC");
        self.as_dovecot(&mut command);
        // A session without a server logs there.
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut imap = Imap { child, input, output, tag: 0 };
        let greeting = imap.response();
        assert!(greeting.starts_with(b"* PREAUTH"), "{}", String::from_utf8_lossy(&greeting));
        imap
    }

    /// What Dovecot complained about.
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let is_complaint =
            |line: &&str| ["Warning: ", "Error: ", "Fatal: ", "Panic: "].iter().any(|w| line.contains(w));
        log.lines().filter(is_complaint).map(str::to_owned).collect()
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn own(path: &Path) {
    let done = chown(path, Some(NOBODY), Some(NOBODY)).and_then(|()| {
        if fs::symlink_metadata(path)?.is_dir() {
            fs::read_dir(path)?.try_for_each(|entry| entry.map(|entry| own(&entry.path())))?;
        }
        Ok(())
    });
    // Somebody who works on the store at the same time has removed or renamed it.
    assert!(done.as_ref().err().is_none_or(|e| e.kind() == ErrorKind::NotFound), "{}: {done:?}", path.display());
}

/// A session.
pub struct Imap {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    tag: u32,
}

impl Imap {
    /// Sends a command, whose literals must be `{n+}`, and returns the untagged responses; it must succeed.
    pub fn run(&mut self, command: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        let command = command.as_ref();
        self.input.write_all(&[tag.as_bytes(), command, b"\r\n"].concat()).unwrap();
        let mut responses = Vec::new();
        loop {
            let response = self.response();
            match response.strip_prefix(tag.as_bytes()) {
                Some(rest) => {
                    let text = String::from_utf8_lossy(rest).into_owned();
                    assert!(text.starts_with("OK"), "{}: {text}", String::from_utf8_lossy(command));
                    return responses;
                }
                None => responses.push(response),
            }
        }
    }

    /// A response with its literals, without the last line end.
    fn response(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        loop {
            let start = response.len();
            let read = self.output.read_until(b'\n', &mut response).unwrap();
            assert!(read > 0, "Dovecot ended: {}", String::from_utf8_lossy(&response));
            let line = response[start..].strip_suffix(b"\r\n").unwrap();
            let literal = line.strip_suffix(b"}").and_then(|line| {
                let open = line.iter().rposition(|b| *b == b'{')?;
                std::str::from_utf8(&line[open + 1..]).ok()?.parse::<usize>().ok()
            });
            let Some(len) = literal else {
                response.truncate(response.len() - 2);
                return response;
            };
            let from = response.len();
            response.resize(from + len, 0);
            self.output.read_exact(&mut response[from..]).unwrap();
        }
    }
}

impl Drop for Imap {
    fn drop(&mut self) {
        let _ = self.input.write_all(b"z LOGOUT\r\n");
        let _ = self.child.wait();
    }
}
