//! What once cost an mdbox mail: rebuilds and counts on the strength of something that was not whole.

use std::{fs::File, os::unix::fs::PermissionsExt};

use mailfs::CreatedLock;
use mailstore::{ListPattern, check::CheckReport};

use super::*;

const NOTE: &str = "/mail/storage/culver-purging";

/// A purge that was stopped when the new files had their names and the old ones still had theirs.
fn purge_in_part(disk: &SimDisk) {
    let fs = disk.as_file_system();
    fill(&fs);
    disk.sync_all();
    for at in 1.. {
        let stopped = disk.fork();
        let fs = stopped.as_file_system();
        let storage = store(&fs);
        stopped.crash_after(at);
        assert!(storage.purge().is_err(), "it is stopped somewhere before it is done");
        drop(storage);
        stopped.clear_plan();
        let files = fs.read_dir(Path::new("/mail/storage")).unwrap();
        let files = files.iter().filter(|entry| entry.name.to_str().unwrap().starts_with("m.")).count();
        if fs.exists(Path::new(NOTE)).unwrap() && files > count_files(disk) {
            let fs = disk.as_file_system();
            let storage = store(&fs);
            disk.crash_after(at);
            assert!(storage.purge().is_err());
            drop(storage);
            disk.clear_plan();
            assert!(fs.exists(Path::new(NOTE)).unwrap());
            return;
        }
    }
}

fn count_files(disk: &SimDisk) -> usize {
    let entries = disk.as_file_system().read_dir(Path::new("/mail/storage")).unwrap();
    entries.iter().filter(|entry| entry.name.to_str().unwrap().starts_with("m.")).count()
}

/// But for what was expunged and not purged, which may come back.
fn without_returned(mut shown: Mailboxes) -> Mailboxes {
    shown.get_mut("INBOX").unwrap().retain(|uid, _| *uid <= 8);
    shown
}

fn no_map(fs: &Arc<dyn FileSystem>) {
    remove_map(fs);
}

fn no_map_at_all(fs: &Arc<dyn FileSystem>) {
    remove_map(fs);
    remove_second_names(fs);
}

#[test]
fn a_purge_that_was_stopped_costs_nothing_where_the_map_is_lost() {
    let expected = {
        let fs = SimDisk::new().as_file_system();
        fill(&fs);
        told(&fs).0
    };
    for harm in [no_map as Harm, no_map_at_all] {
        let prepare = |disk: &SimDisk| {
            purge_in_part(disk);
            harm(&disk.as_file_system());
            disk.sync_all();
        };
        let look = |disk: &SimDisk| {
            let fs = disk.as_file_system();
            for _ in 0..2 {
                store(&fs).recover()?;
                let shown = without_returned(told(&fs).0);
                if shown != expected {
                    return Err(format!("{:?}, not {:?}", brief(&shown), brief(&expected)).into());
                }
            }
            Ok(())
        };
        let runner = CrashRunner { choices: CrashChoice::list(1), ..CrashRunner::default() };
        let report = runner.run(prepare, |fs, _: &Acks<()>| work(&fs), |disk, _| look(disk));
        println!("{report}");
        assert!(report.is_sound(), "{report}");
        let report = FaultRunner { faults: vec![Fault::Io], ..FaultRunner::default() }.run(
            prepare,
            |fs, _: &Acks<()>| work(&fs),
            |disk, _| look(disk),
        );
        println!("{report}");
        assert!(report.is_sound(), "{report}");
    }
}

#[test]
fn a_note_says_nothing_of_another_map() {
    let disk = SimDisk::new();
    purge_in_part(&disk);
    let fs = disk.as_file_system();
    let before = without_returned(told(&fs).0);
    // As who fears for the store keeps it: nothing that is noted is known to this map.
    let note = Path::new(NOTE);
    fs.write_atomic(note, b"map 7 0 1\npurged 1,2,3,4 -\n1\n2\n3\n", 0o600, true).unwrap();
    store(&fs).recover().unwrap();
    assert!(!fs.exists(note).unwrap());
    assert_eq!(without_returned(told(&fs).0), before);
}

