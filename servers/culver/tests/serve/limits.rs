//! Each limit of the configuration, met by a client: what it is told, and that the server goes on.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use culver_runtime::sasl::{decode_base64, encode_base64};

use crate::program::{LISTENERS, PATIENCE, Program};
use testkit::{imap::Imap, lmtp::Lmtp, place::Place};

fn started(place: &Place, limits: &str) -> Program {
    Program::start(
        place,
        &format!("{LISTENERS}[limits]\nfailed_login_delay = \"1 ms\"\n{limits}\n[login]\npenalty_first = \"0 s\"\n"),
    )
}

/// Sends everything and reads until the server closes.
fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

const LOGIN: &str = "a LOGIN ann secret\r\n";

#[test]
fn lines_literals_and_nesting() {
    let place = Place::new("limit-lines").unwrap();
    let limits = "line_len_max = \"8 KiB\"\nliteral_len_max = \"4 KiB\"\nprelogin_literal_len_max = \"1 KiB\"\nsearch_depth_max = 5";
    let program = started(&place, limits);
    let imap = program.imap();
    let said = talk(imap, format!("{LOGIN}b NOOP {}\r\n", "x".repeat(9_000)).as_bytes());
    assert!(said.contains("Line too long.") && said.contains("* BYE"), "line_len_max: {said}");
    let said = talk(imap, format!("{LOGIN}b SELECT INBOX\r\nc SEARCH SUBJECT {{5000}}\r\nd LOGOUT\r\n").as_bytes());
    assert!(said.contains("c NO [TOOBIG] Literal too long."), "literal_len_max: {said}");
    let said = talk(imap, b"a LOGIN {1025}\r\nd LOGOUT\r\n");
    assert!(said.contains("a NO [TOOBIG] Literal too long."), "prelogin_literal_len_max: {said}");
    let nested = format!("{}ALL{}", "(".repeat(6), ")".repeat(6));
    let said = talk(imap, format!("{LOGIN}b SELECT INBOX\r\nc SEARCH {nested}\r\nd LOGOUT\r\n").as_bytes());
    assert!(said.contains("c BAD [LIMIT] Search nested too deeply."), "search_depth_max: {said}");
    let said = talk(program.lmtp(), format!("NOOP {}\r\nQUIT\r\n", "x".repeat(9_000)).as_bytes());
    assert!(said.contains("500 5.5.6 Line too long"), "{said}");
}

