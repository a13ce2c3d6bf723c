//! mbox beside a real Dovecot 2.3, with a third party that appends, removes and marks messages as mail programs of the host
//! do: what any of them does the others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{
    fs,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use beside_dovecot::{Kind, append, compare};
use mailfs::{FileSystem, LockKind, OpenMode, RealDisk, lock_with_timeout};
use mailstore::{
    ListOptions,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::Flags;
use sample_mail::{Numbers, messages, name};

const MBOX: Kind = Kind {
    location: |root| format!("mbox:{}:INBOX={}/inbox", root.display(), root.display()),
    open: |env, root| {
        let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
        Arc::new(MboxStorage::create(env, root, &MboxPlaces::default(), options).unwrap())
    },
};

/// INBOX=, INDEX= and CONTROL= set.
const APART: Kind = Kind {
    location: |root| {
        let [inbox, index, control] = ["inbox", "index", "control"].map(|name| root.with_file_name(name));
        let (root, inbox) = (root.display(), inbox.display());
        format!("mbox:{root}:INBOX={inbox}:INDEX={}:CONTROL={}", index.display(), control.display())
    },
    open: |env, root| {
        let [inbox, index, control] = ["inbox", "index", "control"].map(|name| Some(root.with_file_name(name)));
        let places = MboxPlaces { index, control, list: ListOptions { inbox, ..ListOptions::default() } };
        let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
        Arc::new(MboxStorage::create(env, root, &places, options).unwrap())
    },
};

#[test]
fn dovecot_reads_what_we_write() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&MBOX);
    }
}

#[test]
fn we_read_what_dovecot_writes() {
    if dovecot::is_installed() {
        beside_dovecot::we_read_what_dovecot_writes(&MBOX);
    }
}

#[test]
fn with_inbox_indexes_and_control_files_apart() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&APART);
        beside_dovecot::we_read_what_dovecot_writes(&APART);
    }
}

#[test]
fn turn_about() {
    if dovecot::is_installed() {
        beside_dovecot::turn_about(&MBOX, 120, 20_240_201, None);
    }
}

#[test]
fn turn_about_with_a_third_party() {
    if dovecot::is_installed() {
        beside_dovecot::turn_about(&MBOX, 120, 20_240_202, Some(by_others));
    }
}

/// What UW-IMAP puts before all messages: `X-IMAP` says that it is none, and nothing else does.
const PSEUDO: &str = "From MAILER-DAEMON Sun Nov 22 10:00:00 2026\nDate: 22 Nov 2026 10:00:00 +0000\n\
    From: Mail System Internal Data <MAILER-DAEMON@host>\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\
    Message-ID: <1165000000@host>\nX-IMAP: 1165000000 0000000003 $Forwarded\nStatus: RO\n\n\
    This text is part of the internal format of your mail folder, and is not\na real message.\n\n";

#[test]
fn the_message_that_is_none_is_hidden_where_dovecot_hides_it() {
    if !dovecot::is_installed() {
        return;
    }
    let message = |n: u32| {
        format!(
            "From a@b Sun Nov 22 10:0{n}:00 2026\nSubject: message {n}\nX-UID: {n}\nStatus: RO\nX-Status: \n\
             X-Keywords:\n\nbody {n}\n\n"
        )
    };
    let messages = [message(1), message(2)].concat();
    let without = |what: &str, with: &str| PSEUDO.replace(what, with) + &messages;
    for dovecot_first in [true, false] {
        let shared = MBOX.shared();
        fs::create_dir_all(shared.root()).unwrap();
        for (mailbox, text) in [
            ("inbox", PSEUDO.to_owned() + &messages),
            ("only", PSEUDO.to_owned()),
            ("another-subject", without("DON'T DELETE THIS MESSAGE", "something")),
            ("base", without("X-IMAP:", "X-IMAPbase:")),
            ("neither", without("X-IMAP: 1165000000 0000000003 $Forwarded\n", "")),
            ("second", message(1) + &PSEUDO.replace("10:00", "10:01") + &message(2)),
        ] {
            fs::write(shared.root().join(mailbox), text).unwrap();
        }
        let store = MBOX.open(&shared);
        let mut imap = shared.imap();
        compare(&shared, &*store, &mut imap, "as found", dovecot_first);
        imap.run("SELECT INBOX");
        imap.run("STORE 1:* +FLAGS (\\Deleted kept)");
        imap.run("EXPUNGE");
        imap.run("UNSELECT");
        append(&*store.mailbox(&name("INBOX")).unwrap(), b"Subject: x\r\n\r\nx\r\n", Flags::NONE, &[], 1_600_000_000);
        append(&*store.mailbox(&name("only")).unwrap(), b"Subject: x\r\n\r\nx\r\n", Flags::NONE, &[], 1_600_000_000);
        compare(&shared, &*store, &mut imap, "with nothing but it, and a message more", dovecot_first);
        assert_eq!(shared.complaints(), [""; 0]);
    }
}

