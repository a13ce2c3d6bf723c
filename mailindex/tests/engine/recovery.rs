//! Damage of every kind: what can be had from the other files is there again, what cannot is said, nothing is deleted.

use std::{path::Path, sync::Arc};

use crate::common::*;
use mailfs::{FileSystem, FileSystemExt, OpenMode, sim::SimDisk};
use mailindex::{
    engine::{
        Env, EnvOptions, IndexError, MailboxIndex, RebuildMessage, Recovered, RecoveryAction, inspect, rebuild, recover,
    },
    log::{Origin, Transaction},
    snapshot::{SnapshotStamp, decode, encode},
    state::RecordFlags,
};
use mailtypes::Flag;

const MESSAGES: u32 = 30;

fn dir() -> &'static Path {
    Path::new("/box")
}

fn name(file: &str) -> std::path::PathBuf {
    dir().join(file)
}

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { snapshot_log_len_min: 300, rotate_len_max: 900, ..manual() })
}

/// A mailbox with snapshot, backup, both logs, and some flags behind the snapshot.
fn mailbox() -> Arc<dyn FileSystem> {
    mailbox_that_begins_with(&initial())
}

fn mailbox_that_begins_with(initial: &Transaction) -> Arc<dyn FileSystem> {
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(dir(), 0o700).unwrap();
    let env = env(&fs);
    let index = MailboxIndex::create(&env, dir(), PREFIX, store(&env, dir()), initial).unwrap();
    for n in 1..=MESSAGES {
        save(&index, "text").unwrap();
        env.drain();
        flag(&index, &set(&[n]), Flag::Flagged).unwrap();
    }
    for file in ["dovecot.index", "dovecot.index.backup", "dovecot.index.log", "dovecot.index.log.2"] {
        assert!(fs.metadata(&name(file)).unwrap().is_some(), "{file}");
    }
    fs
}

fn recovered(fs: &Arc<dyn FileSystem>) -> Recovered {
    let env = env(fs);
    recover(&env, dir(), PREFIX, store(&env, dir())).unwrap()
}

/// All is there, and goes on.
fn check_whole(fs: &Arc<dyn FileSystem>) {
    let env = env(fs);
    let index = open(&env, dir()).unwrap();
    let state = index.state();
    assert_eq!(state.message_count(), MESSAGES);
    let flagged = state.records_from(0).filter(|record| record.flags().contains(Flag::Flagged)).count();
    assert_eq!(flagged as u32, MESSAGES);
    assert_eq!(save(&index, "more").unwrap(), MESSAGES + 1);
    assert_eq!(open(&Env::new(fs.clone(), manual()), dir()).unwrap().state().message_count(), MESSAGES + 1);
}

fn patch(fs: &Arc<dyn FileSystem>, file: &str, offset: u64, bytes: &[u8]) {
    fs.open(&name(file), OpenMode::ReadWrite).unwrap().write_at(bytes, offset).unwrap();
}

fn damaged_copies(fs: &Arc<dyn FileSystem>) -> usize {
    let entries = fs.read_dir(dir()).unwrap();
    entries.iter().filter(|entry| entry.name.to_string_lossy().starts_with("culver.damaged.")).count()
}

#[test]
fn a_sound_mailbox_is_left_alone() {
    let fs = mailbox();
    assert!(recovered(&fs).reports.is_empty());
    check_whole(&fs);
}

#[test]
fn a_torn_end_is_cut() {
    let fs = mailbox();
    let len = fs.metadata(&name("dovecot.index.log")).unwrap().unwrap().len;
    patch(&fs, "dovecot.index.log", len, &[0x80, 0x80, 0x80, 0x90, 1, 2]);
    let recovered = recovered(&fs);
    assert_eq!(recovered.reports.len(), 1);
    assert_eq!(recovered.reports[0].action, RecoveryAction::CutTornEnd { len: 6 });
    assert_eq!(recovered.reports[0].damage.offset, len);
    check_whole(&fs);
}

