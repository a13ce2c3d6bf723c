//! Flags of each user's own (`docs/formats/index.md`, The private index): beside a real Dovecot with `INDEXPVT=`, and two
//! users of one store.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{path::Path, sync::Arc};

use beside_dovecot::{Kind, append};
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Batch, Columns, Cursor, FlagAction, FlagChange, ListOptions, MailStorage, Rows, ScanBudget, StoreOptions, ViewAs,
    check::{CheckOptions, CheckReport, FindingKind, Outcome, check_storage},
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
    mdbox::{MdboxOptions, MdboxStorage},
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{Flag, Flags, ModSeq, Uid, UidSet};
use sample_mail::name;

/// With a user's own indexes beside the store.
fn own(root: &Path) -> ListOptions {
    ListOptions { private: Some(root.with_file_name("own")), ..ListOptions::default() }
}

fn location(format: &str, root: &Path) -> String {
    format!("{format}:{}:INDEXPVT={}", root.display(), root.with_file_name("own").display())
}

fn sdbox(env: &Env, root: &Path, list: ListOptions) -> Arc<dyn MailStorage> {
    Arc::new(SdboxStorage::create(env, root, SdboxOptions { list, ..SdboxOptions::default() }).unwrap())
}

const SDBOX: Kind = Kind { location: |root| location("sdbox", root), open: |env, root| sdbox(env, root, own(root)) };

const MDBOX: Kind = Kind {
    location: |root| location("mdbox", root),
    open: |env, root| {
        let options = MdboxOptions { list: own(root), ..MdboxOptions::default() };
        Arc::new(MdboxStorage::create(env, root, options).unwrap())
    },
};

const MAILDIR: Kind = Kind {
    location: |root| location("maildir", root),
    open: |env, root| {
        let places = MaildirPlaces { list: own(root), ..MaildirPlaces::default() };
        Arc::new(MaildirStorage::create(env, root, &places, MaildirOptions::default()).unwrap())
    },
};

const MBOX: Kind = Kind {
    location: |root| format!("{}:INBOX={}", location("mbox", root), root.join("inbox").display()),
    open: |env, root| {
        let places = MboxPlaces { list: own(root), ..MboxPlaces::default() };
        let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
        Arc::new(MboxStorage::create(env, root, &places, options).unwrap())
    },
};

fn beside(kind: &Kind, seed: u64) {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(kind);
        beside_dovecot::we_read_what_dovecot_writes(kind);
        beside_dovecot::turn_about(kind, 80, seed, None);
    }
}

#[test]
fn of_an_sdbox_beside_dovecot() {
    beside(&SDBOX, 20_261_122);
}

#[test]
fn of_an_mdbox_beside_dovecot() {
    beside(&MDBOX, 20_261_123);
}

#[test]
fn of_a_maildir_beside_dovecot() {
    beside(&MAILDIR, 20_261_124);
}

#[test]
fn of_an_mbox_beside_dovecot() {
    beside(&MBOX, 20_261_125);
}

/// Flags and mod-sequences of a mailbox's messages.
fn shown(store: &dyn MailStorage, mailbox: &str) -> Vec<(u32, Flags, ModSeq)> {
    let view = store.mailbox(&name(mailbox)).unwrap().view(&ViewAs::default()).unwrap();
    let mut rows = Rows::default();
    view.scan(&view.uids(), Cursor::START, &Columns::flags(), ScanBudget::default(), &mut rows).unwrap();
    rows.rows.iter().map(|row| (row.uid.value(), row.flags, row.modseq)).collect()
}

fn flags(store: &dyn MailStorage, mailbox: &str) -> Vec<Flags> {
    shown(store, mailbox).into_iter().map(|(_, flags, _)| flags).collect()
}

fn store_flags(store: &dyn MailStorage, mailbox: &str, uid: u32, action: FlagAction, flags: Flags) -> UidSet {
    store_flags_since(store, mailbox, uid, action, flags, None)
}

