//! Checks: a sound store is clean and not a byte of it changes; what is wrong is told with its place; a repair leaves
//! nothing of it, loses no message, and keeps what it replaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod names_below;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::RealDisk;
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Format, Store, StoreOptions,
    check::{CheckOptions, CheckReport, Finding, FindingKind, Outcome, check_storage},
    maildir::MaildirLayout,
};
use mailtypes::{Flag, Keyword};
use names_below::names_below;

const SDBOX: Format = Format::Sdbox;
const MAILDIR: Format = Format::Maildir(MaildirLayout::PlusPlus);
const MESSAGES: usize = 5;

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn check(root: &Path, repair: bool) -> CheckReport {
    let options = CheckOptions { repair, deep: true, ..CheckOptions::default() };
    check_storage(&env(), root, &StoreOptions::default(), &options, &mut |_| {}).unwrap()
}

/// INBOX with five messages, one of them gone again, and an empty mailbox beside it.
fn store(format: Format) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
    let store = Store::create_in(&env, &root, &options).unwrap();
    store.create_mailbox("Work").unwrap();
    store.subscribe("Work").unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for n in 1..=MESSAGES + 1 {
        let text = format!("Subject: message {n}\r\n\r\n{}\r\n", "body ".repeat(n * 10));
        let keyword = Keyword::new(&format!("k{n}")).unwrap();
        inbox.append(Append::new(text.as_bytes()).flag(Flag::Flagged).keyword(keyword)).unwrap();
    }
    let view = inbox.view().unwrap();
    let last = view.messages().last().unwrap().unwrap().uid();
    view.expunge(&std::iter::once(last).collect()).unwrap();
    store.flush().unwrap();
    drop((view, inbox, store));
    env.drain();
    (dir, root)
}

fn mails(root: &Path) -> PathBuf {
    root.join("mailboxes/INBOX/dbox-Mails")
}

/// Every name with its content's length, time and inode.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let identity = |there: &fs::Metadata| (there.len(), there.mtime(), there.mtime_nsec(), there.ino());
    names_below(root).into_iter().map(|(path, there)| (path, identity(&there))).collect()
}

fn problems(report: &CheckReport) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.is_problem()).collect()
}

fn kinds(report: &CheckReport) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = problems(report).iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// What is shown of INBOX: UIDs, whether flagged, keywords, bodies (`None`: cannot be read).
fn shown(root: &Path) -> Vec<(u32, bool, usize, Option<Vec<u8>>)> {
    let store = Store::open_in(&env(), root, &StoreOptions::default()).unwrap();
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let messages = view.messages().map(Result::unwrap);
    messages.map(|m| (m.uid().value(), m.flags().contains(Flag::Flagged), m.keywords().len(), m.read().ok())).collect()
}

fn all_there(root: &Path) {
    let shown = shown(root);
    assert_eq!(shown.len(), MESSAGES);
    assert!(shown.iter().all(|(_, flagged, keywords, body)| *flagged && *keywords == 1 && body.is_some()), "{shown:?}");
}

/// Finds these kinds without changing anything, repairs them, and finds nothing afterwards.
fn found_and_repaired(root: &Path, expected: &[FindingKind]) -> CheckReport {
    let before = tree(root);
    let looked = check(root, false);
    assert_eq!(kinds(&looked), expected, "{looked:#?}");
    assert!(looked.count(&Outcome::Found) > 0 && !looked.is_whole());
    assert_eq!(tree(root), before, "looking changes nothing");
    for finding in problems(&looked) {
        assert!(!finding.what.is_empty() && !finding.plan.is_empty(), "{finding:?}");
    }
    let repaired = check(root, true);
    assert!(repaired.is_whole(), "{repaired:#?}");
    assert!(repaired.count(&Outcome::Repaired) > 0);
    let after = check(root, false);
    assert!(after.is_clean(), "{after:#?}");
    repaired
}

fn has_kept(dir: &Path, file: &str) -> bool {
    dir.join(format!("culver.damaged.{file}.1")).exists()
}

#[test]
fn a_sound_store_is_clean_and_stays_as_it_is() {
    for format in [SDBOX, Format::Mdbox, MAILDIR, Format::Maildir(MaildirLayout::Fs), Format::Mbox] {
        let (_dir, root) = store(format);
        let before = tree(&root);
        let report = check(&root, false);
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.mailboxes, report.messages), (2, MESSAGES as u64));
        assert!(report.body_bytes > 500);
        assert!(check(&root, true).is_clean());
        assert_eq!(tree(&root), before);
    }
}