/// A header that is longer than what is held of one, and a body that holds what looks like another message.
fn long_message(subject: &str) -> Vec<u8> {
    let fields: String = (0..1300).map(|n| format!("X-Filler-{n}: {}\r\n", "y".repeat(900))).collect();
    let body = "x\r\n\r\nFrom a@b Sun Nov 22 10:00:00 2026\r\nSubject: INJECTED\r\nX-UID: 3\r\n\r\nevil\r\n";
    format!("Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: {subject}\r\n{fields}\r\n{body}").into_bytes()
}

/// What strangers can write into a file through their mail, and what Dovecot makes of it.
#[test]
fn hostile_mail_is_what_it_is_for_dovecot() {
    if !dovecot::is_installed() {
        return;
    }
    let from = "From a@b Sun Nov 22 10:00:00 2026\n";
    for dovecot_first in [true, false] {
        let shared = MBOX.shared();
        fs::create_dir_all(shared.root()).unwrap();
        let second = format!("{from}Subject: 2\n\nx\n\n");
        for (mailbox, value) in [("hello", "hello"), ("zeros", "0 0"), ("one-number", "5"), ("no-number", "5 x")] {
            let text = format!("{from}Subject: 1\nX-IMAP: {value}\n\nx\n\n{second}");
            fs::write(shared.root().join(mailbox), text).unwrap();
        }
        let store = MBOX.open(&shared);
        let mut imap = shared.imap();
        compare(&shared, &*store, &mut imap, "as found", dovecot_first);
        let inbox = store.mailbox(&name("INBOX")).unwrap();
        append(&*inbox, &long_message("ours"), Flags::NONE, &["kept"], 1_600_000_000);
        append(&*inbox, b"Subject: x\r\n\r\nx\r\n", Flags::NONE, &[], 1_600_000_000);
        compare(&shared, &*store, &mut imap, "a long header of ours", dovecot_first);
        shared.own();
        imap.append("INBOX", "\\Flagged", &long_message("theirs"));
        imap.append("INBOX", "", b"Subject: y\r\n\r\ny\r\n");
        compare(&shared, &*store, &mut imap, "and one of theirs", dovecot_first);
        imap.run("SELECT INBOX");
        imap.run("STORE 1:* +FLAGS (\\Seen more)");
        imap.run("STORE 2 +FLAGS (\\Deleted)");
        imap.run("EXPUNGE");
        imap.run("UNSELECT");
        compare(&shared, &*store, &mut imap, "with flags", dovecot_first);
        // Ours are written too.
        let uids = inbox.view(&mailstore::ViewAs::default()).unwrap().uids();
        let (flags, keywords) = (mailtypes::Flag::Answered.into(), Vec::new());
        let action = mailstore::FlagAction::Add;
        let change = mailstore::FlagChange { uids, action, flags, keywords, unchanged_since: None };
        inbox.submit(mailstore::Batch::new().flags(change)).unwrap().wait().unwrap();
        inbox.checkpoint().unwrap();
        compare(&shared, &*store, &mut imap, "with flags of ours", dovecot_first);
        assert_eq!(shared.complaints(), [""; 0]);
    }
}