fn store_flags_since(
    store: &dyn MailStorage,
    mailbox: &str,
    uid: u32,
    action: FlagAction,
    flags: Flags,
    unchanged_since: Option<ModSeq>,
) -> UidSet {
    let uids = std::iter::once(Uid::new(uid).unwrap()).collect();
    let change = FlagChange { uids, action, flags, keywords: Vec::new(), unchanged_since };
    store.mailbox(&name(mailbox)).unwrap().submit(Batch::new().flags(change)).unwrap().wait().unwrap().modified
}

const SEEN: Flags = Flags::from_bits(0x08);
const FLAGGED: Flags = Flags::from_bits(0x02);
const NONE: Flags = Flags::NONE;

/// Ann and Bob have indexes of their own, the third has none. Each in a process of his own, as far as can be told.
fn users(root: &Path) -> [Arc<dyn MailStorage>; 3] {
    ["ann", "bob", ""].map(|user| {
        let env = Env::new(Arc::new(mailfs::RealDisk::new()), EnvOptions::default());
        let private = (!user.is_empty()).then(|| root.with_file_name(user));
        sdbox(&env, root, ListOptions { private, ..ListOptions::default() })
    })
}

#[test]
fn two_users_read_the_same_mail() {
    let dir = tempfile::tempdir().unwrap();
    let [ann, bob, shared] = users(&dir.path().join("mail"));
    ann.create(&name("box")).unwrap();
    let mailbox = ann.mailbox(&name("box")).unwrap();
    append(&*mailbox, b"Subject: a\n\na\n", SEEN, &[], 1);
    append(&*mailbox, b"Subject: b\n\nb\n", FLAGGED, &[], 2);
    // What she has read is nobody's else.
    assert_eq!(flags(&*ann, "box"), [SEEN, FLAGGED]);
    assert_eq!(flags(&*bob, "box"), [NONE, FLAGGED]);
    assert_eq!(flags(&*shared, "box"), [NONE, FLAGGED]);
    // His is his, and all learn that there is something new about the message.
    let before = shown(&*ann, "box")[1].2;
    store_flags(&*bob, "box", 2, FlagAction::Add, SEEN | Flags::from(Flag::Answered));
    let answered = FLAGGED | Flags::from(Flag::Answered);
    assert_eq!(flags(&*ann, "box"), [SEEN, answered]);
    assert_eq!(flags(&*bob, "box"), [NONE, answered | SEEN]);
    assert_eq!(flags(&*shared, "box"), [NONE, answered]);
    assert!(shown(&*ann, "box")[1].2 > before);
    // A change of her own alone counts as one too, and not where it is none.
    let before = shown(&*shared, "box");
    store_flags(&*ann, "box", 1, FlagAction::Add, SEEN);
    assert_eq!(shown(&*shared, "box"), before);
    store_flags(&*ann, "box", 1, FlagAction::Remove, SEEN);
    assert_eq!(flags(&*ann, "box"), [NONE, answered]);
    assert!(shown(&*shared, "box")[0].2 > before[0].2);
    // And is refused where the message has changed since.
    let left = store_flags_since(&*ann, "box", 1, FlagAction::Add, SEEN, Some(before[0].2));
    assert_eq!((left.count(), flags(&*ann, "box")), (1, vec![NONE, answered]));
    // Exactly these flags: hers and everybody's.
    store_flags(&*ann, "box", 2, FlagAction::Replace, SEEN);
    assert_eq!((flags(&*ann, "box"), flags(&*bob, "box")), (vec![NONE, SEEN], vec![NONE, SEEN]));
    store_flags(&*bob, "box", 2, FlagAction::Replace, FLAGGED);
    assert_eq!((flags(&*ann, "box"), flags(&*bob, "box")), (vec![NONE, FLAGGED | SEEN], vec![NONE, FLAGGED]));
    assert_eq!(flags(&*shared, "box"), [NONE, FLAGGED]);
    let unseen = |store: &dyn MailStorage| store.status(&name("box")).unwrap().unseen;
    assert_eq!([unseen(&*ann), unseen(&*bob), unseen(&*shared)], [1, 2, 2]);
}

