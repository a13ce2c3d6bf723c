//! What a store of mbox files does with files as other programs write them, and how it writes its own.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt, OpenMode, sim::SimDisk};
use mailindex::{
    engine::{
        Background, CommitError, CommitOp, CommitOutcome, CommitPoint, Env, EnvOptions, MailboxIndex, MessageStore,
        OpError, StoreError,
    },
    state::State,
};
use mailstore::{
    Append, Batch, FlagAction, FlagChange, ListPattern, MailStorage, StorageError, Store,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, UidSet};

const FROM: &str = "From a@b Thu Nov 29 22:33:52 2001\n";

struct Place {
    fs: Arc<dyn FileSystem>,
}

impl Place {
    fn new(inbox: &[u8]) -> Self {
        let fs = SimDisk::new().as_file_system();
        fs.create_dir(Path::new("/mail"), 0o700).unwrap();
        fs.write_atomic(Path::new("/mail/inbox"), inbox, 0o600, false).unwrap();
        Self { fs }
    }

    /// As another process would.
    fn open(&self) -> (Env, Store) {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(Arc::clone(&self.fs), options);
        let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
        let storage = MboxStorage::open(&env, Path::new("/mail"), &MboxPlaces::default(), options).unwrap();
        (env, Store::of(Arc::new(storage) as Arc<dyn MailStorage>))
    }

    fn text(&self) -> String {
        String::from_utf8(self.fs.read_all(Path::new("/mail/inbox"), 1 << 20).unwrap()).unwrap()
    }

    /// What another program appends, a second later.
    fn deliver(&self, text: &str) {
        self.fs.sleep(std::time::Duration::from_secs(2));
        let file = self.fs.open(Path::new("/mail/inbox"), OpenMode::ReadWrite).unwrap();
        file.write_at(text.as_bytes(), file.len().unwrap()).unwrap();
    }

    fn without_index(&self) {
        self.fs.remove_tree(Path::new("/mail/.imap/INBOX"), 100).unwrap();
    }
}

/// UID, flags, keywords and text of a message.
type Shown = (u32, Flags, Vec<String>, String);

fn shown(store: &Store) -> Vec<Shown> {
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let messages: Vec<_> = view.messages().map(|message| message.unwrap()).collect();
    let show = |message: &mailstore::Message<'_>| {
        let mut keywords: Vec<_> = message.keywords().iter().map(ToString::to_string).collect();
        keywords.sort();
        let text = String::from_utf8_lossy(&message.read().unwrap()).into_owned();
        (message.uid().value(), message.flags(), keywords, text)
    };
    messages.iter().map(show).collect()
}

#[test]
fn messages_are_written_as_dovecot_writes_them() {
    let place = Place::new(b"");
    let (_env, store) = place.open();
    let inbox = store.mailbox("INBOX").unwrap();
    let date = InternalDate::utc(1_658_224_530);
    inbox.append(Append::new(b"Subject: one\r\nFrom: a@b\r\n\r\nbody\r\n").internal_date(date)).unwrap();
    let kw = Keyword::new("kw1").unwrap();
    let two = b"Status: O\r\nSubject: two\r\nX-UID: 77\r\n\r\nFrom x Thu Nov 29 22:33:52 2001\r\nno end";
    inbox.append(Append::new(two).internal_date(date).flag(Flag::Seen).flag(Flag::Flagged).keyword(kw)).unwrap();
    let text = place.text();
    let squeezed: String = text.split_inclusive('\n').map(|line| format!("{}\n", line.trim_end())).collect();
    let base = squeezed.lines().find(|line| line.starts_with("X-IMAPbase: ")).unwrap();
    let expect = format!(
        "From MAILER-DAEMON  Tue Jul 19 09:55:30 2022\nSubject: one\nFrom: a@b\n{base}\nX-UID: 1\nStatus:\nX-Keywords:\n\
         Content-Length: 5\n\nbody\n\nFrom MAILER-DAEMON  Tue Jul 19 09:55:30 2022\nSubject: two\nX-UID: 2\nStatus: R\n\
         X-Status: F\nX-Keywords: kw1\nContent-Length: 39\n\nFrom x Thu Nov 29 22:33:52 2001\nno end\n\n"
    );
    assert_eq!(squeezed, expect);
    assert!(base.ends_with(" 0000000002"), "{base}");
    // All of it is in the file.
    let before = shown(&store);
    place.without_index();
    assert_eq!(shown(&place.open().1), before);
}