#[test]
fn a_mailbox_that_nobody_can_name_keeps_its_messages() {
    for hidden in ["c1\u{85}x", &"&AGE-/".repeat(70)] {
        let fs = SimDisk::new().as_file_system();
        fill(&fs);
        let before = told(&fs).0;
        let (named, hidden) = (Path::new("/mail/mailboxes/Work"), Path::new("/mail/mailboxes").join(hidden));
        fs.create_dir_all(hidden.parent().unwrap(), 0o700).unwrap();
        fs.rename(named, &hidden).unwrap();
        remove_map(&fs);
        store(&fs).recover().unwrap();
        let storage = store(&fs);
        let inbox = storage.mailbox(&name("INBOX")).unwrap();
        let uids = inbox.view(&ViewAs::default()).unwrap().uids();
        assert_eq!(uids.count(), 6, "none came back, for they are somewhere");
        commit(&inbox, Batch::new().expunge(uids));
        storage.recover().unwrap();
        storage.purge().unwrap();
        drop((inbox, storage));
        fs.rename(&hidden, named).unwrap();
        assert_eq!(told(&fs).0["Work"], before["Work"]);
    }
}

#[test]
fn nothing_is_rebuilt_or_counted_while_somebody_changes_the_list() {
    let fs = SimDisk::new().as_file_system();
    fill(&fs);
    let before = told(&fs).0;
    let hold = || {
        let (lock, timeout) = (Path::new("/mail/mailboxes.lock"), std::time::Duration::ZERO);
        CreatedLock::acquire(&fs, lock, 0o600, timeout).unwrap()
    };
    let storage = MdboxStorage::open(&env(&fs), Path::new(ROOT), options()).unwrap();
    remove_map(&fs);
    let held = hold();
    assert!(storage.mailbox(&name("INBOX")).is_err(), "a mailbox may be on its way to another name");
    drop(held);
    assert_eq!(shown_by_us(&storage), before);
}

#[test]
fn a_lost_index_is_not_forgotten_when_the_rebuild_fails() {
    fn harm(fs: &Arc<dyn FileSystem>) {
        for start in ["dovecot.index", "culver.kept."] {
            assert!(remove(fs, "mailboxes/Work/dbox-Mails", start) > 0);
        }
    }
    fn open_work(fs: &Arc<dyn FileSystem>) -> Result<(), BoxError> {
        MdboxStorage::open(&env(fs), Path::new(ROOT), options())?.mailbox(&name("Work"))?;
        Ok(())
    }
    let undisturbed = SimDisk::new();
    prepared(harm)(&undisturbed);
    let fs = undisturbed.as_file_system();
    open_work(&fs).unwrap();
    let expected = told(&fs).0;
    assert_eq!((expected["INBOX"].len(), expected["Work"].len()), (7, 0), "one was in it alone");
    let look = |disk: &SimDisk| {
        let fs = disk.as_file_system();
        open_work(&fs)?;
        let shown = told(&fs).0;
        if shown == expected { Ok(()) } else { Err(format!("{:?}, not {:?}", brief(&shown), brief(&expected)).into()) }
    };
    let runner = FaultRunner { faults: vec![Fault::Io], ..FaultRunner::default() };
    let report = runner.run(prepared(harm), |fs, _: &Acks<()>| open_work(&fs), |disk, _| look(disk));
    println!("{report}");
    assert!(report.is_sound(), "{report}");
    let runner = CrashRunner { choices: CrashChoice::list(1), ..CrashRunner::default() };
    let report = runner.run(prepared(harm), |fs, _: &Acks<()>| open_work(&fs), |disk, _| look(disk));
    println!("{report}");
    assert!(report.is_sound(), "{report}");
}

/// On the real file system, whose folders can be linked and whose files can be locked by others.
struct Real {
    dir: tempfile::TempDir,
}