#[test]
fn a_bad_snapshot_is_made_up_for_by_the_backup() {
    for harm in 0..4 {
        let fs = mailbox();
        match harm {
            0 => patch(&fs, "dovecot.index", 0, &[0xff; 120]),
            1 => fs.open(&name("dovecot.index"), OpenMode::ReadWrite).unwrap().set_len(60).unwrap(),
            2 => {
                let len = fs.metadata(&name("dovecot.index")).unwrap().unwrap().len;
                fs.open(&name("dovecot.index"), OpenMode::ReadWrite).unwrap().set_len(len - 1).unwrap();
            }
            _ => fs.unlink(&name("dovecot.index")).unwrap(),
        }
        let recovered = recovered(&fs);
        // The backup's log may have been rotated away; then the messages must be looked at, with what it knew.
        if recovered.needs_rebuild {
            let messages: Vec<_> =
                (1..=MESSAGES).map(|n| RebuildMessage { uid: uid(n), flags: RecordFlags::NONE }).collect();
            let keep = recovered.state.expect("the backup");
            rebuild(&env(&fs), dir(), PREFIX, &messages, Some(&keep), Transaction::new()).unwrap();
            let index = open(&env(&fs), dir()).unwrap();
            assert_eq!(index.state().message_count(), MESSAGES);
            assert_eq!(index.state().uid_validity().unwrap().value(), UID_VALIDITY);
            assert_eq!(index.state().dbox_header().unwrap().guid.0, [7; 16]);
            assert_eq!(save(&index, "more").unwrap(), MESSAGES + 1);
        } else {
            check_whole(&fs);
        }
        assert!(harm == 3 || damaged_copies(&fs) > 0);
    }
}

/// Whoever makes an index anew has read the old one before he goes over the messages.
#[test]
fn what_is_written_while_the_messages_are_gone_over_is_kept() {
    for rotates in [false, true] {
        let fs = mailbox();
        let keep = recovered(&fs).state.unwrap();
        let there: Vec<_> = (1..=MESSAGES).map(|n| RebuildMessage { uid: uid(n), flags: RecordFlags::NONE }).collect();
        let other = env(&fs);
        let index = open(&other, dir()).unwrap();
        flag(&index, &set(&[3, 7]), Flag::Answered).unwrap();
        expunge(&index, &set(&[5])).unwrap();
        assert_eq!(save(&index, "came").unwrap(), MESSAGES + 1);
        if rotates {
            for n in (1..=MESSAGES).filter(|n| *n != 5) {
                flag(&index, &set(&[n]), Flag::Draft).unwrap();
                other.drain();
            }
        }
        let log_seq = index.state().position().unwrap().file_seq;
        assert_eq!(log_seq > keep.position().unwrap().file_seq, rotates);
        rebuild(&env(&fs), dir(), PREFIX, &there, Some(&keep), Transaction::new()).unwrap();
        for index in [open(&env(&fs), dir()).unwrap(), index] {
            let state = index.refresh().unwrap();
            let answered = state.records_from(0).filter(|record| record.flags().contains(Flag::Answered));
            assert_eq!(answered.map(|record| record.uid()).collect::<Vec<_>>(), [uid(3), uid(7)]);
            assert!(!state.contains(uid(5)) && state.contains(uid(MESSAGES + 1)));
            assert_eq!((state.message_count(), state.next_uid()), (MESSAGES, uid(MESSAGES + 2)));
            assert!(state.record_of(uid(1)).unwrap().flags().contains(Flag::Flagged));
        }
    }
}

/// The same of an index of which a part is lost: who had it open before goes on, and what he writes counts.
#[test]
fn what_is_written_behind_a_damaged_snapshot_is_kept() {
    let fs = mailbox();
    let other = env(&fs);
    let index = open(&other, dir()).unwrap();
    index.write_snapshot().unwrap();
    let len = fs.metadata(&name("dovecot.index")).unwrap().unwrap().len;
    fs.open(&name("dovecot.index"), OpenMode::ReadWrite).unwrap().set_len(len - 1).unwrap();
    for file in ["dovecot.index.backup", "dovecot.index.log.2"] {
        fs.unlink(&name(file)).unwrap();
    }
    let keep = inspect(&env(&fs), dir(), PREFIX).unwrap().state.expect("all but the last message");
    let there: Vec<_> = keep.uids().iter().map(|uid| RebuildMessage { uid, flags: RecordFlags::NONE }).collect();
    assert_eq!(there.len() as u32, MESSAGES - 1);
    flag(&index, &set(&[3, 7]), Flag::Answered).unwrap();
    expunge(&index, &set(&[5])).unwrap();
    assert_eq!(save(&index, "came").unwrap(), MESSAGES + 1);
    rebuild(&env(&fs), dir(), PREFIX, &there, Some(&keep), Transaction::new()).unwrap();
    let state = open(&env(&fs), dir()).unwrap().state();
    let answered = state.records_from(0).filter(|record| record.flags().contains(Flag::Answered));
    assert_eq!(answered.map(|record| record.uid()).collect::<Vec<_>>(), [uid(3), uid(7)]);
    assert!(!state.contains(uid(5)) && state.contains(uid(MESSAGES + 1)));
    assert_eq!(state.message_count(), MESSAGES - 1);
}