#[test]
fn mail_of_others_gets_uids_and_keeps_them() {
    let place = Place::new(format!("{FROM}A: 1\nDate: x\n\nbody 1\n\n{FROM}A: 2\nStatus: RO\n\nbody 2\n").as_bytes());
    {
        let (env, store) = place.open();
        let inbox = store.mailbox("INBOX").unwrap();
        let first = shown(&store);
        assert_eq!(
            first.iter().map(|m| (m.0, m.3.as_str())).collect::<Vec<_>>(),
            [(1, "A: 1\r\nDate: x\r\n\r\nbody 1\r\n"), (2, "A: 2\r\n\r\nbody 2")]
        );
        assert_eq!(first[1].1, Flag::Seen.into());
        place.deliver(&format!("{FROM}A: 3\n\nbody 3\n\n"));
        assert_eq!(shown(&store).len(), 3);
        assert!(!place.text().contains("X-UID"), "nothing is written while it is open");
        drop((inbox, store));
        env.drain();
    }
    let text = place.text();
    assert_eq!(text.matches("\nX-UID: ").count(), 3, "{text}");
    let before = shown(&place.open().1);
    place.without_index();
    assert_eq!(shown(&place.open().1), before);
}

#[test]
fn a_mailbox_that_becomes_empty_keeps_its_numbers() {
    let place = Place::new(b"");
    let (_env, store) = place.open();
    let inbox = store.mailbox("INBOX").unwrap();
    for n in 0..3 {
        inbox.append(Append::new(format!("Subject: {n}\n\nx\n").as_bytes())).unwrap();
    }
    let validity = inbox.mailbox().uid_validity();
    let view = inbox.view().unwrap();
    let uids = view.view().uids();
    inbox.mailbox().submit(mailstore::Batch::new().expunge(uids)).unwrap().wait().unwrap();
    assert!(place.text().contains("X-IMAP: "), "{}", place.text());
    assert_eq!(shown(&store), []);
    place.without_index();
    let (_env, store) = place.open();
    let inbox = store.mailbox("INBOX").unwrap();
    assert_eq!(inbox.mailbox().uid_validity(), validity);
    assert_eq!(inbox.append(Append::new(b"Subject: 4\n\nx\n")).unwrap().uid.value(), 4);
    assert_eq!(shown(&store).len(), 1);
}

#[test]
fn what_is_no_mbox_is_not_opened_nor_changed() {
    let place = Place::new(b"some notes\n");
    let (_env, store) = place.open();
    assert!(matches!(store.mailbox("INBOX"), Err(StorageError::NotPossible(_))));
    assert_eq!(place.text(), "some notes\n");
}

#[test]
fn a_name_is_a_folder_or_a_file() {
    let place = Place::new(b"");
    let (_env, store) = place.open();
    store.create_mailbox("a/b").unwrap();
    assert!(store.create_mailbox("a/b/c").is_err());
    assert!(store.create_mailbox("a").is_err());
    assert!(store.rename_mailbox("INBOX", "a/b/c").is_err());
    store.rename_mailbox("a", "d/e").unwrap();
    let listed = store.storage().list(&ListPattern::all()).unwrap();
    let names: Vec<_> = listed.iter().map(|info| (info.name.as_str(), info.selectable)).collect();
    assert_eq!(names, [("INBOX", true), ("d", false), ("d/e", false), ("d/e/b", true)]);
    assert!(matches!(store.mailbox("d/e"), Err(StorageError::NotSelectable(_))));
    store.delete_mailbox("d/e/b").unwrap();
    store.delete_mailbox("d/e").unwrap();
    assert!(store.storage().mailbox(&MailboxName::new("d/e/b").unwrap()).is_err());
}

#[test]
fn flags_that_are_asked_for_along_with_a_look_at_the_file_stay() {
    let place = Place::new(format!("{FROM}A: 1\n\nx\n\n{FROM}A: 2\n\nx\n\n").as_bytes());
    let (_env, store) = place.open();
    let inbox = store.mailbox("INBOX").unwrap();
    assert_eq!(shown(&store).len(), 2);
    place.deliver(&format!("{FROM}A: 3\n\nx\n\n"));
    let keyword = Keyword::new("kw").unwrap();
    let change = FlagChange {
        uids: inbox.view().unwrap().view().uids(),
        action: FlagAction::Add,
        flags: Flag::Flagged.into(),
        keywords: vec![keyword],
        unchanged_since: None,
    };
    place.deliver(&format!("{FROM}A: 4\n\nx\n\n"));
    // Nobody carries it before the next look, which finds flags in the file that are not so in the index.
    let ticket = inbox.mailbox().submit(Batch::new().flags(change)).unwrap();
    let messages = shown(&store);
    ticket.wait().unwrap();
    let is_flagged = |message: &&Shown| message.1 == Flag::Flagged.into() && message.2 == ["kw"];
    assert_eq!((messages.len(), messages.iter().take_while(is_flagged).count()), (4, 3), "{messages:?}");
    assert_eq!(shown(&store), messages);
}

