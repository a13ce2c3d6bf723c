//! The everyday API does the same on every backend: in memory, in an sdbox, in a Maildir.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::Read, sync::Arc};

use mailstore::{
    Append, Column, Columns, Format, StorageError, Store, StoreOptions,
    maildir::MaildirLayout,
    mailfs::RealDisk,
    mailindex::engine::{Env, EnvOptions, Fsync},
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{Flag, Flags, InternalDate, Keyword, SearchKey, Uid, UidSet};

/// Each check on each backend, with an empty store of its own.
fn on_each(check: impl Fn(&str, &dyn Fn() -> Store)) {
    let memory = || Store::of(Arc::new(MemoryStorage::new(MemoryOptions::default())));
    check("memory", &memory);
    for format in [Format::Sdbox, Format::Maildir(MaildirLayout::PlusPlus)] {
        let dirs = std::cell::RefCell::new(Vec::new());
        let on_disk = || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("mail");
            dirs.borrow_mut().push(dir);
            let env = Env::new(Arc::new(RealDisk::new()), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() });
            let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
            Store::create_in(&env, path, &options).unwrap()
        };
        check(&format.to_string(), &on_disk);
    }
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().map(|&n| uid(n)).collect()
}

fn keyword(name: &str) -> Keyword {
    Keyword::new(name).unwrap()
}

/// Messages 1 to `count`, the even ones seen.
fn filled(store: &Store, count: u32) {
    let inbox = store.mailbox("INBOX").unwrap();
    for n in 1..=count {
        let raw = format!("From: Ann <ann@example.org>\r\nSubject: number {n}\r\n\r\n{}\r\n", "x".repeat(n as usize));
        let append = Append::new(raw.as_bytes()).internal_date(InternalDate::utc(1_000_000_000 + i64::from(n)));
        let append = if n % 2 == 0 { append.flag(Flag::Seen).keyword(keyword("even")) } else { append };
        assert_eq!(inbox.append(append).unwrap().uid, uid(n));
    }
}

#[test]
fn messages_with_and_without_columns_tell_the_same() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 300);
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let told = |columns: Columns, among: &UidSet| {
            let messages = view.messages_among(among).with(columns);
            let one = |message: mailstore::Result<mailstore::Message<'_>>| {
                let m = message.unwrap();
                let envelope = m.envelope().unwrap();
                assert_eq!(m.header("subject").unwrap(), [envelope.subject()]);
                assert_eq!(envelope.from()[0].to_string(), "Ann <ann@example.org>");
                assert!(m.header("X-None").unwrap().is_empty());
                let marks = (m.flags(), m.keywords().to_vec(), m.seq(), m.guid().unwrap());
                (m.uid(), marks, m.size().unwrap(), m.internal_date().unwrap(), envelope.subject())
            };
            messages.map(one).collect::<Vec<_>>()
        };
        let some = uids(&[1, 2, 150, 299, 300, 301]);
        let all_columns = Columns::envelope() | Column::Size | Column::InternalDate | Column::Guid;
        let with = told(all_columns, &some);
        assert_eq!(with, told(Columns::flags(), &some), "{backend}");
        assert_eq!(with, told(Columns::flags().with_header("Subject"), &some), "{backend}");
        let told: Vec<_> = with.iter().map(|m| (m.0.value(), m.4.as_str())).collect();
        let expect = [(1, "number 1"), (2, "number 2"), (150, "number 150"), (299, "number 299"), (300, "number 300")];
        assert_eq!(told, expect, "{backend}");
        assert_eq!(with[1].1.0, Flags::from(Flag::Seen));
        assert_eq!(with[1].1.1, [keyword("even")]);
        assert_eq!((view.len(), view.is_empty(), view.messages().count()), (300, false, 300), "{backend}");
        // Those kept from one batch are as they were when the next ones have come.
        let kept: Vec<_> = view.messages().with(Columns::envelope()).map(Result::unwrap).collect();
        for (n, message) in (1..).zip(&kept) {
            assert_eq!(message.envelope().unwrap().subject(), format!("number {n}"), "{backend}");
        }
    });
}

#[test]
fn one_message_by_its_uid() {
    on_each(|backend, make| {
        let store = make();
        let inbox = store.mailbox("INBOX").unwrap();
        assert!(inbox.view().unwrap().is_empty());
        filled(&store, 3);
        let mut view = inbox.view().unwrap();
        let message = view.message(uid(2)).unwrap();
        assert_eq!(
            (message.uid(), message.seq().value(), message.flags()),
            (uid(2), 2, Flag::Seen.into()),
            "{backend}"
        );
        assert!(message.read().unwrap().ends_with(b"\r\n\r\nxx\r\n"));
        let gone = |n| matches!(view.message(uid(n)), Err(StorageError::Expunged { uid }) if uid.value() == n);
        assert!(gone(4) && !gone(3), "{backend}");
        view.expunge(&uids(&[1])).unwrap();
        view.sync().unwrap();
        assert!(view.message(uid(1)).is_err() && view.len() == 2, "{backend}");
    });
}