#[test]
fn a_log_marked_as_corrupted_is_taken_back() {
    let fs = mailbox();
    patch(&fs, "dovecot.index.log", 4, &[0; 4]);
    let recovered = recovered(&fs);
    assert!(!recovered.needs_rebuild, "{:?}", recovered.reports);
    assert!(matches!(recovered.reports[0].action, RecoveryAction::Unmarked { .. }));
    assert_eq!(damaged_copies(&fs), 1);
    check_whole(&fs);
}

#[test]
fn a_live_mailbox_repairs_itself() {
    let fs = mailbox();
    let index = open(&env(&fs), dir()).unwrap();
    patch(&fs, "dovecot.index.log", 4, &[0; 4]);
    assert_eq!(save(&index, "more").unwrap(), MESSAGES + 1);
    assert_eq!(index.refresh().unwrap().message_count(), MESSAGES + 1);
}

#[test]
fn without_a_log_the_snapshot_counts() {
    let fs = mailbox();
    let env = env(&fs);
    let index = open(&env, dir()).unwrap();
    index.write_snapshot().unwrap();
    drop(index);
    drop(env);
    fs.unlink(&name("dovecot.index.log")).unwrap();
    let recovered = recovered(&fs);
    assert!(!recovered.needs_rebuild);
    assert!(matches!(recovered.reports[0].action, RecoveryAction::NewLog { .. }));
    check_whole(&fs);
}

#[test]
fn a_log_shorter_than_its_snapshot_gives_way() {
    let fs = mailbox();
    let env = env(&fs);
    open(&env, dir()).unwrap().write_snapshot().unwrap();
    drop(env);
    fs.open(&name("dovecot.index.log"), OpenMode::ReadWrite).unwrap().set_len(80).unwrap();
    let recovered = recovered(&fs);
    assert!(!recovered.needs_rebuild, "{:?}", recovered.reports);
    assert_eq!(damaged_copies(&fs), 1);
    check_whole(&fs);
}

/// Every byte of every file, one at a time: no panic, and either all messages are known or it is said that they are not.
#[test]
fn a_flipped_byte_is_noticed_or_harmless() {
    let pristine = mailbox();
    for file in ["dovecot.index", "dovecot.index.log"] {
        let bytes = pristine.read_all(&name(file), 1 << 20).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let fs = mailbox_copy(&pristine);
            patch(&fs, file, at as u64, &[bytes[at] ^ 0x55]);
            let env = env(&fs);
            match recover(&env, dir(), PREFIX, store(&env, dir())) {
                Ok(recovered) if recovered.needs_rebuild => {}
                Ok(_) => drop(open(&env, dir()).map(|index| save(&index, "more"))),
                Err(e) => assert!(!matches!(e, IndexError::NotFound { .. }), "{file} at {at}: {e}"),
            }
        }
    }
}

fn mailbox_copy(from: &Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(dir(), 0o700).unwrap();
    for entry in from.read_dir(dir()).unwrap() {
        let path = dir().join(entry.name);
        let bytes = from.read_all(&path, 1 << 20).unwrap();
        fs.write_atomic(&path, &bytes, 0o600, false).unwrap();
    }
    fs
}

#[test]
fn a_deleted_mailbox_is_told_to_all() {
    let fs = mailbox();
    let (here, there) = (env(&fs), env(&fs));
    let (index, other) = (open(&here, dir()).unwrap(), open(&there, dir()).unwrap());
    let delete = |at: &mut mailindex::engine::CommitPoint<'_>| {
        at.transaction().index_deleted(Origin::External);
        at.require_sync();
        Ok(())
    };
    finish(enqueue(&index, delete)).unwrap();
    for index in [&index, &other] {
        assert!(matches!(index.refresh(), Err(IndexError::Deleted { .. })));
        assert!(save(index, "too late").is_err());
        assert!(index.is_deleted());
    }
    let again = MailboxIndex::open(&there, dir(), PREFIX, store(&there, dir()));
    assert!(matches!(again, Err(IndexError::Deleted { .. })));
}

