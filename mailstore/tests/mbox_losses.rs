//! Ways in which mail, flags and UIDs of an mbox could be lost by a crash, or by what comes together: none of them does.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{path::Path, sync::Arc};

use mailfs::{
    FileSystem, FileSystemExt, OpenMode,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Batch, FlagAction, FlagChange, MailStorage, SaveMeta, Store, StoreMailbox,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Flags, Keyword, Uid, UidSet};

const FROM: &str = "From a@b Thu Nov 29 22:33:52 2001\n";
const INBOX: &str = "/mail/inbox";

type Work = fn(&StoreMailbox) -> Result<(), BoxError>;

/// As another process would.
fn open(fs: &Arc<dyn FileSystem>, places: &MboxPlaces) -> Result<(Env, Store), BoxError> {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(Arc::clone(fs), options);
    let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
    let storage = MboxStorage::open(&env, Path::new("/mail"), places, options)?;
    Ok((env, Store::of(Arc::new(storage) as Arc<dyn MailStorage>)))
}

fn plain(fs: &Arc<dyn FileSystem>) -> (Env, Store) {
    open(fs, &MboxPlaces::default()).unwrap()
}

fn disk_with(inbox: &str) -> SimDisk {
    let disk = SimDisk::new();
    make(&disk, inbox);
    disk.sync_all();
    disk
}

fn make(disk: &SimDisk, inbox: &str) {
    let fs = disk.as_file_system();
    fs.create_dir(Path::new("/mail"), 0o700).unwrap();
    fs.write_atomic(Path::new(INBOX), inbox.as_bytes(), 0o600, false).unwrap();
}

fn text(fs: &Arc<dyn FileSystem>, path: &str) -> String {
    String::from_utf8_lossy(&fs.read_all(Path::new(path), 1 << 20).unwrap()).into_owned()
}

/// What another program appends, a second later.
fn deliver(fs: &Arc<dyn FileSystem>, text: &str) {
    fs.sleep(std::time::Duration::from_secs(2));
    let file = fs.open(Path::new(INBOX), OpenMode::ReadWrite).unwrap();
    file.write_at(text.as_bytes(), file.len().unwrap()).unwrap();
}

fn without_index(fs: &Arc<dyn FileSystem>) {
    let dir = Path::new("/mail/.imap/INBOX");
    for entry in fs.read_dir(dir).unwrap() {
        if entry.name.to_str().unwrap().starts_with("dovecot.index") {
            fs.unlink(&dir.join(entry.name)).unwrap();
        }
    }
}

/// UIDs and texts.
fn shown(store: &Store, name: &str) -> Result<Vec<(u32, Flags, String)>, BoxError> {
    let view = store.mailbox(name)?.view()?;
    let mut shown = Vec::new();
    for message in view.messages() {
        let message = message?;
        let text = String::from_utf8_lossy(&message.read()?).into_owned();
        shown.push((message.uid().value(), message.flags(), text));
    }
    Ok(shown)
}

fn uids(store: &Store) -> Vec<u32> {
    shown(store, "INBOX").unwrap().into_iter().map(|message| message.0).collect()
}

fn one(uid: u32) -> UidSet {
    std::iter::once(Uid::new(uid).unwrap()).collect()
}

fn flag(mailbox: &StoreMailbox, uid: u32, keyword: Option<&str>) -> Result<(), BoxError> {
    let keywords = keyword.map(|name| Keyword::new(name).unwrap()).into_iter().collect();
    let change = FlagChange {
        uids: one(uid),
        action: FlagAction::Add,
        flags: Flag::Flagged.into(),
        keywords,
        unchanged_since: None,
    };
    mailbox.mailbox().submit(Batch::new().flags(change))?.wait()?;
    Ok(())
}

fn expunge(mailbox: &StoreMailbox, uid: u32) {
    mailbox.mailbox().submit(Batch::new().expunge(one(uid))).unwrap().wait().unwrap();
}