#[test]
fn searches() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 12);
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let found = |key| view.search(key).unwrap().to_string();
        assert_eq!(found(SearchKey::Flag(Flag::Seen)), "2,4,6,8,10,12", "{backend}");
        assert_eq!(found(SearchKey::Header("Subject".into(), "NUMBER 1".into())), "1,10:12", "{backend}");
        assert_eq!(found(SearchKey::Body("xxxxxxxxxx".into())), "10:12", "{backend}");
    });
}

#[test]
fn flags_are_added_removed_and_replaced() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 4);
        let mut view = store.mailbox("INBOX").unwrap().view().unwrap();
        let all = uids(&[1, 2, 3, 4]);
        let marks = |view: &mailstore::StoreView, n| {
            let message = view.message(uid(n)).unwrap();
            (message.flags().to_string(), message.keywords().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        view.update(&all).add(Flag::Flagged).remove(Flag::Seen).add_keyword(keyword("new")).commit().unwrap();
        view.sync().unwrap();
        assert_eq!(marks(&view, 1), ("\\Flagged".into(), vec!["new".into()]), "{backend}");
        assert_eq!(marks(&view, 2), ("\\Flagged".into(), vec!["even".into(), "new".into()]), "{backend}");
        view.update_one(uid(2)).add(Flag::Draft).replace().add_keyword(keyword("only")).commit().unwrap();
        view.update_one(uid(1)).replace().commit().unwrap();
        // Of one flag the last word counts.
        view.update_one(uid(3))
            .add(Flag::Seen)
            .remove(Flag::Seen)
            .remove(Flag::Answered)
            .add(Flag::Answered)
            .commit()
            .unwrap();
        view.sync().unwrap();
        assert_eq!(marks(&view, 2), ("\\Draft".into(), vec!["only".into()]), "{backend}");
        assert_eq!(marks(&view, 1), (String::new(), vec![]), "{backend}");
        assert_eq!(marks(&view, 3).0, "\\Answered \\Flagged", "{backend}");
    });
}

#[test]
fn a_change_on_condition_is_made_whole_or_not_at_all() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 4);
        let mut view = store.mailbox("INBOX").unwrap().view().unwrap();
        let before = view.view().highest_modseq();
        view.update_one(uid(2)).add(Flag::Deleted).commit().unwrap();
        let update = view.update(&uids(&[2, 4])).remove(Flag::Seen).add(Flag::Flagged);
        let committed = update.unchanged_since(before).commit().unwrap();
        assert_eq!(committed.modified.to_string(), "2", "{backend}");
        view.sync().unwrap();
        let flags = |n| view.message(uid(n)).unwrap().flags().to_string();
        assert_eq!((flags(2), flags(4)), ("\\Deleted \\Seen".into(), "\\Flagged".into()), "{backend}");
    });
}

#[test]
fn copies_and_moves_within_a_store_and_between_stores() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 6);
        store.create_mailbox("Archive").unwrap();
        let (inbox, archive) = (store.mailbox("INBOX").unwrap(), store.mailbox("Archive").unwrap());
        let mut view = inbox.view().unwrap();
        let copied = view.copy_to(&uids(&[2, 3, 9]), &archive).unwrap();
        assert_eq!(copied.uids, [(uid(2), uid(1)), (uid(3), uid(2))], "{backend}");
        assert_eq!(view.move_to(&uids(&[4, 5]), &archive).unwrap(), [(uid(4), uid(3)), (uid(5), uid(4))], "{backend}");
        view.sync().unwrap();
        assert_eq!(view.view().uids().to_string(), "1:3,6", "{backend}");

        on_each(|other, make| {
            let elsewhere = make();
            let there = elsewhere.mailbox("INBOX").unwrap();
            let from = archive.view().unwrap();
            assert_eq!(from.copy_to(&uids(&[1, 4]), &there).unwrap().uids.len(), 2, "{backend} to {other}");
            let view = there.view().unwrap();
            let texts: Vec<_> = view.messages().map(|m| m.unwrap().envelope().unwrap().subject()).collect();
            assert_eq!(texts, ["number 2", "number 5"], "{backend} to {other}");
            let message = view.message(uid(1)).unwrap();
            assert_eq!((message.flags(), message.keywords()), (Flag::Seen.into(), &[keyword("even")][..]));
            assert_eq!(message.internal_date().unwrap().unix, 1_000_000_002, "{backend} to {other}");
        });
    });
}

