//! `culver serve` and `culver dump` as a new user meets them.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::program::{CULVER, LISTENERS, Program, http_get};
use testkit::{
    culver::Culver,
    dovecot::PASSWORD,
    fixtures::unpack,
    imap::Imap,
    lmtp::Lmtp,
    place::{MailUser, Place, free_port},
    tree::{Tree, walk},
};

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
    // Below the fields that delivery puts on top.
    assert!(fetched[0].1[0].1.bytes().ends_with(message));
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

/// Without a file there are all protocols, in TLS with a certificate of its own, and a certificate that is kept.
#[test]
fn the_first_start_has_tls() {
    let place = Place::new("first-tls").unwrap();
    let server = Server::start(&place, 2);
    let certificate = place.path().join("culver-data/tls/self-made-certificate.pem");
    let made = std::fs::read(&certificate).unwrap();
    let mut imap = Imap::connect(server.imap).unwrap();
    let capabilities = imap.ok("CAPABILITY").unwrap();
    assert!(String::from_utf8_lossy(&capabilities.untagged[0]).contains(" STARTTLS"), "{capabilities:?}");
    assert!(server.stop().success());
    let again = Server::start(&place, 0);
    assert_eq!(std::fs::read(&certificate).unwrap(), made);
    drop(again);
}

