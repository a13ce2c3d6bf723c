//! mbox beside a real Dovecot 2.3, with a third party that appends, removes and marks messages as mail programs of the host
//! do: what any of them does the others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{fs, io::Write, path::Path, sync::Arc};

use beside_dovecot::Kind;
use mailstore::{
    ListOptions,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};
use sample_mail::{Numbers, messages};

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
