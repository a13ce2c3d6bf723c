//! The runners find what is broken, and nothing where nothing is.

use std::{path::Path, sync::Arc};

use mailfs::{
    FileSystem, FileSystemExt, OpenMode,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};

/// A log of numbered lines, each acknowledged after it was written; which syncs are made is the question.
struct Log {
    sync_data: bool,
    sync_name: bool,
}

const LOG: &str = "/mail/log";
const LINE_LEN: u64 = 8;

impl Log {
    const SOUND: Self = Self { sync_data: true, sync_name: true };

    fn setup(disk: &SimDisk) {
        disk.create_dir_all(Path::new("/mail"), 0o700).expect("mkdir");
    }

    fn work(&self, fs: &Arc<dyn FileSystem>, acks: &Acks<u64>) -> Result<(), BoxError> {
        let file = fs.open(Path::new(LOG), OpenMode::CreateNew { mode: 0o600 })?;
        if self.sync_name {
            fs.sync_dir(Path::new("/mail"))?;
        }
        for n in 1..=5_u64 {
            file.write_at(format!("{n:07}\n").as_bytes(), (n - 1) * LINE_LEN)?;
            if self.sync_data {
                file.sync_data()?;
            }
            acks.push(n);
        }
        Ok(())
    }

    fn check(disk: &SimDisk, acks: &[u64]) -> Result<(), BoxError> {
        let log = match acks {
            [] => return Ok(()),
            _ => disk.read_all(Path::new(LOG), 999)?,
        };
        let lines: Vec<&[u8]> = log.chunks(8).collect();
        for n in acks {
            if lines.get(*n as usize - 1) != Some(&format!("{n:07}\n").as_bytes()) {
                return Err(format!("line {n} is lost").into());
            }
        }
        Ok(())
    }

    fn crash_report(&self) -> mailfs::sim::CrashReport {
        CrashRunner::default().run(Self::setup, |fs, acks| self.work(&fs, acks), Self::check)
    }
}

#[test]
fn sound_work_has_no_broken_state_at_any_point() {
    let report = Log::SOUND.crash_report();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.points, 2 + 5 * 2 + 1, "each call and the end");
    assert!(report.states > 20, "{report}");
}

#[test]
fn a_missing_sync_is_found_and_can_be_looked_at_again() {
    for log in [Log { sync_data: false, ..Log::SOUND }, Log { sync_name: false, ..Log::SOUND }] {
        let report = log.crash_report();
        assert!(!report.broken.is_empty(), "{report}");
        assert!(report.broken.iter().any(|b| b.contains("DropAll") && b.starts_with("crash point ")), "{report}");
    }
    let log = Log { sync_data: false, ..Log::SOUND };
    let report = log.crash_report();
    let first = report.broken.first().expect("broken");
    let k = first.split(' ').nth(2).expect("number").parse().expect("number");
    let again = CrashRunner { only: Some((k, CrashChoice::DropAll)), ..CrashRunner::default() };
    let again = again.run(Log::setup, |fs, acks| log.work(&fs, acks), Log::check);
    assert_eq!((again.points, again.states, again.broken.len()), (1, 1, 1), "{again}");
}

#[test]
fn panics_and_failures_of_their_own_are_broken() {
    let panicking = CrashRunner { broken_max: 3, ..CrashRunner::default() }.run(
        |_| {},
        |fs, _: &Acks<u64>| {
            fs.create_dir(Path::new("/d"), 0o700).expect("does not expect a crash");
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert!(panicking.broken.iter().any(|b| b.contains("crash point 1: the work panicked")), "{panicking}");
    let failing = CrashRunner::default().run(|_| {}, |_, _: &Acks<u64>| Err("no".into()), |_, _| Ok(()));
    assert!(failing.broken.iter().any(|b| b.contains("failed by itself: no")), "{failing}");
    let bad_check = CrashRunner::default().run(|_| {}, |_, _: &Acks<u64>| Ok(()), |_, _| panic!("bad check"));
    assert!(bad_check.broken.iter().any(|b| b.contains("the check panicked: bad check")), "{bad_check}");
}

#[test]
fn sound_work_keeps_its_promises_when_calls_fail() {
    let report = FaultRunner::default().run(Log::setup, |fs, acks| Log::SOUND.work(&fs, acks), Log::check);
    assert!(report.is_sound(), "{report}");
    assert!(report.points >= 2 * (5 * 4 + 2), "{report}");
}

#[test]
fn work_that_ignores_a_failed_sync_is_found() {
    let careless = |fs: Arc<dyn FileSystem>, acks: &Acks<u64>| -> Result<(), BoxError> {
        let file = fs.open(Path::new(LOG), OpenMode::CreateNew { mode: 0o600 })?;
        fs.sync_dir(Path::new("/mail"))?;
        file.write_at(b"0000001\n", 0)?;
        if file.sync_data().is_err() {
            file.sync_data()?; // the second says that all is well
        }
        acks.push(1);
        Ok(())
    };
    let report = FaultRunner::default().run(Log::setup, careless, Log::check);
    assert!(report.broken.iter().any(|b| b.contains("Io once") && b.contains("then DropAll")), "{report}");
    let without = FaultRunner { faults: vec![Fault::NoSpace], ..FaultRunner::default() };
    assert!(without.run(Log::setup, careless, Log::check).is_sound());
}

#[test]
fn work_that_tries_for_ever_is_found() {
    let stubborn = |fs: Arc<dyn FileSystem>, _: &Acks<u64>| -> Result<(), BoxError> {
        while let Err(e) = fs.create_dir(Path::new("/d"), 0o700) {
            if e.kind() != std::io::ErrorKind::StorageFull {
                return Err(e.into());
            }
        }
        Ok(())
    };
    let runner = FaultRunner { extra_calls_max: 1000, ..FaultRunner::default() };
    let report = runner.run(|_| {}, stubborn, |_, _| Ok(()));
    assert_eq!(report.broken.len(), 1, "{report}");
    assert!(report.broken.iter().all(|b| b.contains("NoSpace lasting") && b.contains("for ever")), "{report}");
}