/// An expunge that a Dovecot has written into the log and not carried out.
struct Asked(UidSet);

impl CommitOp for Asked {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        at.transaction().request_expunge(&self.0);
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        outcome.unwrap();
    }
}

struct NoStore;

impl MessageStore for NoStore {
    fn remove(&self, _: &State, _: &UidSet) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn what_others_ask_for_is_carried_out_by_whoever_comes_next() {
    let one = |uid: u32| -> UidSet { std::iter::once(mailtypes::Uid::new(uid).unwrap()).collect() };
    let text = format!("{FROM}A: 1\n\nx\n\n{FROM}A: 2\n\nx\n\n{FROM}A: 3\n\nx\n\n");
    let steps: [fn(&Store); 2] = [
        // The first wants the log alone, the second the file to read it.
        |store| {
            let inbox = store.mailbox("INBOX").unwrap();
            let uids = std::iter::once(mailtypes::Uid::new(2).unwrap()).collect();
            let (flags, keywords) = (Flag::Flagged.into(), Vec::new());
            let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
            inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
        },
        |store| assert_eq!(shown(store).len(), 2),
    ];
    for step in steps {
        let place = Place::new(text.as_bytes());
        let (_env, store) = place.open();
        let inbox = store.mailbox("INBOX").unwrap();
        assert_eq!(shown(&store).len(), 3);
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let other = Env::new(Arc::clone(&place.fs), options);
        let dir = Path::new("/mail/.imap/INBOX");
        let index = MailboxIndex::open(&other, dir, "dovecot.index", Arc::new(NoStore)).unwrap();
        index.enqueue(Box::new(Asked(one(1))));
        index.drive();
        step(&store);
        assert!(!place.text().contains("A: 1\n"), "{}", place.text());
        assert!(!index.refresh().unwrap().has_pending());
        drop(inbox);
    }
}

#[test]
fn flags_reach_the_file_at_check_and_when_the_last_handle_closes() {
    let place = Place::new(format!("{FROM}A: 1\n\nx\n\n{FROM}A: 2\n\nx\n\n").as_bytes());
    let (env, store) = place.open();
    let (one, two) = (store.mailbox("INBOX").unwrap(), store.mailbox("INBOX").unwrap());
    let flag = |uid: u32| {
        let uids = std::iter::once(mailtypes::Uid::new(uid).unwrap()).collect();
        let (flags, keywords) = (Flag::Flagged.into(), Vec::new());
        let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
        two.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    };
    let in_file = || place.text().matches("X-Status: F\n").count();
    flag(1);
    env.drain();
    assert_eq!(in_file(), 0);
    two.mailbox().checkpoint().unwrap();
    assert_eq!(in_file(), 1);
    flag(2);
    drop(one);
    env.drain();
    assert_eq!(in_file(), 1);
    drop(two);
    env.drain();
    assert_eq!(in_file(), 2);
}

#[test]
fn flags_reach_the_file_when_it_is_looked_at_a_minute_later() {
    let place = Place::new(format!("{FROM}A: 1\n\nx\n\n").as_bytes());
    let (env, store) = place.open();
    let inbox = store.mailbox("INBOX").unwrap();
    let uids = inbox.view().unwrap().view().uids();
    let (flags, keywords) = (Flag::Flagged.into(), Vec::new());
    let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
    inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    for (seconds, expect) in [(50, false), (20, true)] {
        place.fs.sleep(std::time::Duration::from_secs(seconds));
        shown(&store);
        env.drain();
        assert_eq!(place.text().contains("X-Status: F\n"), expect);
    }
}

/// More than is held of a header, with a body that holds what looks like another message.
fn long_header(fields_len: usize, injected: &str) -> Vec<u8> {
    let mut message = b"Date: Thu, 29 Nov 2001 22:33:52 +0000\nSubject: long\n".to_vec();
    for n in 0.. {
        if message.len() >= fields_len {
            break;
        }
        message.extend_from_slice(format!("X-Filler-{n}: {}\n", "y".repeat(900)).as_bytes());
    }
    message.extend_from_slice(format!("X-Last: z\n\nbody\n\n{injected}\n").as_bytes());
    message
}

#[test]
fn a_long_header_lets_no_line_of_its_body_be_a_message() {
    let injected = format!("{FROM}Subject: INJECTED\nX-UID: 3\nStatus: RO\n\nevil\n");
    for fields_len in [1 << 20, 3 << 20] {
        let place = Place::new(b"");
        let (env, store) = place.open();
        let inbox = store.mailbox("INBOX").unwrap();
        let message = long_header(fields_len, &injected);
        let with_own = [b"X-UID: 99\nStatus: RO\nContent-Length: 6\n", &message[..]].concat();
        inbox.append(Append::new(b"Subject: before\n\nx\n")).unwrap();
        inbox.append(Append::new(&with_own).flag(Flag::Flagged)).unwrap();
        inbox.append(Append::new(b"Subject: behind\n\nx\n")).unwrap();
        place.deliver(&format!("{FROM}Subject: delivered\n\nx\n\n"));
        let expect = String::from_utf8(message).unwrap().replace('\n', "\r\n");
        let check = |store: &Store, when: &str, uids: &[u32]| {
            let shown = shown(store);
            assert_eq!(shown.iter().map(|m| m.0).collect::<Vec<_>>(), uids, "{when}");
            let long = shown.iter().find(|m| m.0 == 2).unwrap();
            assert!(long.3 == expect, "{when}: {} and {} bytes", long.3.len(), expect.len());
            long.clone()
        };
        check(&store, "as delivered", &[1, 2, 3, 4]);
        // Flags are written into the header, and the message becomes the first of the file.
        let uids: UidSet = std::iter::once(mailtypes::Uid::new(2).unwrap()).collect();
        let keywords = (0..40).map(|n| Keyword::new(&format!("keyword-{n}")).unwrap()).collect();
        let flags = Flag::Seen.into();
        let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
        inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
        inbox.mailbox().checkpoint().unwrap();
        let flagged = check(&store, "flagged", &[1, 2, 3, 4]);
        let first = std::iter::once(mailtypes::Uid::MIN).collect();
        inbox.mailbox().submit(Batch::new().expunge(first)).unwrap().wait().unwrap();
        check(&store, "as the first", &[2, 3, 4]);
        inbox.append(Append::new(b"Subject: last\n\nx\n")).unwrap();
        drop((inbox, store));
        env.drain();
        drop(env);
        // All of it is in the file.
        place.without_index();
        let (_env, store) = place.open();
        assert_eq!(check(&store, "without an index", &[2, 3, 4, 5]), flagged);
        assert_eq!(flagged.1, [Flag::Seen, Flag::Flagged].into_iter().collect());
        assert_eq!(flagged.2.len(), 40);
    }
}

#[test]
fn keywords_of_mail_cannot_close_a_mailbox() {
    let mut text = String::new();
    for message in 0..18 {
        let keywords: Vec<String> = (0..256).map(|n| format!("k{message}-{n}")).collect();
        text += &format!("{FROM}Subject: {message}\nX-Keywords: {}\n\nx\n\n", keywords.join(" "));
    }
    let place = Place::new(b"");
    let (_env, store) = place.open();
    assert_eq!(shown(&store), []);
    place.deliver(&text);
    let all = shown(&store);
    let counts: Vec<_> = all.iter().map(|message| message.2.len()).collect();
    assert_eq!(counts, [[256; 16].as_slice(), &[0, 0]].concat());
    // The same in the messages that are known.
    place.deliver(&format!("{FROM}Subject: last\nX-Keywords: k0-0 more\n\nx\n\n"));
    assert_eq!(shown(&store).last().unwrap().2, ["k0-0"]);
    let inbox = store.mailbox("INBOX").unwrap();
    inbox.mailbox().checkpoint().unwrap();
    place.without_index();
    assert_eq!(shown(&place.open().1).len(), 19);
}

#[test]
fn uids_do_not_end_because_a_mail_says_so() {
    let place = Place::new(format!("{FROM}A: 1\nX-IMAPbase: 77 4294967293\nX-UID: 4294967293\n\nx\n\n").as_bytes());
    {
        let (env, store) = place.open();
        assert_eq!(shown(&store).iter().map(|m| m.0).collect::<Vec<_>>(), [1]);
        let inbox = store.mailbox("INBOX").unwrap();
        assert_ne!(inbox.mailbox().uid_validity().value(), 77);
        assert_eq!(inbox.append(Append::new(b"Subject: 2\n\nx\n")).unwrap().uid.value(), 2);
        drop((inbox, store));
        env.drain();
    }
    let base = place.text().lines().find(|line| line.starts_with("X-IMAPbase: ")).unwrap().to_owned();
    assert!(base.trim_end().ends_with(" 0000000002"), "{base}");
    place.without_index();
    assert_eq!(shown(&place.open().1).iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2]);
}