#[test]
fn copies_and_new_names_keep_what_a_user_has_read() {
    let dir = tempfile::tempdir().unwrap();
    let [ann, bob, shared] = users(&dir.path().join("mail"));
    ann.create(&name("box")).unwrap();
    ann.create(&name("other")).unwrap();
    append(&*ann.mailbox(&name("box")).unwrap(), b"Subject: a\n\na\n", SEEN, &[], 1);
    assert_eq!(flags(&*bob, "box"), [NONE]);
    // A message that comes behind both know.
    append(&*shared.mailbox(&name("box")).unwrap(), b"Subject: b\n\nb\n", SEEN, &[], 2);
    assert_eq!((flags(&*ann, "box"), flags(&*bob, "box")), (vec![SEEN, NONE], vec![NONE, NONE]));
    let copies = Batch::new().copy(ann.mailbox(&name("box")).unwrap(), shown_uids(2));
    ann.mailbox(&name("other")).unwrap().submit(copies).unwrap().wait().unwrap();
    assert_eq!((flags(&*ann, "other"), flags(&*shared, "other")), (vec![SEEN, NONE], vec![NONE, NONE]));
    ann.rename(&name("box"), &name("new/name")).unwrap();
    assert_eq!((flags(&*ann, "new/name"), flags(&*shared, "new/name")), (vec![SEEN, NONE], vec![NONE, SEEN]));
    // Another mailbox of the name is another mailbox, for those too who did not delete the one before.
    store_flags(&*bob, "other", 2, FlagAction::Add, SEEN);
    ann.delete(&name("other")).unwrap();
    ann.create(&name("other")).unwrap();
    append(&*shared.mailbox(&name("other")).unwrap(), b"Subject: c\n\nc\n", NONE, &[], 3);
    append(&*shared.mailbox(&name("other")).unwrap(), b"Subject: d\n\nd\n", NONE, &[], 4);
    assert_eq!((flags(&*ann, "other"), flags(&*bob, "other")), (vec![NONE, NONE], vec![NONE, NONE]));
    assert!(!dir.path().join("ann/mailboxes/box").exists());
}

/// The one who has the only record of what she has read loses what stood in the damage, and nothing else.
#[test]
fn damage_costs_what_stood_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    {
        let [ann, ..] = users(&root);
        ann.create(&name("box")).unwrap();
        let mailbox = ann.mailbox(&name("box")).unwrap();
        (1..=6).for_each(|n| append(&*mailbox, b"Subject: a\n\na\n", NONE, &[], n));
    }
    let log = dir.path().join("ann/mailboxes/box/dovecot.index.pvt.log");
    let mut begins = Vec::new();
    for uid in [1, 2, 3, 5] {
        let [ann, ..] = users(&root);
        drop(flags(&*ann, "box"));
        begins.push(std::fs::metadata(&log).unwrap().len());
        store_flags(&*ann, "box", uid, FlagAction::Add, SEEN);
    }
    assert!(begins.is_sorted_by(|a, b| a < b), "{begins:?}");
    let seen = [SEEN, SEEN, SEEN, NONE, SEEN, NONE];
    let [ann, _, shared] = users(&root);
    assert_eq!(flags(&*ann, "box"), seen);
    let mut bytes = std::fs::read(&log).unwrap();
    // What kind of a record it is.
    bytes[begins[1] as usize + 4..][..4].fill(0xee);
    std::fs::write(&log, &bytes).unwrap();
    // One that came since, which nobody has told her index of.
    append(&*shared.mailbox(&name("box")).unwrap(), b"Subject: b\n\nb\n", SEEN, &[], 7);
    let [ann, bob, _] = users(&root);
    assert_eq!(flags(&*ann, "box"), [SEEN, NONE, SEEN, NONE, SEEN, NONE, NONE]);
    assert_eq!(flags(&*bob, "box"), [NONE, NONE, NONE, NONE, NONE, NONE, SEEN]);
    store_flags(&*ann, "box", 2, FlagAction::Add, SEEN);
    let [ann, ..] = users(&root);
    assert_eq!(flags(&*ann, "box"), [SEEN, SEEN, SEEN, NONE, SEEN, NONE, NONE]);
}