impl Real {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mail")
    }

    fn attachments(&self) -> PathBuf {
        self.dir.path().join("attachments")
    }

    fn env(&self) -> Env {
        Env::new(Arc::new(RealDisk::new()), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
    }

    fn store(&self) -> MdboxStorage {
        let options = MdboxOptions { attachments: Some(self.attachments()), ..MdboxOptions::default() };
        MdboxStorage::create(&self.env(), &self.root(), options).unwrap()
    }

    fn check(&self, repair: bool) -> CheckReport {
        let options = CheckOptions { repair, ..CheckOptions::default() };
        check_storage(&self.env(), &self.root(), &StoreOptions::default(), &options, &mut |_| {}).unwrap()
    }

    fn save(&self, body: &str) {
        let inbox = self.store().mailbox(&name("INBOX")).unwrap();
        let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(body.as_bytes()).unwrap();
        commit(&inbox, Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new()));
    }

    fn file(&self, id: u32) -> PathBuf {
        self.root().join(format!("storage/m.{id}"))
    }

    fn remove_map(&self) {
        for entry in fs::read_dir(self.root().join("storage")).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.contains("dovecot.map.index") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// Three messages in INBOX, the first two of which are in Work too.
fn two_of_three_in_work(real: &Real) -> (MdboxStorage, Arc<dyn Mailbox>, Arc<dyn Mailbox>) {
    for number in 1..=3 {
        real.save(&format!("Subject: {number}\r\n\r\nbody\r\n"));
    }
    let storage = real.store();
    storage.create(&name("Work")).unwrap();
    let (inbox, work) = (storage.mailbox(&name("INBOX")).unwrap(), storage.mailbox(&name("Work")).unwrap());
    commit(&work, Batch::new().copy(Arc::clone(&inbox), uids(&[1, 2])));
    (storage, inbox, work)
}

#[test]
fn a_link_to_a_mailbox_is_not_counted_again() {
    let real = Real::new();
    let (storage, inbox, work) = two_of_three_in_work(&real);
    std::os::unix::fs::symlink("Work", real.root().join("mailboxes/Alias")).unwrap();
    assert!(real.check(false).is_clean());
    storage.recover().unwrap();
    commit(&inbox, Batch::new().expunge(uids(&[1])));
    commit(&work, Batch::new().expunge(uids(&[1])));
    drop((inbox, work, storage));
    let report = real.check(true);
    assert!(report.is_clean(), "{:?}", report.findings);
    real.remove_map();
    let storage = real.store();
    storage.recover().unwrap();
    let names: Vec<String> = storage.list(&ListPattern::all()).unwrap().iter().map(|i| i.name.to_string()).collect();
    assert_eq!(names, ["INBOX", "Alias", "Work"]);
    let counts = ["INBOX", "Work"]
        .map(|mailbox| storage.mailbox(&name(mailbox)).unwrap().view(&ViewAs::default()).unwrap().uids().count());
    // What was expunged came back, for no map was left to say so; once.
    assert_eq!(counts, [3, 1]);
    assert!(real.check(false).is_clean());
}

/// Says little where it is run by somebody who may look into everything.
#[test]
fn what_cannot_be_looked_into_is_not_taken_for_empty() {
    let real = Real::new();
    let (storage, inbox, work) = two_of_three_in_work(&real);
    commit(&inbox, Batch::new().expunge(uids(&[2])));
    drop((inbox, work, storage));
    let before = shown_by_us(&real.store());
    let folder = real.root().join("mailboxes/Work");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&folder).is_err() {
        assert!(!real.check(true).is_clean());
        real.store().recover().unwrap();
        real.remove_map();
        assert!(MdboxStorage::open(&real.env(), &real.root(), options()).unwrap().recover().is_err());
        assert!(!real.check(true).is_clean());
    } else {
        println!("SKIPPED: a store part of which cannot be looked into: root looks into everything");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(shown_by_us(&real.store()), before);
    let (storage, inbox) = (real.store(), real.store().mailbox(&name("INBOX")).unwrap());
    commit(&inbox, Batch::new().expunge(uids(&[1, 3])));
    storage.recover().unwrap();
    assert_eq!(storage.purge().unwrap().removed, 1);
    assert_eq!(shown_by_us(&storage)["Work"], before["Work"]);
}

/// Gives the message in a file an attachment: the message's name for it, and that of its content.
fn attach(real: &Real) -> PathBuf {
    let name = "aa/bb/c0ffee-1";
    let mut message = fs::read(real.file(1)).unwrap();
    assert_eq!(message.pop(), Some(b'\n'));
    message.extend(format!("X0 5 - {name}\n\n").bytes());
    fs::write(real.file(1), message).unwrap();
    let (own, content) = (real.attachments().join(name), real.attachments().join("aa/bb/hashes/c0ffee"));
    fs::create_dir_all(content.parent().unwrap()).unwrap();
    fs::write(&content, "12345").unwrap();
    fs::hard_link(&content, &own).unwrap();
    own
}

#[test]
fn attachments_go_with_the_last_message_that_names_them() {
    let real = Real::new();
    real.save("Subject: x\r\n\r\nbody\r\n");
    let attachment = attach(&real);
    real.remove_map();
    // A second copy that somebody is adding to, so that it has to be taken into the map as it is.
    fs::copy(real.file(1), real.file(7)).unwrap();
    let busy = File::options().read(true).write(true).open(real.file(7)).unwrap();
    busy.lock().unwrap();
    let storage = real.store();
    storage.recover().unwrap();
    drop(busy);
    assert_eq!(storage.expunged().unwrap().len(), 1);
    assert_eq!(storage.purge().unwrap().removed, 1);
    assert!(real.file(1).exists() && !real.file(7).exists() && attachment.exists());
    let inbox = storage.mailbox(&name("INBOX")).unwrap();
    commit(&inbox, Batch::new().expunge(uids(&[1])));
    assert_eq!(storage.purge().unwrap().removed, 1);
    assert!(!real.file(1).exists() && !attachment.exists());
}

#[test]
fn a_second_copy_of_a_file_is_put_aside() {
    let real = Real::new();
    for number in 1..=3 {
        real.save(&format!("Subject: {number}\r\n\r\nbody\r\n"));
    }
    let before = shown_by_us(&real.store());
    fs::copy(real.file(1), real.file(7)).unwrap();
    assert!(!real.check(true).is_clean());
    assert!(!real.file(7).exists() && real.root().join("storage/culver.damaged.m.7.1").exists());
    let storage = real.store();
    assert_eq!((storage.expunged().unwrap().len(), shown_by_us(&storage)), (0, before));
    assert!(real.check(false).is_clean());
}

/// Of a store that was never rebuilt no other message can name them.
#[test]
fn attachments_go_without_a_look_at_other_messages() {
    let attachment = Path::new("/attachments/aa/bb/c0ffee-1");
    let calls = [2, 30].map(|others| {
        let disk = SimDisk::new();
        let fs = disk.as_file_system();
        let options = || MdboxOptions { attachments: Some("/attachments".into()), rotate_size: 300, ..options() };
        let open = || MdboxStorage::create(&env(&fs), Path::new(ROOT), options()).unwrap();
        let inbox = open().mailbox(&name("INBOX")).unwrap();
        for number in 0..=others {
            let mut meta = SaveMeta::default();
            // What takes the place of a list of attachments.
            meta.pop3.uidl = (number == 0).then(|| b"0_5_-_aa/bb/c0ffee-1".to_vec());
            let mut save = inbox.begin_save(meta, None).unwrap();
            save.write(format!("Subject: {number}\r\n\r\n{}", "text\r\n".repeat(40)).as_bytes()).unwrap();
            commit(&inbox, Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new()));
        }
        drop(inbox);
        change(&fs, "storage/m.1", |bytes| {
            let at = memchr::memmem::find(bytes, b"\nP0_5_-_aa").unwrap();
            bytes[at + 1..at + 8].copy_from_slice(b"X0 5 - ");
        });
        fs.create_dir_all(attachment.parent().unwrap(), 0o700).unwrap();
        fs.write_atomic(attachment, b"12345", 0o600, true).unwrap();
        let storage = open();
        commit(&storage.mailbox(&name("INBOX")).unwrap(), Batch::new().expunge(uids(&[1])));
        let before = disk.calls();
        assert_eq!(storage.purge().unwrap().removed, 1);
        let calls = disk.calls() - before;
        assert!(!fs.exists(attachment).unwrap());
        calls
    });
    assert_eq!(calls[0], calls[1]);
}