/// The power is cut, or the process dies, while a message is appended or flags grow; then others append more or less than
/// that, before anybody of ours looks.
#[test]
fn mail_that_is_delivered_after_a_crash_is_kept() {
    let works: [Work; 2] = [
        |inbox| Ok(inbox.append(Append::new(format!("A: 3\n\n{}\n", "long ".repeat(1000)).as_bytes())).map(drop)?),
        |inbox| {
            flag(inbox, 1, Some("a-keyword-that-is-longer-than-the-room-that-is-left-for-changes-to-come"))?;
            Ok(inbox.mailbox().checkpoint()?)
        },
    ];
    for work in works {
        for body in ["theirs", &"theirs ".repeat(1000)] {
            let theirs = format!("{FROM}A: 9\nDate: 9\n\n{body}\n\n");
            let report = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() }.run(
                |disk| {
                    make(disk, "");
                    let fs = disk.as_file_system();
                    let (_env, store) = plain(&fs);
                    let inbox = store.mailbox("INBOX").unwrap();
                    for n in 1..3 {
                        inbox.append(Append::new(format!("A: {n}\nDate: {n}\n\nbody {n}\n").as_bytes())).unwrap();
                    }
                },
                |fs, _: &Acks<()>| work(&open(&fs, &MboxPlaces::default())?.1.mailbox("INBOX")?),
                |disk, _| {
                    let fs = disk.as_file_system();
                    deliver(&fs, &theirs);
                    let (_env, store) = plain(&fs);
                    let mut texts: Vec<_> = shown(&store, "INBOX")?.into_iter().map(|message| message.2).collect();
                    texts.retain(|text| !text.starts_with("A: 3"));
                    let expect = [
                        "A: 1\r\nDate: 1\r\n\r\nbody 1\r\n".to_owned(),
                        "A: 2\r\nDate: 2\r\n\r\nbody 2\r\n".to_owned(),
                        format!("A: 9\r\nDate: 9\r\n\r\n{body}\r\n"),
                    ];
                    if texts == expect { Ok(()) } else { Err(format!("{texts:?}").into()) }
                },
            );
            assert!(report.is_sound(), "{report}");
        }
    }
}

/// The undo file of a message that was acknowledged is back after the power cut, and nobody knows the message but the file.
#[test]
fn a_message_that_was_acknowledged_survives_the_loss_of_the_index() {
    for earlier in 0..2 {
        let disk = disk_with("");
        {
            let fs = disk.as_file_system();
            let (_env, store) = plain(&fs);
            let inbox = store.mailbox("INBOX").unwrap();
            for n in 0..=earlier {
                inbox.append(Append::new(format!("A: {n}\n\nbody\n").as_bytes())).unwrap();
            }
            std::mem::forget((inbox, store, _env));
        }
        let fs = disk.crash(CrashChoice::DropAll).as_file_system();
        assert!(!fs.read_all(Path::new("/mail/.imap/INBOX/culver.mbox.undo"), 1 << 20).unwrap().is_empty());
        without_index(&fs);
        let (_env, store) = plain(&fs);
        assert_eq!(uids(&store), (1..=earlier + 1).collect::<Vec<u32>>());
    }
}

/// Flags are to be written in the commit that appends a message, and that commit fails.
#[test]
fn flags_that_are_written_beside_a_message_cut_nothing_off() {
    let long = "a-keyword-that-is-longer-than-the-room-that-is-left-for-changes-to-come";
    let texts = [1, 2, 3].map(|n| format!("A: {n}\n\nbody {n} {}\n", "x".repeat(200)));
    let report = FaultRunner { faults: vec![Fault::Io, Fault::NoSpace], ..FaultRunner::default() }.run(
        |disk| {
            make(disk, "");
            let fs = disk.as_file_system();
            let (env, store) = plain(&fs);
            let inbox = store.mailbox("INBOX").unwrap();
            for text in &texts[..2] {
                inbox.append(Append::new(text.as_bytes())).unwrap();
            }
            drop((inbox, store));
            env.drain();
        },
        |fs, _: &Acks<()>| {
            let (env, store) = open(&fs, &MboxPlaces::default())?;
            let inbox = store.mailbox("INBOX")?;
            flag(&inbox, 1, Some(long))?;
            let mut save = inbox.mailbox().begin_save(SaveMeta::default(), None)?;
            save.write(texts[2].as_bytes())?;
            let saved = save.finish()?;
            let ticket = inbox.mailbox().submit(Batch::new().save(saved, Flags::NONE, Vec::new()))?;
            // One commit with it.
            inbox.mailbox().checkpoint()?;
            ticket.wait()?;
            let content = fs.read_all(Path::new(INBOX), 1 << 20)?;
            if !String::from_utf8_lossy(&content).contains(long) {
                return Err("the flags were put off for ever".into());
            }
            drop((inbox, store));
            env.drain();
            Ok(())
        },
        |disk, _| {
            let fs = disk.as_file_system();
            let (_env, store) = open(&fs, &MboxPlaces::default())?;
            let found: Vec<_> = shown(&store, "INBOX")?.into_iter().map(|message| message.2).collect();
            let expect = texts.each_ref().map(|text| text.replace('\n', "\r\n"));
            if found == expect || found == expect[..2] { Ok(()) } else { Err(format!("{found:?}").into()) }
        },
    );
    assert!(report.is_sound(), "{report}");
}

