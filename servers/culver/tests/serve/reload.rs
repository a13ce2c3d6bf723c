//! SIGHUP, SIGTERM, and what systemd is told and hands over.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::program::{CULVER, LISTENERS, PATIENCE, Program};
use nix::sys::signal::Signal;
use testkit::{
    imap::Imap,
    lmtp::Lmtp,
    place::{Place, free_port},
};

const RELOADED: &str = "configuration reloaded";
const KEPT: &str = "configuration not reloaded, the old one stays";

#[test]
fn users_limits_listeners_and_levels_change_without_a_restart() {
    let place = Place::new("reload").unwrap();
    let mut program = Program::start(&place, LISTENERS);
    let mut session = Imap::login(program.imap(), "ann", "secret").unwrap();
    assert!(Imap::login(program.imap(), "cyd", "secret").is_err());

    fs::write(place.path().join("data/users"), "ann:{PLAIN}secret\ncyd:{PLAIN}secret\n").unwrap();
    let port = free_port().unwrap();
    let more = format!(
        "{LISTENERS}\n[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:{port}\"\ntls = \"none\"\n\
         [limits]\nconnections_per_user_max = 1\nmessage_len_max = \"1 kB\"\n"
    );
    program.configure(&more);
    program.reload();
    assert_eq!(program.times_said(RELOADED), 1, "{}", program.log_text());
    let new = ([127, 0, 0, 1], port).into();
    Imap::login(new, "cyd", "secret").unwrap();
    let refused = Imap::login(new, "ann", "secret").unwrap_err().to_string();
    assert!(refused.contains("Too many connections"), "{refused}");
    let replies = Lmtp::connect(program.lmtp()).unwrap().deliver(&["ann"], &[b'x'; 2_000]).unwrap();
    assert_eq!(replies[0].0, 552, "{replies:?}");
    session.ok("NOOP").unwrap();

    // The same place with another kind of TLS.
    program.configure(&more.replace("\"none\"\n[limits]", "\"starttls\"\n[limits]"));
    program.reload();
    let capabilities = Imap::connect(new).unwrap().ok("CAPABILITY").unwrap();
    assert!(String::from_utf8_lossy(&capabilities.untagged[0]).contains(" STARTTLS"), "{capabilities:?}");

    // The listener goes; the session on it stays.
    let mut on_it = None;
    program.wait_for("cyd's first session has ended", |_| {
        on_it = Imap::login(new, "cyd", "secret").ok();
        on_it.is_some()
    });
    let mut on_it = on_it.unwrap();
    program.configure(LISTENERS);
    program.reload();
    program.wait_for("the listener is closed", |_| TcpStream::connect(new).is_err());
    on_it.ok("NOOP").unwrap();
    session.ok("NOOP").unwrap();
    assert!(program.stop().success());
}

#[test]
fn a_broken_file_changes_nothing_and_all_its_errors_are_logged() {
    let place = Place::new("reload-broken").unwrap();
    let mut program = Program::start(&place, LISTENERS);
    program.configure("[limits]\nconections_max = 1\nidle_timeout = 5\n[[listener]]\nprotocol = \"imap\"\n");
    program.reload();
    assert_eq!((program.times_said(RELOADED), program.times_said(KEPT)), (0, 1));
    let log = program.log_text();
    for word in ["did you mean \\\"connections_max\\\"?", "5 lacks a unit", "has no place to listen", "culver.toml:6:1"]
    {
        assert!(log.contains(word), "{word}: {log}");
    }
    Imap::login(program.imap(), "ann", "secret").unwrap();
    // A certificate that cannot be read is such an error too.
    program.configure(&format!("{LISTENERS}[tls]\ncertificate = \"nowhere.pem\"\n"));
    program.reload();
    assert_eq!((program.times_said(RELOADED), program.times_said(KEPT)), (0, 2));
    Imap::login(program.imap(), "ann", "secret").unwrap();
}

#[test]
fn what_needs_a_restart_is_told_by_name() {
    let place = Place::new("reload-restart").unwrap();
    let mut program = Program::start(&place, LISTENERS);
    program.configure(&format!("{LISTENERS}[storage]\nfsync = \"always\"\n[limits]\nconnections_max = 5\n"));
    program.reload();
    let keys: Vec<_> = program.log().into_iter().filter_map(|line| line["key"].as_str().map(str::to_owned)).collect();
    assert_eq!(keys, ["storage.fsync"]);
}

#[test]
fn the_log_can_be_rotated() {
    let place = Place::new("reload-log").unwrap();
    let mut program = Program::start(&place, LISTENERS);
    let (log, old) = (place.path().join("data/log"), place.path().join("data/log.1"));
    fs::rename(&log, &old).unwrap();
    program.signal(Signal::SIGHUP);
    program.wait_for("there is a new log", |program| program.said(RELOADED).is_some());
    assert!(!fs::read_to_string(&log).unwrap().contains("\"listening\""));
    assert!(fs::read_to_string(&old).unwrap().contains("\"listening\""));
}

