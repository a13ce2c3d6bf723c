//! Whatever stands in an mbox: writing flags, expunges and new messages into it changes nothing that a reader sees of the
//! other messages.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod random_mboxes;

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Batch, FlagAction, FlagChange, MailStorage, Store,
    mbox::{FromLine, MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Flags, Keyword, UidSet};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, RngSeed},
};

const INBOX: &str = "/mail/inbox";

/// UID, flags, keywords and text of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Shown {
    uid: u32,
    flags: Flags,
    keywords: Vec<String>,
    text: String,
}

fn open(fs: &Arc<dyn FileSystem>) -> (Env, Store) {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(Arc::clone(fs), options);
    let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
    let storage = MboxStorage::open(&env, Path::new("/mail"), &MboxPlaces::default(), options).unwrap();
    (env, Store::of(Arc::new(storage) as Arc<dyn MailStorage>))
}

/// What a process shows that comes anew, and that does what was put off before it goes.
fn with_store<T>(fs: &Arc<dyn FileSystem>, work: impl FnOnce(&Store) -> T) -> T {
    let (env, store) = open(fs);
    let done = work(&store);
    drop(store);
    env.drain();
    done
}

fn shown(store: &Store) -> Vec<Shown> {
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let messages = view.messages().map(|message| {
        let message = message.unwrap();
        let mut keywords: Vec<_> = message.keywords().iter().map(ToString::to_string).collect();
        keywords.sort();
        let text = String::from_utf8_lossy(&message.read().unwrap()).into_owned();
        Shown { uid: message.uid().value(), flags: message.flags(), keywords, text }
    });
    messages.collect()
}

/// A message that is nothing but a line that looks like a separator, or goes on with another, gets a line end, or the
/// fields of ours would make it one.
fn is_as_before(before: &str, after: &str) -> bool {
    let is_one_line = FromLine::parse(before.as_bytes()).is_some() || before.starts_with([' ', '\t']);
    before == after || is_one_line && after.strip_suffix("\r\n") == Some(before)
}

fn check_texts(before: &[Shown], after: &[Shown], when: &str) -> Result<(), TestCaseError> {
    let uids = |all: &[Shown]| all.iter().map(|message| message.uid).collect::<Vec<_>>();
    prop_assert_eq!(uids(before), uids(after), "{}", when);
    for (before, after) in before.iter().zip(after) {
        let same = is_as_before(&before.text, &after.text);
        prop_assert!(same, "{} UID {}: {:?} was {:?}", when, before.uid, after.text, before.text);
    }
    Ok(())
}

/// Flags for every other message, keywords that need room for every third.
fn mark(store: &Store, before: &[Shown], mask: u8) {
    let inbox = store.mailbox("INBOX").unwrap();
    for (number, message) in before.iter().enumerate().filter(|(number, _)| mask >> (number % 8) & 1 == 1) {
        let uids: UidSet = std::iter::once(mailtypes::Uid::new(message.uid).unwrap()).collect();
        let words = if number % 3 == 0 { 4 } else { 0 };
        let keywords = (0..words).map(|n| Keyword::new(&format!("a-keyword-of-some-length-{n}")).unwrap()).collect();
        let flags = Flag::Flagged.into();
        let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
        inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    }
}

fn check(file: &[u8], mask: u8, pick: usize) -> Result<(), TestCaseError> {
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(Path::new("/mail"), 0o700).unwrap();
    fs.write_atomic(Path::new(INBOX), file, 0o600, false).unwrap();
    let before = with_store(&fs, shown);
    check_texts(&before, &with_store(&fs, shown), "written when it was closed")?;
    let marked = with_store(&fs, |store| {
        mark(store, &before, mask);
        shown(store)
    });
    check_texts(&before, &marked, "marked")?;
    let after = with_store(&fs, shown);
    check_texts(&before, &after, "marks written")?;
    let flags = |all: &[Shown]| all.iter().map(|m| (m.flags, m.keywords.clone())).collect::<Vec<_>>();
    prop_assert_eq!(flags(&marked), flags(&after));
    fs.remove_tree(Path::new("/mail/.imap/INBOX"), 100).unwrap();
    let anew = with_store(&fs, shown);
    check_texts(&after, &anew, "without the index")?;
    prop_assert_eq!(flags(&marked), flags(&anew));
    let kept = with_store(&fs, |store| {
        let gone = anew.get(pick % anew.len().max(1)).map(|message| message.uid);
        let inbox = store.mailbox("INBOX").unwrap();
        let uids: UidSet = gone.into_iter().filter_map(mailtypes::Uid::new).collect();
        inbox.mailbox().submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
        anew.iter().filter(|message| Some(message.uid) != gone).cloned().collect::<Vec<_>>()
    });
    check_texts(&kept, &with_store(&fs, shown), "after an expunge")?;
    check_append(&fs, &kept)
}

fn check_append(fs: &Arc<dyn FileSystem>, kept: &[Shown]) -> Result<(), TestCaseError> {
    let file = fs.read_all(Path::new(INBOX), 1 << 20).unwrap();
    let last_line = file.rsplit(|c| *c == b'\n').next().unwrap_or_default();
    if FromLine::parse(last_line).is_some() {
        // With a line end it becomes a separator, and one must stand before the next.
        return Ok(());
    }
    let text = "Subject: new\r\n\r\nFrom a Thu Nov 29 22:33:52 2001\r\nx\r\n";
    let uid = with_store(fs, |store| {
        store.mailbox("INBOX").unwrap().append(Append::new(text.as_bytes())).unwrap().uid.value()
    });
    let mut expect = kept.to_vec();
    expect.push(Shown { uid, flags: Flags::NONE, keywords: Vec::new(), text: text.to_owned() });
    check_texts(&expect, &with_store(fs, shown), "after an append")
}

fn seeded(cases: u32) -> ProptestConfig {
    let seed = RngSeed::Fixed(20_261_122);
    ProptestConfig {
        cases,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: seed,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded(std::env::var("CULVER_MBOX_CASES").map_or(600, |cases| cases.parse().unwrap())))]

    #[test]
    fn messages_stay_what_they_are(file in random_mboxes::mbox(), mask: u8, pick in 0..8usize) {
        check(&file, mask, pick)?;
    }
}
