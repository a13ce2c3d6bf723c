//! The power is cut during each call, and each call fails: what was acknowledged is there, what was not is there whole or
//! not at all, and no UID is used twice.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::common::*;
use mailfs::{
    FileSystem, FileSystemExt,
    sim::{Acks, CrashChoice, CrashRunner, FaultRunner, SimDisk},
};
use mailindex::{
    engine::{Env, EnvOptions, MailboxIndex, recover},
    log::{RawLogHeader, complete_end},
    state::State,
};
use mailtypes::{Flag, Flags};

const DIR: &str = "/box";

/// What the work has begun and been promised.
#[derive(Clone, Debug, Hash)]
enum Ack {
    Created,
    Saved(u32, &'static str),
    Flagging(u32),
    Flagged(u32),
    Expunging(u32),
    Expunged(u32),
}

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn env(fs: Arc<dyn FileSystem>) -> Env {
    Env::new(fs, EnvOptions { snapshot_log_len_min: 200, rotate_len_max: 600, ..manual() })
}

/// A mailbox with three messages.
fn setup(disk: &SimDisk) {
    let fs = disk.as_file_system();
    fs.create_dir(dir(), 0o700).unwrap();
    let env = env(fs);
    let index = create(&env, dir());
    for text in ["a", "b", "c"] {
        save(&index, text).unwrap();
    }
    env.flush().unwrap();
}

/// Opens what is left, and holds it against the promises.
fn check(disk: &SimDisk, acks: &[Ack]) -> Result<(), BoxError> {
    check_with(disk, acks, &[(1, "a"), (2, "b"), (3, "c")])
}

fn check_with(disk: &SimDisk, acks: &[Ack], before: &[(u32, &'static str)]) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    let env = env(Arc::clone(&fs));
    let recovered = recover(&env, dir(), PREFIX, store(&env, dir()))?;
    if recovered.needs_rebuild {
        return Err(format!("needs a rebuild: {:?}", recovered.reports).into());
    }
    let index = open(&env, dir())?;
    let state = index.state();
    check_state(&*fs, &state, acks, before)?;
    let next = save(&index, "after")?;
    if acks.iter().any(|ack| matches!(ack, Ack::Saved(uid, _) if *uid >= next)) {
        return Err(format!("UID {next} is used twice").into());
    }
    env.drain();
    let again = open(&Env::new(fs.clone(), manual()), dir())?.state();
    if again.uids() != index.state().uids() || again.highest_modseq() != index.state().highest_modseq() {
        return Err("two readers disagree".into());
    }
    Ok(())
}

fn check_state(
    fs: &dyn FileSystem,
    state: &State,
    acks: &[Ack],
    before: &[(u32, &'static str)],
) -> Result<(), BoxError> {
    let mut expected: BTreeMap<u32, &str> = before.iter().copied().collect();
    let mut maybe_gone = Vec::new();
    for ack in acks {
        match ack {
            Ack::Saved(uid, text) => {
                expected.insert(*uid, text);
            }
            Ack::Expunging(uid) => maybe_gone.push(*uid),
            Ack::Expunged(uid) => {
                expected.remove(uid);
                if state.contains(uid_of(*uid)) {
                    return Err(format!("{uid} is back").into());
                }
            }
            Ack::Created | Ack::Flagging(_) | Ack::Flagged(_) => {}
        }
    }
    for (uid, text) in &expected {
        if maybe_gone.contains(uid) && !state.contains(uid_of(*uid)) {
            continue;
        }
        if !state.contains(uid_of(*uid)) {
            return Err(format!("{uid} is lost").into());
        }
        let found = body(fs, dir(), *uid).map_err(|e| format!("{uid} has no body: {e}"))?;
        if found != *text {
            return Err(format!("{uid} is {found:?} instead of {text:?}").into());
        }
    }
    for uid in state.uids().iter() {
        let text = body(fs, dir(), uid.value()).map_err(|e| format!("{uid} is listed without a body: {e}"))?;
        if text.is_empty() {
            return Err(format!("{uid} is listed with an empty body").into());
        }
    }
    Ok(())
}

fn uid_of(n: u32) -> mailtypes::Uid {
    uid(n)
}

fn crash(work: impl Fn(Arc<dyn FileSystem>, &Acks<Ack>) -> Result<(), BoxError>) {
    let runner = CrashRunner { choices: CrashChoice::list(12), ..CrashRunner::default() };
    let report = runner.run(setup, &work, check);
    println!("crash: {report}");
    assert!(report.is_sound(), "{report}");
}

fn fault(work: impl Fn(Arc<dyn FileSystem>, &Acks<Ack>) -> Result<(), BoxError>) {
    let report = FaultRunner { extra_calls_max: 200_000, ..FaultRunner::default() }.run(setup, &work, check);
    println!("fault: {report}");
    assert!(report.is_sound(), "{report}");
}

fn appends(fs: Arc<dyn FileSystem>, acks: &Acks<Ack>) -> Result<(), BoxError> {
    let index = open(&env(fs), dir())?;
    for text in ["d", "e"] {
        let uid = save(&index, text)?;
        acks.push(Ack::Saved(uid, text));
    }
    // Three in one batch.
    let begun: Vec<_> = ["f", "g", "h"]
        .into_iter()
        .map(|text| Ok((text, begin_save(&index, text)?)))
        .collect::<Result<_, BoxError>>()?;
    for (text, (completion, uid)) in begun {
        finish(completion)?;
        acks.push(Ack::Saved(*uid.lock().unwrap(), text));
    }
    Ok(())
}

#[test]
fn appends_survive_a_power_cut() {
    crash(appends);
}

#[test]
fn appends_survive_faults() {
    fault(appends);
}

fn expunges(fs: Arc<dyn FileSystem>, acks: &Acks<Ack>) -> Result<(), BoxError> {
    let index = open(&env(fs), dir())?;
    acks.push(Ack::Expunging(2));
    expunge(&index, &set(&[2]))?;
    acks.push(Ack::Expunged(2));
    let uid = save(&index, "d")?;
    acks.push(Ack::Saved(uid, "d"));
    acks.push(Ack::Expunging(1));
    acks.push(Ack::Expunging(3));
    expunge(&index, &set(&[1, 3]))?;
    acks.push(Ack::Expunged(1));
    acks.push(Ack::Expunged(3));
    Ok(())
}

#[test]
fn expunges_survive_a_power_cut() {
    crash(expunges);
}

#[test]
fn expunges_survive_faults() {
    fault(expunges);
}

fn check_flags(disk: &SimDisk, acks: &[Ack]) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    check(disk, acks)?;
    let state = open(&env(fs), dir())?.state();
    for ack in acks {
        if let Ack::Flagged(uid) = ack
            && !state.record_of(uid_of(*uid)).is_some_and(|record| record.flags().contains(Flag::Flagged))
        {
            return Err(format!("the flag of {uid} is lost").into());
        }
    }
    for record in state.records_from(0) {
        let begun = acks.iter().any(|ack| matches!(ack, Ack::Flagging(uid) if *uid == record.uid().value()));
        if record.flags() != Flags::NONE && !begun {
            return Err(format!("{} has flags from nowhere", record.uid()).into());
        }
    }
    Ok(())
}

/// Flags count as promised when they were flushed.
fn flags(fs: Arc<dyn FileSystem>, acks: &Acks<Ack>) -> Result<(), BoxError> {
    let env = env(fs);
    let index = open(&env, dir())?;
    for n in 1..=3 {
        acks.push(Ack::Flagging(n));
        flag(&index, &set(&[n]), Flag::Flagged)?;
        if n == 2 {
            env.flush()?;
            acks.push(Ack::Flagged(1));
            acks.push(Ack::Flagged(2));
        }
    }
    let uid = save(&index, "d")?;
    acks.push(Ack::Saved(uid, "d"));
    // One sync covers all that was appended before.
    acks.push(Ack::Flagged(3));
    Ok(())
}

#[test]
fn flushed_flags_survive_a_power_cut() {
    let runner = CrashRunner { choices: CrashChoice::list(12), ..CrashRunner::default() };
    let report = runner.run(setup, flags, check_flags);
    println!("crash: {report}");
    assert!(report.is_sound(), "{report}");
}

/// Enough to write snapshots and rotate several times.
fn long(fs: Arc<dyn FileSystem>, acks: &Acks<Ack>) -> Result<(), BoxError> {
    let env = env(fs);
    let index = open(&env, dir())?;
    for round in 0..40u32 {
        let uid = save(&index, "x")?;
        acks.push(Ack::Saved(uid, "x"));
        acks.push(Ack::Flagging(uid));
        flag(&index, &set(&[uid]), Flag::Flagged)?;
        if round % 8 == 5 {
            acks.push(Ack::Expunging(uid));
            expunge(&index, &set(&[uid]))?;
            acks.push(Ack::Expunged(uid));
        }
        env.drain();
    }
    if index.log_position().is_none_or(|at| at.file_seq < 4) {
        return Err("too few rotations".into());
    }
    Ok(())
}

#[test]
fn snapshots_and_rotations_survive_a_power_cut() {
    crash(long);
}

/// What any program finds that comes first after a power cut, before anybody has repaired anything: each snapshot goes on
/// in a log that is there whole up to the snapshot's head.
fn check_no_snapshot_is_ahead(disk: &SimDisk, _: &[Ack]) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    let read = |name: &str| fs.read_all(&dir().join(name), 1 << 20);
    let logs: Vec<Vec<u8>> = ["dovecot.index.log", "dovecot.index.log.2"].into_iter().flat_map(read).collect();
    let Ok(snapshot) = read("dovecot.index") else { return Ok(()) };
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (seq, head) = (word(&snapshot, 60), word(&snapshot, 68));
    for log in &logs {
        let header = RawLogHeader::parse(log).map_err(|e| e.to_string())?;
        if header.file_seq.get() == seq {
            let start = header.records_start();
            let (end, _) = complete_end(&log[start as usize..], start);
            return if end >= head { Ok(()) } else { Err(format!("head {head}, log {seq} ends at {end}").into()) };
        }
    }
    Err(format!("the snapshot's log {seq} is not there").into())
}

#[test]
fn a_snapshot_is_never_ahead_of_its_log() {
    let runner = CrashRunner { choices: CrashChoice::list(24), ..CrashRunner::default() };
    let report = runner.run(setup, long, check_no_snapshot_is_ahead);
    println!("crash: {report}");
    assert!(report.is_sound(), "{report}");
}

/// A request that somebody wrote and did not live to sync: the next writer carries it out, and the power goes.
#[test]
fn requests_of_the_dead_are_durable_before_they_are_carried_out() {
    let work = |fs: Arc<dyn FileSystem>, acks: &Acks<Ack>| {
        let dead = env(Arc::clone(&fs));
        acks.push(Ack::Expunging(2));
        finish(enqueue(&open(&dead, dir())?, |at| {
            at.transaction().request_expunge(&set(&[2]));
            Ok(())
        }))?;
        let index = open(&env(fs), dir())?;
        flag(&index, &set(&[1]), Flag::Seen)
    };
    crash(work);
}

/// A sync fails, somebody looks, and only then somebody writes: what was appended in between must not stand behind a hole.
#[test]
fn a_look_does_not_make_a_failed_sync_forgotten() {
    let work = |fs: Arc<dyn FileSystem>, acks: &Acks<Ack>| {
        let env = env(fs);
        let index = open(&env, dir())?;
        acks.push(Ack::Flagging(1));
        flag(&index, &set(&[1]), Flag::Flagged)?;
        if let Ok(uid) = save(&index, "x") {
            acks.push(Ack::Saved(uid, "x"));
        }
        index.refresh()?;
        let uid = save(&index, "d")?;
        acks.push(Ack::Saved(uid, "d"));
        index.flush()?;
        acks.push(Ack::Flagged(1));
        Ok(())
    };
    let report = FaultRunner { extra_calls_max: 200_000, ..FaultRunner::default() }.run(setup, work, check_flags);
    println!("fault: {report}");
    assert!(report.is_sound(), "{report}");
}

#[test]
fn snapshots_and_rotations_survive_faults() {
    // A fault may keep a snapshot from being written, and so the log from being rotated.
    fault(|fs, acks| match long(fs, acks) {
        Err(e) if e.to_string() == "too few rotations" => Ok(()),
        other => other,
    });
}

#[test]
fn creation_is_whole_or_not_at_all() {
    let setup = |disk: &SimDisk| disk.as_file_system().create_dir(dir(), 0o700).unwrap();
    let work = |fs: Arc<dyn FileSystem>, acks: &Acks<Ack>| {
        let env = env(fs);
        let index = MailboxIndex::create(&env, dir(), PREFIX, store(&env, dir()), &initial())?;
        acks.push(Ack::Created);
        let uid = save(&index, "a")?;
        acks.push(Ack::Saved(uid, "a"));
        Ok(())
    };
    let check = |disk: &SimDisk, acks: &[Ack]| {
        let fs = disk.as_file_system();
        let env = env(Arc::clone(&fs));
        if acks.is_empty() {
            fs.sleep(std::time::Duration::from_secs(100)); // what a crash left is stale by then
            let index = MailboxIndex::create(&env, dir(), PREFIX, store(&env, dir()), &initial())?;
            return if index.state().uid_validity().is_some() { Ok(()) } else { Err("half a mailbox".into()) };
        }
        check_with(disk, acks, &[])
    };
    let report = CrashRunner { choices: CrashChoice::list(12), ..CrashRunner::default() }.run(setup, work, check);
    println!("crash: {report}");
    assert!(report.is_sound(), "{report}");
    let report = FaultRunner { extra_calls_max: 200_000, ..FaultRunner::default() }.run(setup, work, check);
    println!("fault: {report}");
    assert!(report.is_sound(), "{report}");
}