/// The indexes lie in a tree of their own, and what only they know is in the files before the two are parted.
#[test]
fn renaming_a_level_loses_no_flags() {
    let places = MboxPlaces { index: Some("/index".into()), ..MboxPlaces::default() };
    let prepare = |disk: &SimDisk| {
        make(disk, "");
        let fs = disk.as_file_system();
        fs.create_dir(Path::new("/index"), 0o700).unwrap();
        let (_env, store) = open(&fs, &places).unwrap();
        store.create_mailbox("a/b").unwrap();
        let mailbox = store.mailbox("a/b").unwrap();
        mailbox.append(Append::new(b"A: 1\n\nbody\n")).unwrap();
        flag(&mailbox, 1, None).unwrap();
    };
    let rename = |fs: &Arc<dyn FileSystem>| -> Result<(), BoxError> {
        Ok(open(fs, &places)?.1.rename_mailbox("a", "c").map(drop)?)
    };
    let work = |fs: Arc<dyn FileSystem>, _: &Acks<()>| rename(&fs);
    let check = |disk: &SimDisk, _: &[()]| {
        let (_env, store) = open(&disk.as_file_system(), &places)?;
        let fs = disk.as_file_system();
        let name = if fs.exists(Path::new("/mail/c"))? { "c/b" } else { "a/b" };
        let found = shown(&store, name)?;
        let is_there = found.iter().map(|message| (message.0, message.1)).eq([(1, Flag::Flagged.into())]);
        if is_there { Ok(()) } else { Err(format!("{name}: {found:?}").into()) }
    };
    let report = FaultRunner { faults: vec![Fault::Io], ..FaultRunner::default() }.run(prepare, work, check);
    assert!(report.is_sound(), "{report}");
    let report = CrashRunner::default().run(prepare, work, check);
    assert!(report.is_sound(), "{report}");
    let disk = SimDisk::new();
    prepare(&disk);
    let fs = disk.as_file_system();
    rename(&fs).unwrap();
    assert!(text(&fs, "/mail/c/b").contains("X-Status: F"), "{}", text(&fs, "/mail/c/b"));
}

#[test]
fn uids_of_messages_that_are_gone_are_not_given_again_without_the_index() {
    // Behind a message that is no mail, and behind one that has told the highest UID long ago.
    for is_emptied in [true, false] {
        let disk = disk_with("");
        let fs = disk.as_file_system();
        {
            let (env, store) = plain(&fs);
            let inbox = store.mailbox("INBOX").unwrap();
            inbox.append(Append::new(b"A: 1\n\nbody\n")).unwrap();
            if is_emptied {
                expunge(&inbox, 1);
            }
            deliver(&fs, &format!("{FROM}A: 2\nDate: 2\n\nx\n\n{FROM}A: 3\nDate: 3\n\nx\n\n"));
            assert_eq!(uids(&store).last(), Some(&3));
            if is_emptied {
                inbox.mailbox().checkpoint().unwrap();
                assert!(text(&fs, INBOX).contains("X-IMAP: ") && text(&fs, INBOX).contains(" 0000000003"));
                expunge(&inbox, 2);
            } else {
                expunge(&inbox, 3);
            }
            // Its files are as they are.
            std::mem::forget((inbox, store, env));
        }
        without_index(&fs);
        let (_env, store) = plain(&fs);
        assert_eq!(uids(&store).len(), if is_emptied { 1 } else { 2 });
        let inbox = store.mailbox("INBOX").unwrap();
        let appended = inbox.append(Append::new(b"A: 4\n\nbody\n")).unwrap();
        if is_emptied {
            assert_eq!(uids(&store), [3, 4]);
        }
        assert!(appended.uid.value() > 3, "{}", text(&fs, INBOX));
    }
}
