//! `culver serve` and `culver dump` as a new user meets them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use testkit::{
    dovecot::{self, Dovecot, PASSWORD, Setup},
    fixtures::unpack,
    imap::Imap,
    lmtp::Lmtp,
    place::{MailUser, Place, copy_tree, free_port},
    skip,
};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

struct Server {
    child: Child,
    imap: std::net::SocketAddr,
    lmtp: std::net::SocketAddr,
    /// What stood on standard output before it listened.
    lines: Vec<String>,
}

impl Server {
    fn start(place: &Place, lines: usize) -> Self {
        let address = || ([127, 0, 0, 1], free_port().unwrap()).into();
        let (imap, lmtp): (std::net::SocketAddr, std::net::SocketAddr) = (address(), address());
        let mut child = Command::new(CULVER)
            .args(["serve", "--imap", &imap.to_string(), "--lmtp", &lmtp.to_string()])
            .current_dir(place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let lines = BufReader::new(stdout).lines().take(lines).map(Result::unwrap).collect();
        let server = Self { child, imap, lmtp, lines };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(lmtp).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn stop(mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_start_prints_a_user_and_mail_flows() {
    let place = Place::new("first-start").unwrap();
    let server = Server::start(&place, 2);
    let [user, password] = &server.lines[..] else { panic!("two lines: {:?}", server.lines) };
    let user = user.strip_prefix("user: ").expect("the first line names the user").to_owned();
    let password = password.strip_prefix("password: ").expect("the second line tells the password").to_owned();

    let message = b"Subject: hello\r\n\r\nfirst\r\n";
    let replies = Lmtp::connect(server.lmtp).unwrap().deliver(&[&user], message).unwrap();
    assert_eq!(replies[0].0, 250, "{replies:?}");
    let mut imap = Imap::login(server.imap, &user, &password).unwrap();
    assert_eq!(imap.ok("SELECT INBOX").unwrap().number("EXISTS"), Some(1));
    let fetched = imap.ok("FETCH 1 (BODY.PEEK[])").unwrap().fetches().unwrap();
    assert_eq!(fetched[0].1[0].1.bytes(), message);
    assert!(Imap::login(server.imap, &user, "wrong").is_err());
    assert!(server.stop().success(), "SIGTERM ends it cleanly");

    // The second start finds the user, and prints nothing.
    let mut again = Server::start(&place, 0);
    Imap::login(again.imap, &user, &password).unwrap();
    let mut rest = String::new();
    let stdout = again.child.stdout.take();
    drop(again);
    if let Some(mut stdout) = stdout {
        stdout.read_to_string(&mut rest).unwrap();
    }
    assert_eq!(rest, "");
}

#[test]
fn addresses_beyond_loopback_are_refused() {
    let place = Place::new("not-loopback").unwrap();
    let output =
        Command::new(CULVER).args(["serve", "--imap", "0.0.0.0:0"]).current_dir(place.path()).output().unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("0.0.0.0:0 is not a loopback address"), "{errors}");
}

#[test]
fn dump_decodes_every_kind_of_file() {
    let place = Place::new("dump").unwrap();
    unpack("sdbox", place.path()).unwrap();
    let folder = place.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
    for (file, word) in [
        ("dovecot.index.log", "flag-update"),
        ("dovecot.index.log.2", "append"),
        ("dovecot.index", "modseq"),
        ("dovecot.index.cache", "imap.bodystructure"),
        ("u.1", "c97542115b74026b9d420000c17ffdbc"),
    ] {
        let dump = |json: bool| {
            let mut command = Command::new(CULVER);
            command.arg("dump").arg(folder.join(file)).args(json.then_some("--json"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let text = dump(false);
        let is_guid = word.len() == 32;
        assert!(is_guid || text.to_lowercase().contains(word), "{file}: no {word:?} in\n{text}");
        for line in dump(true).lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{file}: {error}: {line}"));
        }
    }
}

#[test]
fn dump_says_where_a_file_is_damaged() {
    let place = Place::new("dump-damaged").unwrap();
    unpack("sdbox", place.path()).unwrap();
    let path = place.path().join("sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let output = Command::new(CULVER).arg("dump").arg(&path).output().unwrap();
    assert!(output.status.success(), "damage is something to be shown, not a failure");
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains("torn") || last.contains("incomplete") || last.contains("cut"), "{last}");
    let missing = Command::new(CULVER).args(["dump", "/nowhere"]).output().unwrap();
    assert!(!missing.status.success());
}

/// A store that Dovecot made is served in place, and Dovecot goes on with it afterwards.
#[test]
fn serves_a_fixture_as_dovecot_does() {
    if !dovecot::is_installed() {
        return skip("serving a fixture beside Dovecot", "dovecot");
    }
    let place = Place::new("fixture-imap").unwrap();
    let owner = MailUser::for_tests().unwrap();
    let unpacked = place.path().join("unpacked");
    std::fs::create_dir_all(&unpacked).unwrap();
    unpack("sdbox", &unpacked).unwrap();
    let data = place.folder_of(&owner, "data").unwrap();
    testkit::culver::Culver::prepare(&data, &owner, &["ann"]).unwrap();
    copy_tree(&unpacked.join("sdbox"), &data.join("mail/ann"), &owner).unwrap();
    let theirs = place.folder_of(&owner, "theirs").unwrap();
    copy_tree(&unpacked.join("sdbox"), &theirs.join("ann"), &owner).unwrap();

    let culver = testkit::culver::Culver::start(CULVER.as_ref(), &data, &owner).unwrap();
    let setup = Setup { mail_location: format!("sdbox:{}/%u", theirs.display()), users: &["ann"], extra: "" };
    let dovecot = Dovecot::start(place.path(), &owner, &setup).unwrap();
    let shown = |address| {
        let mut imap = Imap::login(address, "ann", PASSWORD).unwrap();
        testkit::observe::Shown::by(&mut imap, testkit::observe::Depth::Bodies).unwrap()
    };
    let (ours, expected) = (shown(culver.imap), shown(dovecot.imap));
    let differences = ours.differences(&expected);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(ours.mailboxes.len() > 5, "there is something to compare");
}