#[test]
fn messages() {
    let place = Place::new("limit-messages").unwrap();
    let program = started(&place, "message_len_max = \"10 KiB\"\nmultiappend_count_max = 2\nrecipients_max = 1");
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    let large = vec![b'x'; 10_241];
    let answer = imap.append("INBOX", "", None, &large).unwrap();
    // The client did not wait for leave to send it: there is no other way to follow than to begin anew.
    assert!(answer.status == "BAD" && answer.text.contains("[TOOBIG]"), "message_len_max: {answer:?}");
    let said = talk(program.imap(), b"a LOGIN ann secret\r\nb APPEND INBOX {10241}\r\nc LOGOUT\r\n");
    assert!(said.contains("b NO [TOOBIG]"), "message_len_max: {said}");
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    let small: &[u8] = b"Subject: x\r\n\r\n";
    let answer = imap.append_many("INBOX", &[("", None, small); 3]).unwrap();
    assert!(answer.status == "NO" && answer.text.contains("Too many messages in one APPEND"), "{answer:?}");
    assert!(imap.append_many("INBOX", &[("", None, small); 2]).unwrap().is_ok());
    let mut lmtp = Lmtp::connect(program.lmtp()).unwrap();
    assert_eq!(lmtp.deliver(&["ann"], &large).unwrap()[0].0, 552, "message_len_max");
    let said = talk(program.lmtp(), b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\nQUIT\r\n");
    assert!(said.contains("452 4.5.3 Too many recipients"), "recipients_max: {said}");
}

/// What is beyond these limits is stored and sent whole; only nobody takes it apart.
#[test]
fn parts() {
    let place = Place::new("limit-mime").unwrap();
    let limits = "mime_parts_max = 3\nmime_nesting_max = 2";
    let program = started(&place, limits);
    let mut imap = Imap::login(program.imap(), "ann", "secret").unwrap();
    let part = "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n";
    let wide = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{}--x--\r\n", part.repeat(10));
    assert!(imap.append("INBOX", "", None, wide.as_bytes()).unwrap().is_ok());
    imap.ok("SELECT INBOX").unwrap();
    let shown = |imap: &mut Imap, what: &str| {
        let lines = imap.ok(what).unwrap().untagged;
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<String>()
    };
    let structure = shown(&mut imap, "FETCH 1 BODYSTRUCTURE");
    assert!(structure.matches("\"plain\"").count() <= 2, "mime_parts_max: {structure}");
    let whole = shown(&mut imap, "FETCH 1 BODY.PEEK[]");
    assert_eq!(whole.matches("hello").count(), 10);
}

#[test]
fn connections_are_refused_by_the_limits_name() {
    let place = Place::new("limit-connections").unwrap();
    let mut program =
        started(&place, "connections_max = 3\nconnections_per_address_max = 2\nconnections_per_user_max = 1");
    let first = Imap::login(program.imap(), "ann", "secret").unwrap();
    let refused = Imap::login(program.imap(), "ann", "secret").unwrap_err().to_string();
    assert!(refused.contains("[LIMIT] Too many connections of this user"), "connections_per_user_max: {refused}");
    program.wait_for("the refused one has gone", |program| program.times_said("IMAP session ended") == 1);
    let second = Imap::connect(program.imap()).unwrap();
    let said = talk(program.imap(), b"");
    assert_eq!(said, "* BYE [LIMIT] Too many connections (connections_per_address_max).\r\n");
    drop((first, second));
    program.wait_for("they have gone", |program| program.times_said("IMAP session ended") == 3);
    program.configure(&format!("{LISTENERS}[limits]\nconnections_max = 1\n"));
    program.reload();
    let _first = Imap::login(program.imap(), "ann", "secret").unwrap();
    assert_eq!(talk(program.imap(), b""), "* BYE [LIMIT] Too many connections (connections_max).\r\n");
    // LMTP has a count of its own.
    let _lmtp = Lmtp::connect(program.lmtp()).unwrap();
    assert_eq!(talk(program.lmtp(), b""), "421 4.7.0 Too many connections (connections_max)\r\n");
}

#[test]
fn times() {
    let place = Place::new("limit-times").unwrap();
    let program = started(&place, "login_timeout = \"300 ms\"\nidle_timeout = \"500 ms\"\nstall_timeout = \"400 ms\"");
    let said = talk(program.imap(), b"a NOOP\r\n");
    assert!(said.contains("* BYE Disconnected for inactivity."), "login_timeout: {said}");
    let said = talk(program.imap(), LOGIN.as_bytes());
    assert!(said.contains("a OK") && said.contains("* BYE Disconnected for inactivity."), "idle_timeout: {said}");
    let said = talk(program.imap(), format!("{LOGIN}b APPEND INBOX {{100+}}\r\nhalf").as_bytes());
    assert!(said.contains("* BYE"), "stall_timeout: {said}");
    let said = talk(program.lmtp(), b"LHLO me\r\n");
    assert!(said.contains("421 4.4.2 Timeout"), "idle_timeout: {said}");
}

/// Whose handshake does not come has no longer than who does not log in.
#[test]
fn time_for_a_handshake() {
    let place = Place::new("limit-handshake").unwrap();
    let listener = "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n";
    let limits = "[limits]\nlogin_timeout = \"300 ms\"\n[tls]\nhandshake_timeout = \"10 min\"\n";
    let program = Program::start(&place, &format!("{listener}{limits}"));
    assert_eq!(talk(program.address("imap", "implicit"), b""), "");
}

/// An exchange by SCRAM that proves nothing, as `name`; whether it is answered by NO within the patience of the stream.
fn fails_to_log_in(stream: &mut TcpStream, name: &str) -> bool {
    let mut say = |text: String, answer: &str| {
        stream.write_all(text.as_bytes()).unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\n") && matches!(stream.read(&mut byte), Ok(1)) {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.is_empty() || line.starts_with(answer), "{line}");
        line
    };
    let first =
        say(format!("a AUTHENTICATE SCRAM-SHA-256 {}\r\n", encode_base64(format!("n,,n={name},r=x").as_bytes())), "+ ");
    let Some(challenge) = first.strip_prefix("+ ") else { return false };
    let challenge = String::from_utf8(decode_base64(challenge.trim().as_bytes()).unwrap()).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let proof = encode_base64(&[0; 32]);
    say(format!("{}\r\n", encode_base64(format!("c=biws,{nonce},p={proof}").as_bytes())), "a NO ").starts_with("a NO ")
}

/// An address of this host that is not loopback, if it has one: nothing is sent for it.
fn address_of_this_host() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Who failed waits before he is heard again; only who is on loopback does not, as all behind a proxy would wait for one.
#[test]
fn an_address_that_failed_waits() {
    let place = Place::new("limit-penalty").unwrap();
    let addresses = [Some([127, 0, 0, 1].into()), address_of_this_host()];
    if addresses[1].is_none() {
        eprintln!("SKIPPED: limits::an_address_that_failed_waits: this host has no address but loopback");
        return;
    }
    for address in addresses.into_iter().flatten() {
        let listener = format!("[[listener]]\nprotocol = \"imap\"\naddress = \"{}\"\n", SocketAddr::new(address, 0));
        let sections = "[limits]\nfailed_login_delay = \"1 ms\"\n[login]\npenalty_first = \"10 min\"\npenalty_longest = \"10 min\"\n";
        let mut program = Program::start(&place, &format!("{listener}{sections}"));
        let connect = |program: &Program| {
            let mut stream = TcpStream::connect(program.imap()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut greeting = Vec::new();
            while !greeting.ends_with(b"\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                greeting.push(byte[0]);
            }
            stream
        };
        assert!(fails_to_log_in(&mut connect(&program), "ann"), "{address}");
        program.wait_for("it has failed", |program| program.times_said("login failed") == 1);
        let mut stream = connect(&program);
        // Nobody answers for ten minutes, or somebody at once.
        if !address.is_loopback() {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
        }
        assert_eq!(fails_to_log_in(&mut stream, "bob"), address.is_loopback(), "{address}");
        drop(program);
        std::fs::remove_file(place.path().join("data/log")).unwrap();
    }
}

#[test]
fn mistakes() {
    let place = Place::new("limit-mistakes").unwrap();
    let program = started(&place, "bad_commands_max = 3\nfailed_logins_max = 2");
    let said = talk(program.imap(), "a NONSENSE\r\n".repeat(5).as_bytes());
    assert_eq!(said.matches("a BAD").count(), 3, "{said}");
    assert!(said.contains("* BYE Too many invalid IMAP commands."), "bad_commands_max: {said}");
    let said = talk(program.imap(), "a LOGIN ann wrong\r\n".repeat(5).as_bytes());
    assert_eq!(said.matches("a NO").count(), 2, "{said}");
    assert!(said.contains("* BYE Too many failed logins."), "failed_logins_max: {said}");
    let said = talk(program.lmtp(), "NONSENSE\r\n".repeat(5).as_bytes());
    assert!(said.contains("421 4.7.0 Too many errors"), "bad_commands_max: {said}");
}

#[test]
fn memory() {
    let place = Place::new("limit-memory").unwrap();
    let limits = "session_memory_max = \"2500 KiB\"\nuser_memory_max = \"2600 KiB\"\nliteral_len_max = \"4 MiB\"";
    let program = started(&place, limits);
    // Room is made, and counted, for what is announced.
    let search = |len: usize| format!("{LOGIN}b SELECT INBOX\r\nc SEARCH SUBJECT {{{len}+}}\r\nx");
    let said = talk(program.imap(), search(3_000_000).as_bytes());
    assert!(said.contains("* BYE Too much memory for one session (limits.session_memory_max)."), "{said}");
    // One session of a user may hold so much, a second one beside it not; whichever of two comes second.
    let mut holding = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut other = TcpStream::connect(program.imap()).unwrap();
        other.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let _ = other.write_all(search(1_500_000).as_bytes());
        let mut said = Vec::new();
        let _ = other.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        if said.contains("* BYE Too much memory for one user's sessions (limits.user_memory_max).") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "user_memory_max: {said}");
        holding.push(other);
    }
    let mut bob = Imap::login(program.imap(), "bob", "secret").unwrap();
    bob.ok("NOOP").unwrap();
}