#[test]
fn what_is_only_read_is_read_without_the_map() {
    // Files of messages are not written anew in memory.
    for harm in
        HARMLESS.iter().filter(|(what, _)| what.contains("the map is") || what.contains("rubbish")).map(|of| of.1)
    {
        let disk = SimDisk::new();
        let fs = disk.as_file_system();
        fill(&fs);
        let before = told(&fs).0;
        harm(&fs);
        let hash = disk.content_hash();
        let only_reads = Env::new(Arc::clone(&fs), EnvOptions { read_only: true, ..env(&fs).options().clone() });
        let storage = MdboxStorage::open(&only_reads, Path::new(ROOT), options()).unwrap();
        assert_eq!(shown_by_us(&storage), before);
        assert_eq!(disk.content_hash(), hash);
        // Whoever may write rebuilds it, and then the map is read again.
        store(&fs).recover().unwrap();
        assert_eq!(without_returned(shown_by_us(&storage)), before);
    }
}

#[test]
fn a_rebuild_that_fails_says_so() {
    let disk = SimDisk::new();
    let fs = disk.as_file_system();
    fill(&fs);
    remove_map(&fs);
    let said = (1..).find_map(|at| {
        let disk = disk.fork();
        let fs = disk.as_file_system();
        let storage = MdboxStorage::open(&env(&fs), Path::new(ROOT), options()).unwrap();
        disk.fail_calls_from(at, Fault::Io);
        let said = storage.mailbox(&name("INBOX")).map(drop).unwrap_err().to_string();
        said.contains("read directory /mail/mailboxes").then_some(said)
    });
    assert!(said.as_ref().is_some_and(|said| said.contains("stays shut until it can be rebuilt")), "{said:?}");
}

