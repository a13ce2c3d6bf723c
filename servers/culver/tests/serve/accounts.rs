//! What the file of users says beyond names and passwords: homes, places of mail, and what is not known there; and what a
//! client can learn of names that are not in it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use testkit::{imap::Imap, lmtp::Lmtp, place::Place};

use crate::program::{LISTENERS, PATIENCE, Program};

/// A place whose file of users has these lines; `@` in them is the place's folder.
fn place_with(what: &str, users: &str) -> Place {
    let place = Place::new(what).unwrap();
    fs::create_dir_all(place.path().join("data")).unwrap();
    let folder = place.path().display().to_string();
    fs::write(place.path().join("data/users"), users.replace('@', &folder)).unwrap();
    place
}

fn deliver(server: &Program, user: &str) -> u16 {
    let replies = Lmtp::connect(server.lmtp()).unwrap().deliver(&[user], b"Subject: hello\r\n\r\nworld\r\n").unwrap();
    replies[0].0
}

/// How many messages a user has, once logged in.
fn messages(server: &Program, user: &str) -> Option<u32> {
    Imap::login(server.imap(), user, "secret").unwrap().ok("SELECT INBOX").unwrap().number("EXISTS")
}

fn is_there(place: &Place, path: &str) -> bool {
    place.path().join(path).exists()
}

#[test]
fn mail_lies_where_the_file_of_users_says() {
    let place = place_with(
        "accounts",
        "ann:{PLAIN}secret::::@/home/ann::\n\
         bob:{PLAIN}secret::::@/home/bob::userdb_mail=maildir:~/Maildir:INDEX=@/index/%u userdb_home=@/home/robert\n\
         carl:{PLAIN}secret::::::userdb_mail=sdbox:@/srv/%n\n\
         dora:{PLAIN}secret::::@/home/dora::userdb_mail=imapc:~/mail\n\
         emil:{PLAIN}secret\n\
         fred:{PLAIN}secret::::home/fred::\n",
    );
    let storage = "[storage]\npath = \"{home}/mail\"\n";
    let server = Program::start(&place, &format!("{storage}{LISTENERS}"));
    for user in ["ann", "bob", "carl"] {
        assert_eq!(deliver(&server, user), 250, "{user}");
        assert_eq!(messages(&server, user), Some(1), "{user}");
    }
    assert!(is_there(&place, "home/ann/mail/mailboxes/INBOX"));
    assert!(is_there(&place, "home/robert/Maildir/cur") && is_there(&place, "index/bob"));
    assert!(!is_there(&place, "home/robert/Maildir/dovecot.index.log"), "indexes lie elsewhere");
    assert!(is_there(&place, "srv/carl/mailboxes/INBOX"));
    // Who has no place gets no other one: his mail waits at the MTA, and he is told so.
    for (user, line, why) in [
        (
            "dora",
            4,
            "userdb_mail: \"imapc\" is no format of mail that is known here; sdbox, mdbox, maildir and mbox are",
        ),
        ("emil", 5, "user emil has no home, and the path \"{home}/mail\" needs one"),
        ("fred", 6, "the home \"home/fred\" of user fred is no absolute path without `..`"),
    ] {
        let is_it = |told: &serde_json::Value| {
            told["message"] == "a user without a place for mail" && told["user"] == user && told["line"] == line
        };
        let told = server.log().into_iter().find(is_it).unwrap_or_else(|| panic!("{user}\n{}", server.log_text()));
        assert_eq!(told["error"], why);
        assert!(told["file"].as_str().unwrap().ends_with("data/users"));
        assert!((400..500).contains(&deliver(&server, user)), "{user}");
        assert!(Imap::login(server.imap(), user, "secret").is_err(), "{user}");
    }
    assert!(server.stop().success());
}

#[test]
fn what_is_not_looked_at_is_said() {
    let place = place_with(
        "accounts-said",
        "ann:{PLAIN}secret:4000000000:4000000000::@/home/ann::userdb_quota_rule=*:storage=1G\nbob:{PLAIN}secret\n",
    );
    let server = Program::start(&place, LISTENERS);
    let said = |message: &str| server.said(message).unwrap_or_else(|| panic!("{message}\n{}", server.log_text()));
    assert_eq!(said("users have homes, which storage.path does not use")["line"], 1);
    let faults: Vec<_> = server.log().into_iter().filter(|line| line["message"] == "password file").collect();
    let faults: Vec<_> =
        faults.iter().map(|line| (line["line"].as_u64().unwrap(), line["fault"].as_str().unwrap())).collect();
    assert!(faults.contains(&(1, "extra field userdb_quota_rule is not looked at")), "{faults:?}");
    assert!(faults.iter().any(|(line, fault)| *line == 1 && fault.starts_with("uid of another")), "{faults:?}");
    assert_eq!(deliver(&server, "ann"), 250);
    assert!(is_there(&place, "data/mail/ann/mailboxes"));
    drop(server);

    // Who names a path has decided.
    let decided = "[storage]\npath = \"mail/{user}\"\n";
    fs::remove_file(place.path().join("data/log")).unwrap();
    let server = Program::start(&place, &format!("{decided}{LISTENERS}"));
    assert!(server.said("users have homes, which storage.path does not use").is_none());
}

/// The server's first message of SCRAM to a name, without its nonce.
fn salt_of(address: SocketAddr, first: &str) -> String {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    line();
    (&stream).write_all(format!("a AUTHENTICATE SCRAM-SHA-256 {first}\r\n").as_bytes()).unwrap();
    // Its nonce begins with the client's, and has 24 characters of its own: 48 bytes of text in all, 64 in base64.
    let challenge = line();
    let challenge = challenge.strip_prefix("+ ").unwrap_or_else(|| panic!("{challenge}"));
    challenge[SCRAM_NONCE_LEN..].to_owned()
}

/// Base64 of `r=`, 22 characters of the client and 24 of the server.
const SCRAM_NONCE_LEN: usize = 64;

/// RFC 5802 §9: names are not told from others by a salt that is another one after a restart.
#[test]
fn salts_of_names_that_nobody_has_outlive_a_restart() {
    // `n,,n=ann,r=` and `n,,n=eve,r=` with 22 letters each.
    let [ann, eve] = ["biwsbj1hbm4scj1hYWFhYWFhYWFhYWFhYWFhYWFhYWFh", "biwsbj1ldmUscj1hYWFhYWFhYWFhYWFhYWFhYWFhYWFh"];
    let place = place_with("accounts-salts", "ann:{PLAIN}secret\n");
    let salts = |server: Program| {
        let salts = [ann, ann, eve, eve].map(|first| salt_of(server.imap(), first));
        assert!(server.stop().success());
        salts
    };
    let first = salts(Program::start(&place, LISTENERS));
    assert_eq!((&first[0], &first[2]), (&first[1], &first[3]));
    assert_ne!(first[0], first[2]);
    assert_eq!(first[0].len(), first[2].len());
    fs::remove_file(place.path().join("data/log")).unwrap();
    assert_eq!(salts(Program::start(&place, LISTENERS)), first);
    let secret = place.path().join("data/login-secret");
    assert_eq!(fs::metadata(&secret).unwrap().len(), 32);
    assert_mode(&secret, 0o600);

    // Without the file they are others: it is what they are made of.
    fs::remove_file(&secret).unwrap();
    fs::remove_file(place.path().join("data/log")).unwrap();
    assert_ne!(salts(Program::start(&place, LISTENERS))[2], first[2]);
}

fn assert_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
}
