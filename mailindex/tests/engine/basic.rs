//! What one and two writers do, on the simulated and the real disk.

use std::{path::Path, sync::Arc};

use crate::common::*;
use mailfs::{FileSystem, RealDisk, sim::SimDisk};
use mailindex::engine::{ChangesSince, Env, EnvOptions, Freshness, IndexError, MailboxIndex};
use mailtypes::Flag;

/// Runs a test on both disks.
fn on_both(test: impl Fn(Arc<dyn FileSystem>, &Path)) {
    let sim = SimDisk::new().as_file_system();
    let dir = Path::new("/box");
    sim.create_dir(dir, 0o700).unwrap();
    test(sim, dir);
    let real = tempfile::tempdir().unwrap();
    test(Arc::new(RealDisk::new()), real.path());
}

#[test]
fn what_was_committed_is_read_back() {
    on_both(|fs, dir| {
        let env = Env::new(Arc::clone(&fs), manual());
        assert!(matches!(MailboxIndex::open(&env, dir, PREFIX, store(&env, dir)), Err(IndexError::NotFound { .. })));
        let index = create(&env, dir);
        assert_eq!(save(&index, "one").unwrap(), 1);
        assert_eq!(save(&index, "two").unwrap(), 2);
        flag(&index, &set(&[1]), Flag::Seen).unwrap();
        assert_eq!(save(&index, "three").unwrap(), 3);
        expunge(&index, &set(&[2])).unwrap();
        let here = index.state();
        let other = Env::new(fs.clone(), manual());
        let there = open(&other, dir).unwrap().state();
        for state in [here, there] {
            assert_eq!(state.uids(), set(&[1, 3]));
            assert_eq!(state.next_uid(), uid(4));
            assert_eq!(state.seen_count(), 1);
            assert_eq!(state.uid_validity().unwrap().value(), UID_VALIDITY);
            assert!(!state.has_pending());
        }
        assert!(fs.metadata(&dir.join("u.2")).unwrap().is_none());
        assert_eq!(body(&*fs, dir, 3).unwrap(), "three");
    });
}

#[test]
fn two_envs_see_each_other() {
    on_both(|fs, dir| {
        let (a, b) = (Env::new(fs.clone(), manual()), Env::new(fs, manual()));
        let first = create(&a, dir);
        let second = open(&b, dir).unwrap();
        let start = second.position();
        for round in 0..20 {
            let writer = if round % 2 == 0 { &first } else { &second };
            assert_eq!(save(writer, "m").unwrap(), round + 1);
        }
        flag(&first, &set(&[3]), Flag::Flagged).unwrap();
        expunge(&second, &set(&[4, 5])).unwrap();
        let (x, y) = (first.refresh().unwrap(), second.refresh().unwrap());
        assert_eq!(x.uids(), y.uids());
        assert_eq!(x.highest_modseq(), y.highest_modseq());
        assert_eq!(x.position(), y.position());
        let ChangesSince::Changes { changes, now } = second.changes_since(start).unwrap() else { panic!("too old") };
        assert_eq!(changes.appended, x.uids());
        assert_eq!(now, second.position());
        flag(&first, &set(&[1]), Flag::Seen).unwrap();
        let ChangesSince::Changes { changes, .. } = second.changes_since(now).unwrap() else { panic!("too old") };
        assert_eq!((changes.flags, changes.appended.is_empty()), (set(&[1]), true));
    });
}

#[test]
fn handles_of_one_env_share_and_know_when_they_are_fresh() {
    on_both(|fs, dir| {
        let env = Env::new(fs, manual());
        let index = create(&env, dir);
        let again = open(&env, dir).unwrap();
        assert!(Arc::ptr_eq(&index, &again));
        let at = index.log_position().unwrap();
        assert_eq!(index.freshness(at), Freshness::Unknown, "nobody watches");
        save(&index, "one").unwrap();
        assert_eq!(again.freshness(at), Freshness::Changed);
        drop((index, again));
        let parked = open(&env, dir).unwrap();
        assert_eq!(parked.state().uids(), set(&[1]));
    });
}

#[test]
fn rotation_keeps_the_chain() {
    on_both(|fs, dir| {
        let options = EnvOptions { rotate_len_max: 4096, snapshot_log_len_min: 1024, ..manual() };
        let (env, late) = (Env::new(fs.clone(), options), Env::new(fs.clone(), manual()));
        let index = create(&env, dir);
        let sleeper = open(&late, dir).unwrap();
        for n in 1..=400 {
            save(&index, "m").unwrap();
            flag(&index, &set(&[n]), Flag::Seen).unwrap();
            env.drain();
        }
        assert!(index.log_position().unwrap().file_seq > 4, "{:?}", index.log_position());
        let (now, late_state) = (index.state(), sleeper.refresh().unwrap());
        let fresh = open(&Env::new(fs.clone(), manual()), dir).unwrap().state();
        for state in [&late_state, &fresh] {
            assert_eq!(state.uids(), now.uids());
            assert_eq!(state.seen_count(), 400);
            assert_eq!(state.highest_modseq(), now.highest_modseq());
            assert_eq!(state.next_uid(), uid(401));
        }
        assert!(fs.metadata(&dir.join("dovecot.index.backup")).unwrap().is_some());
    });
}