fn check(root: &Path, repair: bool) -> CheckReport {
    let env = Env::new(Arc::new(mailfs::RealDisk::new()), EnvOptions::default());
    let list = ListOptions { private: Some(root.with_file_name("ann")), ..ListOptions::default() };
    let options = StoreOptions { list, ..StoreOptions::default() };
    let what = CheckOptions { repair, ..CheckOptions::default() };
    check_storage(&env, root, &options, &what, &mut |_| {}).unwrap()
}

/// Who has lost the index of her own, or has a damaged one, has not lost which messages she has read.
#[test]
fn an_index_that_was_lost_comes_back_and_the_check_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    {
        let [ann, ..] = users(&root);
        ann.create(&name("box")).unwrap();
        let mailbox = ann.mailbox(&name("box")).unwrap();
        (1..=4).for_each(|n| append(&*mailbox, b"Subject: a\n\na\n", NONE, &[], n));
        store_flags(&*ann, "box", 2, FlagAction::Add, SEEN);
        store_flags(&*ann, "box", 4, FlagAction::Add, SEEN);
    }
    let own = dir.path().join("ann/mailboxes/box");
    let files = || -> Vec<_> {
        let names = std::fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index.pvt")).collect()
    };
    let lose = || files().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let shown = || {
        let [ann, ..] = users(&root);
        flags(&*ann, "box")
    };
    let seen = [NONE, SEEN, NONE, SEEN];
    assert_eq!(shown(), seen);
    assert_eq!(check(&root, false).findings, []);
    // By whoever opens it.
    lose();
    assert_eq!(shown(), seen);
    // By a check, which changes nothing unless it is to repair.
    lose();
    let report = check(&root, false);
    let told: Vec<_> = report.findings.iter().map(|found| (found.kind, &*found.path, &*found.plan)).collect();
    let plan = "give it back as it is known by its second names (culver.kept.*): of 4 messages 2 are read";
    assert_eq!(told, [(FindingKind::Index, &*own, plan)]);
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());
    let outcomes = |report: CheckReport| report.findings.into_iter().map(|found| found.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(check(&root, true)), [Outcome::Repaired]);
    assert_eq!(check(&root, false).findings, []);
    assert_eq!(shown(), seen);
    // The length of the record that says that one more is read.
    let log = own.join("dovecot.index.pvt.log");
    let begin = std::fs::metadata(&log).unwrap().len() as usize;
    {
        let [ann, ..] = users(&root);
        store_flags(&*ann, "box", 3, FlagAction::Add, SEEN);
    }
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[begin..][..4].fill(0xee);
    std::fs::write(&log, &bytes).unwrap();
    let report = check(&root, true);
    assert!(report.findings.iter().all(|found| found.path == log), "{:?}", report.findings);
    assert!(outcomes(report.clone()).contains(&Outcome::Repaired), "{:?}", report.findings);
    assert_eq!(check(&root, false).findings, []);
    assert_eq!(shown(), seen);
}

#[test]
fn an_mbox_with_a_new_name_keeps_what_a_user_has_read() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::new(Arc::new(mailfs::RealDisk::new()), EnvOptions::default());
    let ann = (MBOX.open)(&env, &dir.path().join("mail"));
    ann.create(&name("box")).unwrap();
    append(&*ann.mailbox(&name("box")).unwrap(), b"Subject: a\n\na\n", NONE, &[], 1);
    store_flags(&*ann, "box", 1, FlagAction::Add, SEEN);
    ann.rename(&name("box"), &name("new/name")).unwrap();
    assert_eq!(flags(&*ann, "new/name"), [SEEN]);
    ann.rename(&name("new"), &name("last")).unwrap();
    assert_eq!(flags(&*ann, "last/name"), [SEEN]);
}

fn shown_uids(last: u32) -> UidSet {
    (1..=last).filter_map(Uid::new).collect()
}