/// Another program has given nearly all UIDs: the index says so.
struct Given;

impl CommitOp for Given {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        let value = 4_294_967_290_u32.to_le_bytes();
        at.transaction().header_update(mailindex::state::RawIndexHeader::NEXT_UID, &value);
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        outcome.unwrap();
    }
}

#[test]
fn a_mailbox_without_uids_begins_anew() {
    let place = Place::new(format!("{FROM}A: 1\n\nx\n\n{FROM}A: 2\n\nx\n\n").as_bytes());
    let before = {
        let (_env, store) = place.open();
        assert_eq!(shown(&store).len(), 2);
        store.mailbox("INBOX").unwrap().mailbox().uid_validity()
    };
    {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let other = Env::new(Arc::clone(&place.fs), options);
        let dir = Path::new("/mail/.imap/INBOX");
        let index = MailboxIndex::open(&other, dir, "dovecot.index", Arc::new(NoStore)).unwrap();
        index.enqueue(Box::new(Given));
        index.drive();
        assert_eq!(index.refresh().unwrap().next_uid().value(), 4_294_967_290);
    }
    // And so does the file, whether it was told of the first two or not.
    let (text, own) = (place.text(), format!("X-IMAPbase: {} ", before.value()));
    let text = match text.contains(&own) {
        true => text.replacen(&format!("{own}0000000002"), &format!("{own}4294967289"), 1),
        false => text.replacen("A: 1\n", &format!("A: 1\n{own}4294967289\n"), 1),
    };
    assert_eq!(text.matches("4294967289").count(), 1);
    place.fs.write_atomic(Path::new("/mail/inbox"), text.as_bytes(), 0o600, false).unwrap();
    let (_env, store) = place.open();
    assert_eq!(shown(&store).iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2]);
    let after = store.mailbox("INBOX").unwrap().mailbox().uid_validity();
    assert!(after > before, "{after} behind {before}");
}

