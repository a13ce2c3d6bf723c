//! Sessions of ours and of a real Dovecot 2.3 that add to one mdbox and copy in it at the same time: all want the map's lock.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and say how long it took")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::Instant,
};

use beside_dovecot::{Kind, append, compare, dovecot_reads_what_we_write, turn_about, we_read_what_dovecot_writes};
use dovecot_shown::{one, shown_by_us};
use mailstore::{
    Batch, ViewAs,
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::Flags;
use sample_mail::name;

const KIND: Kind = Kind {
    location: |root| format!("mdbox:{}", root.display()),
    open: |env, root| {
        let options = MdboxOptions { rotate_size: 20_000, ..MdboxOptions::default() };
        Arc::new(MdboxStorage::create(env, root, options).unwrap())
    },
};

/// Sessions of either kind.
const SESSIONS: usize = 3;

/// What each of them does: so many appends, and a copy behind each.
const ROUNDS: usize = 25;

fn text(session: usize, round: usize) -> Vec<u8> {
    format!("Subject: {round} of {session}\r\n\r\nsome text\r\n").into_bytes()
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => open_to_all(&entry.path()),
            false => fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o666)).unwrap(),
        }
    }
}

#[test]
fn nothing_is_lost_where_all_want_the_map() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = KIND.shared();
    KIND.open(&shared).mailbox(&name("INBOX")).unwrap();
    shared.own();
    // Files of ours are to be Dovecot's too, whoever it runs as.
    open_to_all(&shared.root());
    let start = Barrier::new(2 * SESSIONS);
    let ours = |session: usize| {
        // As another process would.
        let store = KIND.open(&shared);
        let inbox = store.mailbox(&name("INBOX")).unwrap();
        start.wait();
        let begun = Instant::now();
        for round in 0..ROUNDS {
            append(&*inbox, &text(session, round), Flags::NONE, &[], 1_600_000_000);
            let last = inbox.view(&ViewAs::default()).unwrap().uids().last().unwrap();
            let back = inbox.submit(Batch::new().copy(Arc::clone(&inbox), one(last))).unwrap().wait();
            assert!(back.is_ok(), "{back:?}");
        }
        ("ours", begun.elapsed())
    };
    let theirs = |session: usize| {
        let mut imap = shared.imap();
        imap.run("SELECT INBOX");
        start.wait();
        let begun = Instant::now();
        for round in 0..ROUNDS {
            imap.append("INBOX", "", &text(session, round));
            imap.run("COPY * INBOX");
        }
        ("Dovecot's", begun.elapsed())
    };
    let (ours, theirs) = (&ours, &theirs);
    let took = thread::scope(|scope| {
        let workers: Vec<_> = (0..2 * SESSIONS)
            .map(|session| scope.spawn(move || if session < SESSIONS { ours(session) } else { theirs(session) }))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (whose, time) in took {
        println!("{whose}: {ROUNDS} appends and copies in {} ms", time.as_millis());
    }
    let store = KIND.open(&shared);
    let shown = shown_by_us(&*store);
    assert_eq!(shown["INBOX"].len(), 2 * SESSIONS * ROUNDS * 2);
    for session in 0..2 * SESSIONS {
        for round in 0..ROUNDS {
            let body = text(session, round);
            assert!(shown["INBOX"].values().any(|message| message.body == body), "{round} of {session}");
        }
    }
    compare(&shared, &*store, &mut shared.imap(), "in the end", true);
    assert_eq!(shared.complaints(), [""; 0]);
}

/// What either does alone is as in the other tests.
#[test]
fn by_turns() {
    if dovecot::is_installed() {
        dovecot_reads_what_we_write(&KIND);
        we_read_what_dovecot_writes(&KIND);
        turn_about(&KIND, 30, 20_261_131, None);
    }
}
