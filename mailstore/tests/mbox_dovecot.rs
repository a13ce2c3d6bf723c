//! mbox beside a real Dovecot 2.3, with a third party that appends, removes and marks messages as mail programs of the host
//! do: what any of them does the others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod random_mboxes;
mod sample_mail;

use std::{fs, io::Write, path::Path, sync::Arc};

use beside_dovecot::Kind;
use dovecot_shown::{Mailboxes, Shown, shown_by_dovecot, shown_by_us};
use mailstore::{
    Batch, FlagAction, FlagChange, ListOptions, ViewAs,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Keyword};
use proptest::{
    prelude::Strategy,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, RngSeed, TestRunner},
};
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

/// Files as no program would write them on purpose: both find the same messages in them, and the same again when we have
/// written flags into half of them.
#[test]
fn odd_files_have_the_same_messages() {
    if !dovecot::is_installed() {
        return;
    }
    let rng_seed = RngSeed::Fixed(20_261_122);
    let mut runner = TestRunner::new(Config { rng_algorithm: RngAlgorithm::ChaCha, rng_seed, ..Config::default() });
    let shared = MBOX.shared();
    let count = std::env::var("CULVER_MBOX_CASES").map_or(60, |cases| cases.parse().unwrap());
    drop(MBOX.open(&shared));
    let mailboxes: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
    for mailbox in &mailboxes {
        fs::write(shared.root().join(mailbox), random_mboxes::mbox().new_tree(&mut runner).unwrap().current()).unwrap();
    }
    shared.own();
    let mut imap = shared.imap();
    let theirs = shown_by_dovecot(&mut imap);
    // Some are too odd for Dovecot to synchronise.
    let refused = shared.complaints();
    let is_refused = |mailbox: &String| refused.iter().any(|line| line.contains(&format!("Mailbox {mailbox}: ")));
    let mailboxes: Vec<String> = mailboxes.into_iter().filter(|mailbox| !is_refused(mailbox)).collect();
    assert!(mailboxes.len() > count * 3 / 4, "{refused:#?}");
    shared.own();
    let texts = |all: &Mailboxes| -> Vec<_> {
        let text = |(uid, shown): (&u32, &Shown)| {
            (
                *uid,
                shown.date.replacen(' ', "0", usize::from(shown.date.starts_with(' '))),
                String::from_utf8_lossy(&shown.body).into_owned(),
            )
        };
        mailboxes.iter().map(|mailbox| (mailbox.clone(), all[mailbox].iter().map(text).collect::<Vec<_>>())).collect()
    };
    let same = |ours: &Mailboxes, theirs: &Mailboxes, when: &str| {
        for (ours, theirs) in texts(ours).iter().zip(&texts(theirs)) {
            let file = fs::read(shared.root().join(&ours.0)).unwrap();
            assert_eq!(ours, theirs, "{when}: {}", String::from_utf8_lossy(&file));
        }
    };
    same(&shown_by_us(&*MBOX.open(&shared)), &theirs, "at first");
    {
        let store = MBOX.open(&shared);
        for mailbox in mailboxes.iter().step_by(2) {
            let mailbox = store.mailbox(&name(mailbox)).unwrap();
            let uids = mailbox.view(&ViewAs::default()).unwrap().uids();
            let keywords = (0..4).map(|n| Keyword::new(&format!("a-keyword-of-some-length-{n}")).unwrap()).collect();
            let flags = Flag::Flagged.into();
            let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
            mailbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
            mailbox.checkpoint().unwrap();
        }
    }
    let ours = shown_by_us(&*MBOX.open(&shared));
    shared.own();
    let again = shown_by_dovecot(&mut imap);
    same(&theirs, &ours, "when flags were written, to us");
    same(&theirs, &again, "when flags were written, to Dovecot");
    for mailbox in mailboxes.iter().step_by(2) {
        assert!(again[mailbox].values().all(|shown| shown.flags.contains(&"\\Flagged".to_owned())), "{mailbox}");
    }
    assert_eq!(shared.complaints().len(), refused.len(), "{:#?}", shared.complaints());
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