/// A session that has seen recent messages and leaves them recent puts the file's time of access below that of modification
/// when it is done with the mailbox, and that of modification to its second, whoever has the locks
/// (`docs/formats/mbox.md`, What Dovecot 2.3.19 does to its own files).
#[test]
fn dovecot_sets_a_files_time_under_the_locks_of_others() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = MBOX.shared();
    let path = shared.root().join("inbox");
    let mut imap = shared.imap();
    imap.append("INBOX", "", b"Subject: new\r\n\r\nx\r\n");
    imap.run("EXAMINE INBOX");
    imap.run("FETCH 1 BODY.PEEK[]");
    let disk = RealDisk::new();
    let locked = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let _lock = lock_with_timeout(&disk, &locked, &path, LockKind::Exclusive, Duration::from_secs(60)).unwrap();
    fs::write(path.with_file_name("inbox.lock"), std::process::id().to_string()).unwrap();
    let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let time = second + Duration::from_millis(500);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
    imap.run("UNSELECT");
    let there = fs::metadata(&path).unwrap();
    assert_eq!((there.accessed().unwrap(), there.modified().unwrap()), (second - Duration::from_secs(1), second));
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Where messages begin, for a program that knows no better.
fn starts(text: &[u8]) -> Vec<usize> {
    let is_start = |at: &usize| {
        let line = text[*at..].split(|b| *b == b'\n').next().unwrap();
        mailstore::mbox::FromLine::parse(line).is_some() && (*at == 0 || text[at - 1] == b'\n')
    };
    (0..text.len()).filter(|at| text[*at..].starts_with(b"From ")).filter(is_start).collect()
}

/// What delivery agents and mail programs do to a file. Their changes are told by another second of its time.
fn by_others(root: &Path, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let path = root.join(if mailbox == "INBOX" { "inbox" } else { mailbox });
    let text = fs::read(&path).unwrap();
    let starts = starts(&text);
    let all = messages();
    let picked = (!starts.is_empty()).then(|| numbers.below(starts.len()));
    match (numbers.below(4), picked) {
        // The first may hold the numbers of all.
        (0, Some(at)) if at > 0 => {
            let end = starts.get(at + 1).copied().unwrap_or(text.len());
            fs::write(&path, [&text[..starts[at]], &text[end..]].concat()).unwrap();
            format!("others removed message {at} of {mailbox}")
        }
        (1, Some(at)) => {
            let end = starts.get(at + 1).copied().unwrap_or(text.len());
            let message = String::from_utf8_lossy(&text[starts[at]..end]).into_owned();
            if message.contains("X-IMAP: ") || !message.contains("\nStatus: O\n") || message.contains('\u{fffd}') {
                return "others did nothing".to_owned();
            }
            let marked = message.replacen("\nStatus: O\n", "\nStatus: RO\n", 1);
            fs::write(&path, [&text[..starts[at]], marked.as_bytes(), &text[end..]].concat()).unwrap();
            format!("others marked message {at} of {mailbox} as read")
        }
        _ => {
            let body = String::from_utf8_lossy(&all[n % all.len()]).replace("\r\n", "\n");
            // As delivery agents do, what looks like a separator is quoted.
            let body: String = body
                .split_inclusive('\n')
                .map(|line| line.replacen("From ", ">From ", usize::from(line.starts_with("From "))))
                .collect();
            let end = if body.ends_with('\n') { "\n" } else { "\n\n" };
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            write!(file, "From other@example.org Thu Nov 29 22:33:{:02} 2001\n{body}{end}", n % 60).unwrap();
            format!("others delivered to {mailbox}")
        }
    }
}