#[test]
fn a_torn_end_is_cut_by_the_next_writer() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        save(&index, "one").unwrap();
        let path = dir.join("dovecot.index.log");
        let log = fs.open(&path, mailfs::OpenMode::ReadWrite).unwrap();
        let end = log.len().unwrap();
        for torn in [&b"\x80\x80\x80\x90\x02\0\0\x10\x05"[..], &[0; 40], &[0x80, 0x80]] {
            log.write_at(torn, log.len().unwrap()).unwrap();
            let end = index.log_position().unwrap().offset;
            assert_eq!(index.refresh().unwrap().message_count(), index.state().message_count());
            assert_eq!(index.log_position().unwrap().offset, end, "a reader waits before a torn end");
            save(&index, "next").unwrap();
            assert_eq!(u64::from(index.log_position().unwrap().offset), log.len().unwrap());
        }
        assert!(log.len().unwrap() > end);
        assert_eq!(open(&Env::new(fs, manual()), dir).unwrap().state().uids(), set(&[1, 2, 3, 4]));
    });
}

#[test]
fn a_failing_operation_harms_no_other() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        let (first, _) = begin_save(&index, "one").unwrap();
        let refused = enqueue(&index, |at| {
            at.next_uid()?;
            Err(mailindex::engine::OpError::refused("no"))
        });
        let panics = enqueue(&index, |_| panic!("a bug"));
        let wrong = enqueue(&index, |at| {
            at.transaction().append(uid(1), mailtypes::Flags::NONE);
            Ok(())
        });
        let (last, _) = begin_save(&index, "two").unwrap();
        finish(first).unwrap();
        finish(last).unwrap();
        for failed in [refused, panics, wrong] {
            assert!(finish(failed).is_err());
        }
        assert_eq!(index.state().uids(), set(&[1, 2]));
        assert_eq!(body(&*fs, dir, 2).unwrap(), "two");
    });
}

#[test]
fn a_failed_append_takes_its_names_back() {
    let mut failed = 0;
    for call in 1..60 {
        let disk = SimDisk::new();
        let (fs, dir) = (disk.as_file_system(), Path::new("/box"));
        fs.create_dir(dir, 0o700).unwrap();
        let index = create(&Env::new(fs.clone(), manual()), dir);
        disk.fail_call(call, mailfs::sim::Fault::NoSpace);
        let saved = save(&index, "text");
        disk.clear_plan();
        let named = fs.metadata(&dir.join("u.1")).unwrap().is_some();
        assert_eq!(named, saved.is_ok(), "call {call}");
        assert_eq!(index.refresh().unwrap().message_count(), u32::from(saved.is_ok()));
        failed += u32::from(saved.is_err());
    }
    assert!(failed > 2, "only {failed} calls failed");
}

/// Who has it open at the old place is told that it is gone, even when another mailbox is made there at once.
#[test]
fn a_renamed_folder_is_opened_in_its_new_place() {
    on_both(|fs, root| {
        let env = Env::new(fs.clone(), manual());
        let (old, new) = (root.join("old"), root.join("new"));
        fs.create_dir(&old, 0o700).unwrap();
        let index = create(&env, &old);
        let (left, also_left) = (Arc::clone(&index), Arc::clone(&index));
        save(&index, "one").unwrap();
        drop(index);
        fs.rename(&old, &new).unwrap();
        fs.create_dir(&old, 0o700).unwrap();
        let other = Env::new(fs.clone(), manual());
        let successor = create(&other, &old);
        save(&successor, "not this one").unwrap();
        save(&successor, "nor this").unwrap();
        assert!(left.refresh().unwrap_err().is_gone());
        assert_eq!(also_left.state().message_count(), 1);
        assert!(save(&also_left, "lost?").is_err());
        let moved = open(&env, &new).unwrap();
        assert_eq!(moved.dir(), new);
        assert_eq!(save(&moved, "two").unwrap(), 2);
        assert_eq!(body(&*fs, &new, 2).unwrap(), "two");
        drop((left, also_left, moved));
        // What was parked is not taken for another place either.
        let newer = root.join("newer");
        fs.rename(&new, &newer).unwrap();
        let moved = open(&env, &newer).unwrap();
        assert_eq!(moved.state().message_count(), 2);
        assert_eq!(save(&moved, "three").unwrap(), 3);
        fs.rename(&newer, &new).unwrap();
        let again = open(&env, &new).unwrap();
        assert!(!Arc::ptr_eq(&moved, &again));
        assert!(moved.is_deleted());
        assert_eq!(again.refresh().unwrap().message_count(), 3);
    });
}