/// What goes to Prometheus, before and after some mail.
#[test]
fn figures_are_counted() {
    let place = Place::new("metrics").unwrap();
    let metrics = "[[listener]]\nprotocol = \"metrics\"\naddress = \"127.0.0.1:0\"\n[login]\npenalty_first = \"0 s\"\n";
    let mut program = Program::start(&place, &format!("{LISTENERS}{metrics}[limits]\nfailed_login_delay = \"1 ms\"\n"));
    let address = program.address("metrics", "none");
    let value = |name: &str| {
        let (head, body) = http_get(address, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"), "{head}");
        let line = body.lines().find(|line| line.rsplit_once(' ').is_some_and(|(series, _)| series == name));
        line.unwrap_or_else(|| panic!("no {name} in\n{body}")).rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(value("culver_sessions_total{protocol=\"imap\"}"), 0.0);
    let replies = Lmtp::connect(program.lmtp()).unwrap().deliver(&["ann", "bob"], b"Subject: hello\r\n\r\n").unwrap();
    assert!(replies.iter().all(|reply| reply.0 == 250), "{replies:?}");
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    assert!(Imap::login(program.imap(), "ann", "wrong").is_err());
    for (name, least) in [
        ("culver_sessions_total{protocol=\"imap\"}", 2.0),
        ("culver_sessions_total{protocol=\"lmtp\"}", 1.0),
        ("culver_commands_total{protocol=\"imap\"}", 3.0),
        ("culver_commands_total{protocol=\"lmtp\"}", 4.0),
        ("culver_received_bytes_total{protocol=\"imap\"}", 40.0),
        ("culver_sent_bytes_total{protocol=\"lmtp\"}", 40.0),
        ("culver_connections{protocol=\"imap\"}", 1.0),
        ("culver_selected_mailboxes", 1.0),
        ("culver_commit_seconds_count", 2.0),
        ("culver_pool_busy_threads{pool=\"storage\"}", 0.0),
        ("process_resident_memory_bytes", 1e6),
    ] {
        assert!(value(name) >= least, "{name} is {}", value(name));
    }
    for (name, exactly) in [
        ("culver_logins_total{outcome=\"ok\"}", 1.0),
        ("culver_logins_total{outcome=\"failed\"}", 1.0),
        ("culver_deliveries_total{outcome=\"ok\"}", 2.0),
        ("culver_deliveries_total{outcome=\"failed\"}", 0.0),
    ] {
        assert_eq!(value(name), exactly, "{name}");
    }
    drop(imap);
    program.wait_for("nothing is selected", |_| value("culver_selected_mailboxes") == 0.0);
    assert!(http_get(address, "/").0.starts_with("HTTP/1.1 404 "));

    // Every figure is documented, and nothing else is.
    let body = http_get(address, "/metrics").1;
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let mut told: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut documented: Vec<_> = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    told.sort_unstable();
    documented.sort_unstable();
    assert_eq!(told, documented);
}

/// A line for each session and each delivery, and no password in any.
#[test]
fn the_log_has_a_line_for_each_session_and_delivery_and_no_secret() {
    let place = Place::new("log").unwrap();
    let mut program = Program::start(
        &place,
        &format!(
            "{LISTENERS}[[listener]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"\n[limits]\nfailed_login_delay = \"1 ms\"\n\
         [log]\ntarget = \"log\"\nformat = \"json\"\nlevel = \"trace\"\n"
        ),
    );
    Lmtp::connect(program.lmtp()).unwrap().deliver(&["ann"], b"Subject: hello\r\n\r\n").unwrap();
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("FETCH 1 BODY[]").unwrap();
    imap.ok("LOGOUT").unwrap();
    assert!(Imap::login(program.imap(), "ann", "hidden-word").is_err());
    let mut pop3 = std::net::TcpStream::connect(program.address("pop3", "starttls")).unwrap();
    std::io::Write::write_all(&mut pop3, b"USER ann\r\nPASS secret\r\nSTAT\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    pop3.read_to_string(&mut said).unwrap();
    assert!(said.contains("+OK 1 "), "{said}");
    for message in ["IMAP session ended", "POP3 session ended", "LMTP session ended", "delivered"] {
        program.wait_for(message, |program| program.said(message).is_some());
    }
    let line = |message: &str| program.log().into_iter().find(|line| line["message"] == message).unwrap();
    let session = line("IMAP session ended");
    assert_eq!((session["user"].as_str(), session["bodies"].as_u64()), (Some("ann"), Some(1)), "{session}");
    for key in ["peer", "seconds", "bytes_in", "bytes_out", "commands", "timestamp", "level"] {
        assert!(!session[key].is_null(), "no {key} in {session}");
    }
    let delivered = line("delivered");
    for key in ["user", "peer", "mailbox", "uid", "size"] {
        assert!(!delivered[key].is_null(), "no {key} in {delivered}");
    }
    for key in ["user", "peer", "seconds", "bytes_in", "bytes_out"] {
        assert!(!line("POP3 session ended")[key].is_null(), "no {key} in {}", line("POP3 session ended"));
    }
    let log = program.log_text();
    for secret in ["hidden-word", "secret", "c2VjcmV0"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// Postfix delivers by a unix socket; what a dead server left there is replaced.
#[test]
fn unix_sockets_have_their_mode_and_outlive_a_kill() {
    let place = Place::new("unix").unwrap();
    let listener = "[[listener]]\nprotocol = \"lmtp\"\nsocket = \"lmtp.socket\"\nmode = \"0660\"\n";
    let path = place.path().join("data/lmtp.socket");
    let mut program = Program::start(&place, listener);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    program.signal(nix::sys::signal::Signal::SIGKILL);
    program.ended();
    assert!(path.exists());
    let program = Program::start_by(&place, listener, |_| {
        std::fs::remove_file(place.path().join("data/log")).unwrap();
    });
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let talk = b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nSubject: hello\r\n\r\n.\r\nQUIT\r\n";
    std::io::Write::write_all(&mut stream, talk).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("\r\n250 2.0.0 "), "{said}");
    assert!(program.stop().success());
    assert!(!path.exists(), "the socket goes with the server");
}

/// `{domain}/{local}`, with folders that are made when the first mail comes.
#[test]
fn paths_follow_the_template() {
    let place = Place::new("template").unwrap();
    std::fs::create_dir_all(place.path().join("data")).unwrap();
    std::fs::write(place.path().join("data/users"), "ann@example.org:{PLAIN}secret\ndot@..:{PLAIN}secret\n").unwrap();
    let program = Program::start(&place, &format!("{LISTENERS}[storage]\npath = \"mail/{{domain}}/{{local}}\"\n"));
    let mut lmtp = Lmtp::connect(program.lmtp()).unwrap();
    let replies = lmtp.deliver(&["ann@example.org"], b"Subject: hello\r\n\r\n").unwrap();
    assert_eq!(replies[0].0, 250, "{replies:?}");
    assert!(place.path().join("data/mail/example.org/ann/mailboxes/INBOX").exists());
    assert!(Imap::login(program.imap(), "dot@..", "secret").is_err());
    assert!(!place.path().join("data/dot").exists());
}

/// A Maildir that no server has opened yet has no UIDs: those of a session that may not write are no others'. Nobody may write
/// there, and where the tests run as root the files are not even the server's.
#[test]
fn a_maildir_without_uids_is_only_read() {
    let place = Place::new("not-sticky").unwrap();
    let owner = MailUser::for_tests().unwrap();
    let data = place.folder_of(&owner, "data").unwrap();
    Culver::prepare(&data, &owner, &["ann"]).unwrap();
    let mail = data.join("mail/ann");
    for folder in ["cur", "new", "tmp", ".Work/cur", ".Work/new", ".Work/tmp"] {
        std::fs::create_dir_all(mail.join(folder)).unwrap();
    }
    std::fs::write(mail.join("new/1000000001.M1P1.host"), "Subject: one\n\none\n").unwrap();
    std::fs::write(mail.join(".Work/cur/1000000002.M1P1.host:2,S"), "Subject: two\n\ntwo\n").unwrap();
    let allow = |write: u32| {
        for path in walk(&mail).unwrap() {
            let mode = if path.is_dir() { 0o555 | write } else { 0o444 | write };
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    allow(0);
    let tree = Tree::note(&mail).unwrap();
    let settings = ["storage.read_only=true", "storage.separator=/"];
    let culver = Culver::start_set(CULVER.as_ref(), &data, &owner, &settings).unwrap();
    let mut imap = Imap::login(culver.imap, "ann", PASSWORD).unwrap();
    for mailbox in ["INBOX", "Work"] {
        let selected = imap.ok(&format!("SELECT {mailbox}")).unwrap();
        assert!(selected.code("READ-ONLY").is_some(), "{}", selected.text);
        assert!(selected.untagged_code("UIDNOTSTICKY").is_some(), "{selected:?}");
        assert_eq!(selected.number("EXISTS"), Some(1));
        assert_eq!(imap.ok("UID FETCH 1 (FLAGS BODY[])").unwrap().fetches().unwrap().len(), 1);
        assert_eq!(imap.command("STORE 1 +FLAGS (\\Seen)").unwrap().status, "NO");
    }
    drop((imap, culver));
    // The system lets only who owns a file leave its time of access.
    assert_eq!(tree.changes_but_access().unwrap(), [""; 0]);
    allow(0o200);
}

/// What a Maildir's names are to tell is written by the log until they are durable, also where the mailbox is elsewhere by
/// then.
#[test]
fn a_mailbox_is_renamed_before_its_flags_are_durable() {
    let place = Place::new("renamed").unwrap();
    let mut program = Program::start(&place, &format!("{LISTENERS}[storage]\nformat = \"maildir\"\n"));
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    for number in 0..20 {
        imap.ok(&format!("CREATE old{number}")).unwrap();
        let answer = imap.append(&format!("old{number}"), "", None, b"Subject: hello\r\n\r\n").unwrap();
        assert!(answer.is_ok(), "{answer:?}");
        imap.ok(&format!("SELECT old{number}")).unwrap();
        imap.ok("STORE 1 FLAGS.SILENT (\\Flagged)").unwrap();
        imap.ok("UNSELECT").unwrap();
        imap.ok(&format!("RENAME old{number} new{number}")).unwrap();
    }
    program.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(program.ended().success());
    let log = program.log_text();
    assert!(!log.contains("not durable"), "{log}");
    for number in 0..20 {
        let cur = place.path().join(format!("data/mail/ann/.new{number}/cur"));
        let name = std::fs::read_dir(cur).unwrap().next().unwrap().unwrap().file_name();
        assert!(name.to_string_lossy().ends_with(":2,F"), "{name:?}");
    }
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
