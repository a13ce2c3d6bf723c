//! `culver check` beside live servers: a Dovecot and a Culver deliver, flag and expunge while it looks, and it tells of nothing
//! that is not so; and while it repairs, nothing of theirs is lost.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and tells its figures")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use testkit::{
    culver::Culver,
    dovecot::{self, PASSWORD},
    imap::Imap,
    interop::{SharedStore, StoreFormat, USER},
    skip,
};

/// Messages that each writer delivers.
const MESSAGES: u32 = 60;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_culver"))
}

/// Delivers, flags, and expunges every third of its own messages; tells which are to stay.
fn write(address: SocketAddr, who: &str) -> Vec<String> {
    let mut imap = Imap::login(address, USER, PASSWORD).unwrap();
    imap.ok("SELECT INBOX").unwrap();
    let mut stay = Vec::new();
    for number in 1..=MESSAGES {
        let subject = format!("{who}-{number}");
        let text = format!("Subject: {subject}\r\n\r\n{}\r\n", "a line of text\r\n".repeat(number as usize % 40));
        let added = imap.append("INBOX", "", None, text.as_bytes()).unwrap();
        let uid = added.code("APPENDUID").unwrap()[1].clone();
        imap.ok("NOOP").unwrap();
        imap.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged k{number} {who})")).unwrap();
        if number % 3 == 0 {
            imap.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)")).unwrap();
            imap.ok(&format!("UID EXPUNGE {uid}")).unwrap();
        } else {
            stay.push(subject);
        }
    }
    stay
}

/// The code of a check, and what it printed.
fn check(store: &SharedStore, arguments: &[&str]) -> (i32, String) {
    let data = store.root().ancestors().nth(2).unwrap().to_owned();
    let mut command = Command::new(program());
    command.args(["check", USER, "--deep"]).args(arguments).arg("--data").arg(&data).current_dir(&data);
    command.args(store.format().culver_settings().iter().flat_map(|setting| ["--set", setting]));
    store.owner().run_as(&mut command);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn subjects(address: SocketAddr) -> Vec<String> {
    let mut imap = Imap::login(address, USER, PASSWORD).unwrap();
    imap.ok("EXAMINE INBOX").unwrap();
    let answer = imap.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
    let mut subjects = Vec::new();
    for (_, attributes) in answer.fetches().unwrap() {
        let (_, header) = attributes.iter().find(|(name, _)| name.starts_with("BODY[")).unwrap();
        let text = String::from_utf8_lossy(header.bytes()).into_owned();
        subjects.push(text.trim().trim_start_matches("Subject: ").to_owned());
    }
    subjects.sort();
    subjects
}

fn beside(format: StoreFormat) {
    if !dovecot::is_installed() {
        return skip("checks beside servers at work", "dovecot");
    }
    let store = SharedStore::new("check-beside", format).unwrap();
    let culver: Culver = store.culver(program()).unwrap();
    let dovecot = store.dovecot("dovecot").unwrap();
    let (ours, theirs) = (culver.imap, dovecot.imap);
    // There is a store.
    let mut imap = Imap::login(ours, USER, PASSWORD).unwrap();
    imap.append("INBOX", "", None, b"Subject: first\r\n\r\nx\r\n").unwrap();
    drop(imap);
    let at_work = AtomicUsize::new(2);
    let (checks, stay) = std::thread::scope(|scope| {
        let writer = |address: SocketAddr, who: &'static str| {
            let at_work = &at_work;
            scope.spawn(move || {
                let stay = write(address, who);
                at_work.fetch_sub(1, Ordering::AcqRel);
                stay
            })
        };
        let writers = [writer(ours, "culver"), writer(theirs, "dovecot")];
        let mut checks = 0;
        while at_work.load(Ordering::Acquire) > 0 && !writers.iter().all(|writer| writer.is_finished()) {
            let repair: &[&str] = if checks % 2 == 1 { &["--repair"] } else { &[] };
            let (code, said) = check(&store, repair);
            assert_eq!(code, 0, "nothing is wrong, whoever is at work: {said}");
            checks += 1;
        }
        (checks, writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<BTreeSet<_>>())
    });
    println!("{}: {checks} checks while {} messages came", format.name(), 2 * MESSAGES);
    assert!(checks >= 2, "hardly anything was looked at");
    let expected: Vec<String> =
        stay.into_iter().chain(["first".to_owned()]).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(subjects(ours), expected, "as Culver shows it");
    assert_eq!(subjects(theirs), expected, "as Dovecot shows it");
}

#[test]
fn an_sdbox_in_use() {
    beside(StoreFormat::Sdbox);
}

#[test]
fn a_maildir_in_use() {
    beside(StoreFormat::Maildir);
}

#[test]
fn an_mdbox_in_use() {
    beside(StoreFormat::Mdbox);
}

/// A repair with something to repair, while the servers go on.
#[test]
fn a_repair_beside_servers_at_work() {
    if !dovecot::is_installed() {
        return skip("a repair beside servers at work", "dovecot");
    }
    let store = SharedStore::new("repair-beside", StoreFormat::Sdbox).unwrap();
    let culver: Culver = store.culver(program()).unwrap();
    let dovecot = store.dovecot("dovecot").unwrap();
    let (ours, theirs) = (culver.imap, dovecot.imap);
    let mut imap = Imap::login(ours, USER, PASSWORD).unwrap();
    for _ in 0..20 {
        imap.append("INBOX", "", None, b"Subject: old\r\n\r\nx\r\n").unwrap();
    }
    drop(imap);
    let repaired = std::thread::scope(|scope| {
        let writers = [scope.spawn(|| write(ours, "culver")), scope.spawn(|| write(theirs, "dovecot"))];
        let mut repaired = 0;
        for uid in 1..=10 {
            fs::remove_file(store.root().join(format!("mailboxes/INBOX/dbox-Mails/u.{uid}"))).unwrap();
            let (code, said) = check(&store, &["--repair"]);
            assert!(code == 1 && said.contains(&format!("u.{uid}, UID {uid}")), "{code}: {said}");
            repaired += 1;
        }
        let mut expected: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        expected.extend((0..20 - repaired).map(|_| "old".to_owned()));
        expected.sort();
        assert_eq!(subjects(ours), expected, "as Culver shows it");
        assert_eq!(subjects(theirs), expected, "as Dovecot shows it");
        repaired
    });
    println!("{repaired} repairs while {} messages came", 2 * MESSAGES);
    assert_eq!(check(&store, &[]).0, 0);
}
