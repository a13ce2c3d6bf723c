//! mdbox beside a real Dovecot 2.3, its indexes with the messages and apart from them, its files large and small.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod beside_dovecot;
mod doveadm;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{sync::Arc, time::Duration};

use beside_dovecot::{Kind, append, compare};
use doveadm::{doveadm, is_installed};
use dovecot_shown::{assert_same, shown_by_us};
use mailfs::RealDisk;
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Batch, MailStorage, ViewAs,
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::Flags;
use sample_mail::{messages, name};

const TOGETHER: Kind = Kind {
    location: |root| format!("mdbox:{}", root.display()),
    open: |env, root| Arc::new(MdboxStorage::create(env, root, MdboxOptions::default()).unwrap()),
};

/// Files of ours get hardly more than one message; Dovecot's as many as it likes.
const SMALL: Kind = Kind {
    location: |root| format!("mdbox:{}", root.display()),
    open: |env, root| {
        let options = MdboxOptions { rotate_size: 3000, ..MdboxOptions::default() };
        Arc::new(MdboxStorage::create(env, root, options).unwrap())
    },
};

const APART: Kind = Kind {
    location: |root| {
        let (index, control) = (root.with_file_name("index"), root.with_file_name("control"));
        format!("mdbox:{}:INDEX={}:CONTROL={}", root.display(), index.display(), control.display())
    },
    open: |env, root| {
        let (index, control) = (Some(root.with_file_name("index")), Some(root.with_file_name("control")));
        let options = MdboxOptions { index, control, ..MdboxOptions::default() };
        Arc::new(MdboxStorage::create(env, root, options).unwrap())
    },
};

#[test]
fn dovecot_reads_what_we_write() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&TOGETHER);
    }
}

#[test]
fn we_read_what_dovecot_writes() {
    if is_installed() {
        beside_dovecot::we_read_what_dovecot_writes(&TOGETHER);
    }
}

#[test]
fn turn_about() {
    if is_installed() {
        beside_dovecot::turn_about(&TOGETHER, 150, 20_261_101, None);
    }
}

#[test]
fn with_small_files() {
    if is_installed() {
        beside_dovecot::turn_about(&SMALL, 60, 20_261_102, None);
    }
}

/// What a rebuild that was asked for says, whatever it finds.
const OF_A_REBUILD: [&str; 2] = ["Warning: fscking index file", "rebuilding indexes"];

/// It must have nothing to complain of but that.
fn complains_of_nothing(said: &str) {
    let found = said.lines().find(|line| !OF_A_REBUILD.iter().any(|words| line.contains(words)));
    assert_eq!(found, None, "{said}");
}

/// Our logs are rotated and our snapshots written, the map's among them, and Dovecot goes on from there; then its purge
/// finds each file as the map has it, and a rebuild finds what was there before.
#[test]
fn snapshots_rotation_and_purge() {
    if !is_installed() {
        return;
    }
    let shared = TOGETHER.shared();
    let options = EnvOptions {
        rotate_len_min: 1500,
        rotate_len_max: 1500,
        rotate_age_min: Duration::ZERO,
        snapshot_log_len_min: 500,
        background: Background::Manual,
        ..EnvOptions::default()
    };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    let options = MdboxOptions { rotate_size: 20_000, ..MdboxOptions::default() };
    let store = MdboxStorage::create(&env, &shared.root(), options).unwrap();
    store.create(&name("copies")).unwrap();
    let mut imap = shared.imap();
    let all = messages();
    for round in 0..12 {
        let inbox = store.mailbox(&name("INBOX")).unwrap();
        for message in all.iter().skip(round % 3).take(4) {
            append(&*inbox, message, Flags::NONE, &[], 1_600_000_000 + round as i64);
        }
        let uids = inbox.view(&ViewAs::default()).unwrap().uids();
        let copies = store.mailbox(&name("copies")).unwrap();
        copies.submit(Batch::new().copy(Arc::clone(&inbox), uids.clone())).unwrap().wait().unwrap();
        let some = uids.iter().step_by(3).collect();
        inbox.submit(Batch::new().expunge(some)).unwrap().wait().unwrap();
        while env.drain() {}
        shared.own();
        imap.append("copies", "\\Seen", &all[round % all.len()]);
        compare(&shared, &store, &mut imap, &format!("after round {round}"), round % 2 == 0);
        assert_eq!(shared.complaints(), [""; 0], "round {round}");
    }
    let rotated = shared.root().join("storage/dovecot.map.index.log.2");
    assert!(rotated.exists(), "the map's log was rotated");
    complains_of_nothing(&doveadm(&shared, &["purge"]));
    compare(&shared, &store, &mut imap, "after a purge", true);
    let before = shown_by_us(&store);
    complains_of_nothing(&doveadm(&shared, &["force-resync", "*"]));
    assert_eq!(shared.complaints(), [""; 0]);
    let anew = TOGETHER.open(&shared);
    assert_same(&shown_by_us(&*anew), &before, "after a rebuild");
}

#[test]
fn with_its_indexes_apart() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&APART);
        beside_dovecot::we_read_what_dovecot_writes(&APART);
        beside_dovecot::turn_about(&APART, 60, 20_261_103, None);
    }
}