#[test]
fn who_moves_last_moves_nothing() {
    on_each(|backend, make| {
        let store = make();
        filled(&store, 2);
        store.create_mailbox("Archive").unwrap();
        let archive = store.mailbox("Archive").unwrap();
        let inbox = store.mailbox("INBOX").unwrap();
        let view = inbox.view().unwrap();
        view.move_to(&uids(&[1]), &archive).unwrap();
        assert_eq!(view.move_to(&uids(&[1]), &archive).unwrap(), [], "{backend}");
        assert_eq!(archive.view().unwrap().len(), 1, "{backend}");
    });
}

/// Gives what it has in small pieces, with an interruption; then its end or an error.
struct Slow<'a>(&'a [u8], u32, bool);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        if self.0.is_empty() && self.2 {
            return Err(std::io::Error::other("the line is dead"));
        }
        let len = buf.len().min(7);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn messages_are_appended_from_readers() {
    on_each(|backend, make| {
        let store = make();
        let inbox = store.mailbox("INBOX").unwrap();
        let big = format!("Subject: big\n\n{}", "a line of a long text\n".repeat(20_000));
        let of_file = {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &big).unwrap();
            inbox.append(Append::reader(std::fs::File::open(file.path()).unwrap()).flag(Flag::Seen)).unwrap().uid
        };
        let small = b"Subject: small\r\n\r\nand read in pieces\r\n";
        let of_pieces = inbox.append(Append::reader(Slow(small, 0, false))).unwrap().uid;
        let broken = inbox.append(Append::reader(Slow(small, 0, true)));
        assert!(broken.unwrap_err().to_string().contains("the line is dead"), "{backend}");
        let view = inbox.view().unwrap();
        assert_eq!(view.len(), 2, "{backend}");
        let read = view.message(of_file).unwrap().read().unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), big.replace('\n', "\r\n"), "{backend}");
        assert_eq!(view.message(of_pieces).unwrap().read().unwrap(), small, "{backend}");
        assert_eq!(view.message(of_file).unwrap().flags(), Flag::Seen.into(), "{backend}");
    });
}

#[test]
fn subscriptions_keep_their_order() {
    on_each(|backend, make| {
        let store = make();
        for name in ["Work", "Nowhere/at/all", "INBOX"] {
            store.subscribe(name).unwrap();
        }
        store.unsubscribe("Work").unwrap();
        let names: Vec<_> = store.subscriptions().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["Nowhere/at/all", "INBOX"], "{backend}");
        assert!(matches!(store.subscribe("../x"), Err(StorageError::InvalidName { .. })), "{backend}");
    });
}

#[test]
fn flushed_flags_are_on_disk() {
    on_each(|_, make| {
        let store = make();
        filled(&store, 1);
        store.mailbox("INBOX").unwrap().view().unwrap().update_one(uid(1)).add(Flag::Flagged).commit().unwrap();
        store.flush().unwrap();
    });
}

#[test]
fn a_flush_outlives_a_power_cut() {
    use mailstore::{
        mailfs::sim::{CrashChoice, SimDisk},
        mailindex::engine::Background,
    };

    let flags_after_cut = |flush: bool| {
        let disk = SimDisk::new();
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(disk.as_file_system(), options.clone());
        let store = Store::create_in(&env, "/mail", &StoreOptions::default()).unwrap();
        filled(&store, 1);
        store.mailbox("INBOX").unwrap().view().unwrap().update_one(uid(1)).add(Flag::Flagged).commit().unwrap();
        if flush {
            store.flush().unwrap();
        }
        let env = Env::new(disk.crash(CrashChoice::DropAll).as_file_system(), options);
        let store = Store::open_in(&env, "/mail", &StoreOptions::default()).unwrap();
        store.mailbox("INBOX").unwrap().view().unwrap().message(uid(1)).unwrap().flags()
    };
    assert_eq!(flags_after_cut(true), Flag::Flagged.into());
    assert_eq!(flags_after_cut(false), Flags::NONE, "else this test shows nothing");
}

#[test]
fn a_store_is_looked_over_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail");
    filled(&Store::create(&path).unwrap(), 2);
    let index = path.join("mailboxes/INBOX/dbox-Mails");
    for name in ["dovecot.index", "dovecot.index.log"] {
        std::fs::write(index.join(name), b"rubbish").unwrap();
    }
    let report = Store::recover(&path).unwrap();
    assert_eq!((report.mailboxes, report.repaired.len()), (1, 1), "{report:?}");
    assert_eq!(Store::open(&path).unwrap().mailbox("INBOX").unwrap().view().unwrap().len(), 2);
    assert!(matches!(Store::recover(dir.path().join("nothing")), Err(StorageError::NotAStore { .. })));
}