#[test]
fn a_message_file_that_is_gone() {
    let (_dir, root) = store(SDBOX);
    fs::remove_file(mails(&root).join("u.3")).unwrap();
    let report = found_and_repaired(&root, &[FindingKind::BodyMissing]);
    assert_eq!(problems(&report)[0].uid.unwrap().value(), 3);
    assert_eq!(shown(&root).iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn a_message_that_the_index_has_lost() {
    let (_dir, root) = store(SDBOX);
    // As an expunge leaves it that was recorded and not carried out.
    fs::copy(mails(&root).join("u.1"), mails(&root).join("u.6")).unwrap();
    found_and_repaired(&root, &[FindingKind::BodyUnknown]);
    assert_eq!(shown(&root).len(), MESSAGES + 1);
}

#[test]
fn a_message_that_was_cut() {
    let (_dir, root) = store(SDBOX);
    let path = mails(&root).join("u.4");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 150]).unwrap();
    found_and_repaired(&root, &[FindingKind::BodyDamaged]);
    all_there(&root);
    assert!(has_kept(&mails(&root), "u.4"));
    let left = shown(&root)[3].3.clone().unwrap();
    assert!(left.starts_with(b"Subject: message 4\r\n\r\nbody "));
}

#[test]
fn a_size_that_is_another() {
    let (_dir, root) = store(SDBOX);
    let path = mails(&root).join("u.2");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(2).rposition(|window| window == b"\nV").unwrap() + 2;
    bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
    fs::write(&path, bytes).unwrap();
    found_and_repaired(&root, &[FindingKind::SizeWrong]);
    all_there(&root);
}