#[test]
fn a_request_left_by_a_crash_is_carried_out() {
    let fs = mailbox();
    let env = env(&fs);
    let index = open(&env, dir()).unwrap();
    finish(enqueue(&index, |at| {
        at.transaction().request_expunge(&set(&[5, 7]));
        Ok(())
    }))
    .unwrap();
    assert!(index.state().has_pending());
    drop((index, env));
    let recovered = recovered(&fs);
    assert!(matches!(recovered.reports[..], [ref one] if one.action == RecoveryAction::CarriedOut { expunged: 2 }));
    let state = recovered.state.unwrap();
    assert!(!state.contains(uid(5)) && !state.has_pending());
    assert!(fs.metadata(&name("u.5")).unwrap().is_none());
}

/// A record's size that became zero looks like a write that was not finished; what was synced behind it must not go.
#[test]
fn a_gap_is_no_torn_end() {
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(dir(), 0o700).unwrap();
    let env = Env::new(Arc::clone(&fs), manual());
    let index = create(&env, dir());
    save(&index, "text").unwrap();
    let end = u64::from(index.log_position().unwrap().offset);
    for _ in 2..=4 {
        save(&index, "text").unwrap();
    }
    drop((index, env));
    patch(&fs, "dovecot.index.log", end, &[0; 8]);
    let found = recovered(&fs);
    assert!(found.needs_rebuild, "{:?}", found.reports);
    assert_eq!(found.reports[0].damage.offset, end);
    assert!(damaged_copies(&fs) > 0);
    // One write alone may be half done.
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(dir(), 0o700).unwrap();
    let index = create(&Env::new(Arc::clone(&fs), manual()), dir());
    let end = u64::from(index.log_position().unwrap().offset);
    save(&index, "text").unwrap();
    drop(index);
    patch(&fs, "dovecot.index.log", end, &[0; 8]);
    assert!(!recovered(&fs).needs_rebuild);
}

/// Numbers of indexes are seconds: mailboxes made in one second share theirs, and their logs have one number too.
#[test]
fn a_log_of_another_mailbox_is_not_taken_for_ones_own() {
    let one = |is_other: bool| {
        let fs = SimDisk::new().as_file_system();
        fs.create_dir(dir(), 0o700).unwrap();
        let env = Env::new(Arc::clone(&fs), EnvOptions { snapshot_log_len_min: 200, ..manual() });
        let index = create(&env, dir());
        if is_other {
            save(&index, "what shifts all that follows").unwrap();
        }
        for n in 1..=MESSAGES {
            save(&index, "text").unwrap();
            flag(&index, &set(&[n]), Flag::Flagged).unwrap();
        }
        // The snapshot is of some place before the end.
        env.drain();
        flag(&index, &set(&[1]), Flag::Answered).unwrap();
        fs
    };
    let (fs, other) = (one(false), one(true));
    let log = name("dovecot.index.log");
    let mut theirs = other.read_all(&log, 1 << 20).unwrap();
    let ours = fs.read_all(&log, 1 << 20).unwrap();
    assert_eq!(theirs[8..12], ours[8..12], "of one number");
    theirs[4..8].copy_from_slice(&ours[4..8]);
    fs.open(&log, OpenMode::ReadWrite).unwrap().set_len(0).unwrap();
    patch(&fs, "dovecot.index.log", 0, &theirs);

    let recovered = recovered(&fs);
    let actions: Vec<_> = recovered.reports.iter().map(|report| &report.action).collect();
    assert!(
        matches!(
            actions[..],
            [RecoveryAction::SetAside { .. }, RecoveryAction::NeedsRebuild, RecoveryAction::NewLog { .. }]
        ),
        "{actions:?}"
    );
    let state = recovered.state.unwrap();
    assert!(recovered.needs_rebuild && state.message_count() == MESSAGES, "{state:?}");
    assert_eq!(damaged_copies(&fs), 1);
}

/// Dovecot's processes now and then tell each other a mod-sequence that is too low.
#[test]
fn a_snapshot_below_the_beginning_of_its_log_does_not_take_mod_sequences_back() {
    let mut initial = initial();
    initial.enable_modseqs();
    let fs = mailbox_that_begins_with(&initial);
    let before = open(&env(&fs), dir()).unwrap().state().highest_modseq();
    let bytes = fs.read_all(&name("dovecot.index"), 1 << 20).unwrap();
    let state = decode(&bytes).unwrap().state;
    assert!(state.modseq_is_known(), "{state:?}");
    let lower = encode(&state.with_modseq(2), &SnapshotStamp::default()).unwrap();
    assert_eq!(lower.len(), bytes.len());
    patch(&fs, "dovecot.index", 0, &lower);
    assert_eq!(open(&env(&fs), dir()).unwrap().state().highest_modseq(), before);
}