#[test]
fn a_mail_with_the_field_of_the_message_that_is_none_is_shown() {
    let place = Place::new(format!("{FROM}A: 1\nX-IMAP: hello\n\nx\n\n{FROM}A: 2\n\nx\n\n").as_bytes());
    assert_eq!(shown(&place.open().1).len(), 2);
}

/// A message that another program puts between two others gets a new UID, and so does the one behind it: UIDs ascend along
/// the file. Flags that were yet to be written go with it.
#[test]
fn a_message_in_the_middle_makes_those_behind_it_new() {
    let message = |n: u32| format!("{FROM}Date: {n}\n\nbody {n}\n\n");
    let place = Place::new([1, 2, 3].map(message).concat().as_bytes());
    let (env, store) = place.open();
    assert_eq!(shown(&store).iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2, 3]);
    let keyword = Keyword::new("kw1").unwrap();
    let change = FlagChange {
        uids: [2].into_iter().map(|uid| mailtypes::Uid::new(uid).unwrap()).collect(),
        action: FlagAction::Add,
        flags: Flag::Flagged.into(),
        keywords: vec![keyword],
        unchanged_since: None,
    };
    store.mailbox("INBOX").unwrap().mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    assert!(!place.text().contains("kw1"), "it is not written yet");
    place.fs.sleep(std::time::Duration::from_secs(2));
    let changed = [1, 9, 2, 3].map(message).concat();
    place.fs.write_atomic(Path::new("/mail/inbox"), changed.as_bytes(), 0o600, false).unwrap();
    let none = Vec::<String>::new;
    let expect: [Shown; 4] = [
        (1, Flags::NONE, none(), "Date: 1\r\n\r\nbody 1\r\n".to_owned()),
        (4, Flags::NONE, none(), "Date: 9\r\n\r\nbody 9\r\n".to_owned()),
        (5, Flag::Flagged.into(), vec!["kw1".to_owned()], "Date: 2\r\n\r\nbody 2\r\n".to_owned()),
        (6, Flags::NONE, none(), "Date: 3\r\n\r\nbody 3\r\n".to_owned()),
    ];
    assert_eq!(shown(&store), expect);
    drop(store);
    env.drain();
    let text = place.text();
    let uids: Vec<_> = text.lines().filter_map(|line| Some(line.strip_prefix("X-UID: ")?.trim_end())).collect();
    assert_eq!(uids, ["1", "4", "5", "6"], "{text}");
    place.without_index();
    assert_eq!(shown(&place.open().1), expect);
}