/// A message that becomes a file of messages itself is synced once, before any lock is taken.
#[test]
fn a_power_cut_while_a_large_message_is_saved_costs_no_other() {
    fn save(fs: &Arc<dyn FileSystem>, acks: &Acks<usize>) -> Result<(), BoxError> {
        let inbox = MdboxStorage::open(&env(fs), Path::new(ROOT), options())?.mailbox(&name("INBOX"))?;
        for len in [70_000, 100, 90_000] {
            let mut save = inbox.begin_save(SaveMeta::default(), None)?;
            save.write(large(len).as_bytes())?;
            inbox.submit(Batch::new().save(save.finish()?, Flags::NONE, Vec::new()))?.wait()?;
            acks.push(len);
        }
        Ok(())
    }
    fn large(len: usize) -> String {
        format!("Subject: {len}\r\n\r\n{}", "text\r\n".repeat(len / 6))
    }
    let runner = CrashRunner { choices: CrashChoice::list(3), ..CrashRunner::default() };
    let prepare = |disk: &SimDisk| {
        drop(store(&disk.as_file_system()).mailbox(&name("INBOX")).unwrap());
        disk.sync_all();
    };
    let report = runner.run(
        prepare,
        |fs, acks| save(&fs, acks),
        |disk, acks| {
            let fs = disk.as_file_system();
            store(&fs).recover()?;
            let shown = shown_by_us(&store(&fs));
            let bodies: Vec<&[u8]> = shown["INBOX"].values().map(|message| &message.body[..]).collect();
            let expected = [70_000, 100, 90_000].map(large);
            let are_whole = bodies.iter().zip(&expected).all(|(body, text)| *body == text.as_bytes());
            match are_whole && bodies.len() >= acks.len() && bodies.len() <= expected.len() {
                true => Ok(()),
                false => Err(format!("{} of {} messages", bodies.len(), acks.len()).into()),
            }
        },
    );
    println!("{report}");
    assert!(report.is_sound(), "{report}");
}