#[test]
fn sigterm_says_goodbye_in_each_protocol() {
    let place = Place::new("stop").unwrap();
    let pop3 = "[[listener]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"\n";
    let program = Program::start(&place, &format!("{LISTENERS}{pop3}"));
    let connect = |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).unwrap();
        stream
    };
    let mut imap = connect(program.imap());
    let mut lmtp = connect(program.lmtp());
    let mut pop3 = connect(program.address("pop3", "starttls"));
    let status = program.stop();
    assert!(status.success());
    let rest = |stream: &mut TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let (imap, lmtp, pop3) = (rest(&mut imap), rest(&mut lmtp), rest(&mut pop3));
    assert!(imap.ends_with("* BYE Server is shutting down.\r\n"), "{imap}");
    assert!(lmtp.lines().last().unwrap().starts_with("421 4.3.2 "), "{lmtp}");
    assert!(pop3.lines().last().unwrap().starts_with("-ERR"), "{pop3}");
}

/// A client that takes no byte of what it asked for, a long `stop_timeout`, and a second signal.
#[test]
fn a_client_that_does_not_listen_keeps_nobody() {
    let place = Place::new("stop-late").unwrap();
    let message = vec![b'x'; 40 << 20];
    let mut program = Program::start(&place, &format!("{LISTENERS}[limits]\nstop_timeout = \"1 h\"\n"));
    let mut held = Imap::login(program.imap(), "ann", "secret").unwrap();
    assert!(held.append("INBOX", "", None, &message).unwrap().is_ok());
    held.ok("SELECT INBOX").unwrap();
    held.begin("FETCH 1 BODY.PEEK[]").unwrap();
    program.signal(Signal::SIGTERM);
    program.wait_for_signal();
    program.signal(Signal::SIGTERM);
    assert!(program.ended().success());
    drop(held);
}

/// systemd's part is played by a datagram socket.
#[test]
fn systemd_hears_of_start_reload_life_and_stop() {
    let place = Place::new("notify").unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut program = Program::start_by(&place, LISTENERS, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    });
    let wait_for = |word: &str| {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; 4096];
        while Instant::now() < deadline {
            let len = socket.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            if text.lines().any(|line| line == word) {
                return text;
            }
        }
        panic!("{word} was never said");
    };
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    program.signal(Signal::SIGHUP);
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    program.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    assert!(program.ended().success());
}

/// `systemd-socket-activate` hands over a socket by name; the listener of that name takes it and binds nothing.
#[test]
fn a_socket_that_is_handed_over_is_served() {
    let activate = "systemd-socket-activate";
    if std::process::Command::new(activate).arg("--version").output().is_err() {
        return testkit::skip("socket activation", activate);
    }
    let place = Place::new("activation").unwrap();
    let (handed, configured) = (free_port().unwrap(), free_port().unwrap());
    fs::create_dir_all(place.path().join("data")).unwrap();
    fs::write(place.path().join("data/users"), "ann:{PLAIN}secret\n").unwrap();
    let file = place.path().join("culver.toml");
    let config = format!(
        "data = \"data\"\n[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:{configured}\"\ntls = \"none\"\n"
    );
    fs::write(&file, config).unwrap();
    let mut command = std::process::Command::new(activate);
    command.args(["--listen", &format!("127.0.0.1:{handed}"), "--fdname", "imap", CULVER, "serve", "--config"]);
    command
        .arg(&file)
        .current_dir(place.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], handed));
    let deadline = Instant::now() + PATIENCE;
    let outcome = loop {
        match Imap::login(address, "ann", "secret") {
            Ok(imap) => break Ok(imap),
            Err(error) if Instant::now() > deadline => break Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let bound = TcpStream::connect(("127.0.0.1", configured)).is_ok();
    let _ = child.kill();
    let _ = child.wait();
    outcome.unwrap();
    assert!(!bound, "the configured address was bound as well");
}

/// The unit files are right in systemd's own eyes.
#[test]
fn the_unit_files_are_verified() {
    let analyze = "systemd-analyze";
    if std::process::Command::new(analyze).arg("--version").output().is_err() {
        return testkit::skip("verifying the unit files", analyze);
    }
    let place = Place::new("units").unwrap();
    let contrib = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib");
    for unit in ["culver.service", "culver.socket"] {
        // The program is not installed where the unit has it.
        let text = fs::read_to_string(format!("{contrib}/{unit}")).unwrap().replace("/usr/bin/culver", CULVER);
        fs::File::create(place.path().join(unit)).unwrap().write_all(text.as_bytes()).unwrap();
    }
    let service = place.path().join("culver.service");
    let verified = std::process::Command::new(analyze)
        .args(["verify", "--recursive-errors=no", "--man=no"])
        .args([&service, &place.path().join("culver.socket")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("culver."), "{said}");
}