/// A bit of a body that is another, with nothing else amiss: only the checksum tells.
#[test]
fn a_body_that_rotted() {
    for (format, file) in [(SDBOX, "mailboxes/INBOX/dbox-Mails/u.4"), (Format::Mdbox, "storage/m.1")] {
        let (_dir, root) = store(format);
        let path = root.join(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(18).position(|window| window == b"Subject: message 4").unwrap();
        bytes[at + 25] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let shallow = CheckOptions::default();
        let report = check_storage(&env(), &root, &StoreOptions::default(), &shallow, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "nobody has read the bodies: {report:#?}");
        let report = check(&root, false);
        assert_eq!(kinds(&report), [FindingKind::BodyChanged], "{report:#?}");
        let found = problems(&report)[0];
        assert_eq!((found.uid.unwrap().value(), &found.path), (4, &path));
        assert!(found.offset.is_some_and(|offset| offset <= at as u64 && offset + 40 > at as u64), "{found:?}");
        let view = Store::open(&root).unwrap().mailbox("INBOX").unwrap().view().unwrap();
        let fourth = view.messages().nth(3).unwrap().unwrap();
        assert_eq!(found.guid, Some(fourth.guid().unwrap()));
        let said = found.to_string();
        let guid = found.guid.unwrap().to_string();
        assert!(["UID 4", &guid, path.to_str().unwrap(), "checksum"].iter().all(|word| said.contains(word)), "{said}");
        assert_eq!(found.json()["guid"], guid);
        // There is nothing to repair it with, and a repair says so, and leaves it.
        let report = check(&root, true);
        assert_eq!(problems(&report)[0].outcome, Outcome::Left, "{report:#?}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn index_files_that_are_damaged() {
    for (file, offset) in [("dovecot.index.log", 40), ("dovecot.index", 20), ("dovecot.index.cache", 33)] {
        let (_dir, root) = store(SDBOX);
        // Dovecot and Culver alike write a snapshot at last when there was much to write.
        if file == "dovecot.index" {
            fs::write(mails(&root).join(file), vec![0xff; 300]).unwrap();
        }
        let path = mails(&root).join(file);
        let mut bytes = fs::read(&path).unwrap();
        for byte in bytes.iter_mut().skip(offset).take(8) {
            *byte ^= 0x5a;
        }
        fs::write(&path, bytes).unwrap();
        let kinds = match file {
            // What the log does not say any more nothing else says.
            "dovecot.index.log" => &[FindingKind::Index, FindingKind::BodyUnknown][..],
            "dovecot.index" => &[FindingKind::Index],
            _ => &[FindingKind::Cache],
        };
        found_and_repaired(&root, kinds);
        assert!(has_kept(&mails(&root), file), "{file}");
        assert_eq!(shown(&root).len(), MESSAGES);
    }
}

/// What was written behind the damage counts, and what stood before it: only what the damaged record said is lost.
#[test]
fn a_log_goes_on_behind_its_damage() {
    let (_dir, root) = store(SDBOX);
    let path = mails(&root).join("dovecot.index.log");
    let flag = |uid: u32, flag: Flag| {
        let store = Store::open(&root).unwrap();
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        view.update_one(mailtypes::Uid::new(uid).unwrap()).add(flag).commit().unwrap();
        store.flush().unwrap();
        fs::metadata(&path).unwrap().len() as usize
    };
    flag(1, Flag::Answered);
    let before = fs::metadata(&path).unwrap().len() as usize;
    let behind = flag(2, Flag::Answered);
    flag(3, Flag::Answered);
    let whole = fs::read(&path).unwrap();
    // An expunge without its protection, and a size that leads behind the end of the file.
    for (at, with) in [(before + 4, 0x01_u8), (before + 1, 0xff)] {
        let mut bytes = whole.clone();
        bytes[at] = with;
        fs::write(&path, bytes).unwrap();
        assert!(behind < whole.len());
        let report = check(&root, true);
        assert!(report.is_whole() && report.count(&Outcome::Repaired) > 0, "{report:#?}");
        all_there(&root);
        let store = Store::open(&root).unwrap();
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let answered = |message: &mailstore::Message<'_>| message.flags().contains(Flag::Answered);
        let all = view.messages().map(Result::unwrap).filter(answered).map(|message| message.uid().value());
        assert_eq!(all.collect::<Vec<_>>(), [1, 3], "byte {at}");
        assert!(has_kept(&mails(&root), "dovecot.index.log"));
        drop(view);
        // For the next.
        for name in ["dovecot.index", "dovecot.index.log.2", "dovecot.index.cache"] {
            let _ = fs::remove_file(mails(&root).join(name));
        }
        for entry in fs::read_dir(mails(&root)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("culver.") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn index_files_that_are_lost() {
    let (_dir, root) = store(SDBOX);
    for entry in fs::read_dir(mails(&root)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index") {
            fs::remove_file(path).unwrap();
        }
    }
    found_and_repaired(&root, &[FindingKind::Index]);
    assert_eq!(shown(&root).len(), MESSAGES);
}

#[test]
fn a_uid_list_that_is_damaged() {
    let (_dir, root) = store(MAILDIR);
    let path = root.join("dovecot-uidlist");
    let before = shown(&root);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let damaged: String =
        lines.iter().map(|l| if l.starts_with("2 ") { "?\n".to_owned() } else { format!("{l}\n") }).collect();
    fs::write(&path, damaged).unwrap();
    found_and_repaired(&root, &[FindingKind::UidList]);
    assert!(has_kept(&root, "dovecot-uidlist"));
    all_there(&root);
    let same = shown(&root).iter().filter(|message| before.contains(message)).count();
    assert_eq!(same, MESSAGES - 1, "the others keep their UIDs");
}

#[test]
fn a_uid_list_that_lost_its_first_line() {
    let (_dir, root) = store(MAILDIR);
    let path = root.join("dovecot-uidlist");
    let before = shown(&root);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..10].fill(0);
    fs::write(&path, bytes).unwrap();
    found_and_repaired(&root, &[FindingKind::UidList]);
    assert_eq!(shown(&root), before);
}

#[test]
fn keywords_and_sizes_of_a_maildir() {
    let (_dir, root) = store(MAILDIR);
    let path = root.join("dovecot-keywords");
    fs::write(&path, [&b"rubbish\n"[..], &fs::read(&path).unwrap()].concat()).unwrap();
    let cur: Vec<_> = fs::read_dir(root.join("cur")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let before = shown(&root);
    let short = fs::read(&cur[0]).unwrap();
    fs::write(&cur[0], &short[..short.len() - 10]).unwrap();
    found_and_repaired(&root, &[FindingKind::SizeWrong, FindingKind::Keywords]);
    let after = shown(&root);
    let ids = |shown: &[(u32, bool, usize, Option<Vec<u8>>)]| shown.iter().map(|m| (m.0, m.1, m.2)).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before), "UIDs, flags and keywords stay");
}

/// One bit of a keyword's name: the index has the old one still, for the same messages.
#[test]
fn a_keyword_that_is_misspelt() {
    let (_dir, root) = store(MAILDIR);
    let path = root.join("dovecot-keywords");
    let keywords = |root: &Path| {
        let store = Store::open_in(&env(), root, &StoreOptions::default()).unwrap();
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let all = view.messages().map(|message| format!("{:?}", message.unwrap().keywords()));
        all.collect::<Vec<_>>()
    };
    let before = keywords(&root);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(" k2\n"), "{text}");
    fs::write(&path, text.replace(" k2\n", " j2\n")).unwrap();
    let report = found_and_repaired(&root, &[FindingKind::Keywords]);
    assert!(problems(&report)[0].what.contains("j2"), "{report:#?}");
    assert!(has_kept(&root, "dovecot-keywords"));
    assert_eq!(keywords(&root), before);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn what_concerns_the_store() {
    for format in [SDBOX, MAILDIR] {
        let (_dir, root) = store(format);
        let path = root.join("subscriptions");
        let text = fs::read(&path).unwrap();
        fs::write(&path, [&b"V\t9\n\n"[..], &text[5..]].concat()).unwrap();
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().contains("dovecot-uidvalidity.") {
                fs::rename(&path, root.join("dovecot-uidvalidity.00000007")).unwrap();
            }
        }
        found_and_repaired(&root, &[FindingKind::Subscriptions, FindingKind::UidValidity]);
        assert!(has_kept(&root, "subscriptions"));
        assert_eq!(Store::open(&root).unwrap().subscriptions().unwrap().len(), 1);
        all_there(&root);
    }
}

/// A mode that keeps even the owner out is seen by whoever is above modes.
#[test]
fn a_file_that_its_owner_may_not_read() {
    for (format, file, mode) in [
        (SDBOX, "mailboxes/INBOX/dbox-Mails/u.2", 0o000),
        (MAILDIR, "dovecot-uidlist", 0o444),
        (Format::Mbox, "inbox", 0o400),
    ] {
        let (_dir, root) = store(format);
        let path = root.join(file);
        let is_root = fs::metadata(&root).unwrap().uid() == 0;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if !is_root {
            return;
        }
        let report = found_and_repaired(&root, &[FindingKind::Rights]);
        assert!(problems(&report)[0].what.contains("owner"), "{report:#?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o600, 0o600);
        all_there(&root);
    }
}

/// What an mbox says of itself, and what its index says of it.
#[test]
fn an_mbox_that_is_damaged() {
    let (_dir, root) = store(Format::Mbox);
    let path = root.join("inbox");
    let sound = fs::read_to_string(&path).unwrap();
    let shallow =
        |root: &Path| check_storage(&env(), root, &StoreOptions::default(), &CheckOptions::default(), &mut |_| {});
    // A UID that is there already.
    assert!(sound.contains("X-UID: 3"), "{sound}");
    fs::write(&path, sound.replace("X-UID: 3", "X-UID: 2")).unwrap();
    assert!(shallow(&root).unwrap().is_clean(), "nobody has read the file");
    let report = check(&root, false);
    assert!(kinds(&report).contains(&FindingKind::UidList), "{report:#?}");
    let found = problems(&report).into_iter().find(|finding| finding.kind == FindingKind::UidList).unwrap();
    assert!(found.offset.is_some_and(|offset| sound[offset as usize..].starts_with("From ")), "{found:?}");
    let report = check(&root, true);
    assert!(report.is_whole(), "{report:#?}");
    assert!(check(&root, false).is_clean());
    assert_eq!(shown(&root).len(), MESSAGES);
    // Another mailbox's.
    let sound = fs::read_to_string(&path).unwrap();
    let at = sound.find("X-IMAPbase: ").or_else(|| sound.find("X-IMAP: ")).unwrap();
    let start = at + sound[at..].find(": ").unwrap() + 2;
    let other = format!("{}{}{}", &sound[..start], "1234567890", &sound[start + 10..]);
    fs::write(&path, other).unwrap();
    let report = check(&root, false);
    assert!(kinds(&report).contains(&FindingKind::UidValidity), "{report:#?}");
    assert!(check(&root, true).is_whole());
    assert_eq!(Store::open(&root).unwrap().mailbox("INBOX").unwrap().mailbox().uid_validity().value(), 1_234_567_890);
    // Messages that are gone, with the index saying that it knows the file.
    let sound = fs::read(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut other = sound.clone();
    let last = other.windows(6).rposition(|window| window == b"\nFrom ").unwrap();
    other[last + 1] = b'G';
    fs::write(&path, &other).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let report = check(&root, false);
    assert_eq!(kinds(&report), [FindingKind::BodyMissing], "{report:#?}");
    assert!(check(&root, true).is_whole());
    assert_eq!(shown(&root).len(), MESSAGES - 1);
    // And no mbox at all.
    fs::write(&path, [b"?", &sound[..]].concat()).unwrap();
    let report = check(&root, true);
    assert!(kinds(&report).contains(&FindingKind::BodyDamaged) && !report.is_whole(), "{report:#?}");
    assert_eq!(fs::read(&path).unwrap().len(), sound.len() + 1, "nothing is written to it");
}

/// One bit of a keyword's name or of a message's place in the index: what the file says counts.
#[test]
fn an_index_of_an_mbox_that_is_wrong_without_a_sign() {
    let keywords = |root: &Path| -> Vec<_> {
        let store = Store::open_in(&env(), root, &StoreOptions::default()).unwrap();
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        view.messages().map(|message| format!("{:?}", message.unwrap().keywords())).collect()
    };
    let (_dir, root) = store(Format::Mbox);
    let (log, file) = (root.join(".imap/INBOX/dovecot.index.log"), fs::read(root.join("inbox")).unwrap());
    let before = (keywords(&root), shown(&root));
    let flip = |what: &[u8]| {
        let mut bytes = fs::read(&log).unwrap();
        let at = bytes.windows(what.len()).rposition(|window| window == what).unwrap();
        bytes[at] ^= 1;
        fs::write(&log, bytes).unwrap();
    };
    flip(b"k3");
    assert_ne!(keywords(&root), before.0);
    found_and_repaired(&root, &[FindingKind::Flags]);
    assert_eq!((keywords(&root), shown(&root)), before);
    let starts: Vec<_> =
        file.windows(6).enumerate().filter(|(_, window)| *window == b"\nFrom ").map(|(at, _)| at).collect();
    flip(&(starts[2] as u64).to_le_bytes());
    found_and_repaired(&root, &[FindingKind::Index]);
    assert_eq!((keywords(&root), shown(&root)), before);
    // The record that appends the third is no record any more: the message is in the file, under its UID.
    let (append, mut bytes) = ([2, 0, 0, 0x10, 3, 0, 0, 0], fs::read(&log).unwrap());
    let at = bytes.windows(append.len()).position(|window| window == append).unwrap();
    bytes[at + 1] ^= 0x10;
    fs::write(&log, bytes).unwrap();
    assert!(kinds(&check(&root, false)).contains(&FindingKind::BodyUnknown));
    assert!(check(&root, true).is_whole());
    assert!(check(&root, false).is_clean());
    assert_eq!((keywords(&root), shown(&root)), before);
    // Whoever reads the message before it without a check sees the right end of that, too.
    flip(&(starts[2] as u64).to_le_bytes());
    assert_eq!((keywords(&root), shown(&root)), before);
}

#[test]
fn a_file_of_messages_that_was_cut() {
    let (_dir, root) = store(Format::Mdbox);
    let path = root.join("storage/m.1");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let before = tree(&root);
    let report = check(&root, false);
    assert!(kinds(&report).contains(&FindingKind::Storage), "{report:#?}");
    assert!(kinds(&report).contains(&FindingKind::BodyDamaged), "{report:#?}");
    assert_eq!(tree(&root), before, "looking changes nothing");
    // What is cut off is not brought back, and that is told once.
    let report = check(&root, true);
    let is_lost = |found: &&&Finding| found.outcome == Outcome::Left && found.what.contains("in no file of messages");
    let told: Vec<_> = problems(&report).iter().filter(is_lost).map(|found| found.kind).collect();
    assert_eq!(told, [FindingKind::BodyMissing], "{report:#?}");
    // As with Dovecot, a message that is nowhere is in no mailbox; what is left of its file is kept.
    let left = shown(&root).len();
    assert!(left > 0 && left < MESSAGES, "{left}");
    assert_eq!(fs::read(root.join("storage/culver.damaged.m.1.1")).unwrap(), whole[..whole.len() / 2]);
    assert!(check(&root, true).is_clean(), "and nothing is damaged any more");
}

#[test]
fn one_mailbox_alone() {
    let (_dir, root) = store(SDBOX);
    fs::remove_file(mails(&root).join("u.3")).unwrap();
    let of = |name: &str| {
        let mailbox = Some(mailtypes::MailboxName::new(name).unwrap());
        let options = CheckOptions { mailbox, ..CheckOptions::default() };
        check_storage(&env(), &root, &StoreOptions::default(), &options, &mut |_| {})
    };
    assert!(of("Work").unwrap().is_clean());
    assert!(!of("INBOX").unwrap().is_clean());
    assert!(of("None").is_err());
}
