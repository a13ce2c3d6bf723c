//! A conversion that was stopped, and mail that others put into the destination meanwhile: nothing of theirs goes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use crate::converted::{
    FORMATS, append, assert_same, env, expunge, flag, memory, name, opened, run, run_with, set, store,
};
use mailfs::sim::SimDisk;
use mailstore::{
    Format, MailStorage, ViewAs,
    convert::{ConvertOptions, ConvertProgress, ConvertSummary, FailureCause, Journal, convert},
};
use mailtypes::UidSet;

/// What a conversion commits at once.
const BATCH: u32 = 256;

const BOX: &str = "Work";

/// A mailbox whose UIDs have a gap between the first batch and the second.
fn source() -> Arc<dyn MailStorage> {
    let source = memory();
    source.create(&name(BOX)).unwrap();
    append(&*opened(&*source, BOX), 1..=BATCH + 6);
    expunge(&*opened(&*source, BOX), set([BATCH + 1, BATCH + 2]));
    source
}

/// A conversion that is stopped when its first batch is in.
fn stopped(source: &dyn MailStorage, format: Format) -> (Arc<dyn MailStorage>, Journal) {
    let there = store(&env(&SimDisk::new().as_file_system()), Path::new("/mail"), format);
    let mut journal = Journal::in_memory();
    let mut stop = |progress: &ConvertProgress| assert!(progress.added < BATCH.into(), "stopped");
    let all = ConvertOptions::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| convert(source, &*there, &mut journal, &all, &mut stop)));
    assert!(outcome.is_err());
    assert_eq!(uids(&*there).count(), u64::from(BATCH));
    (there, journal)
}

fn uids(storage: &dyn MailStorage) -> UidSet {
    opened(storage, BOX).view(&ViewAs::default()).unwrap().uids()
}

fn assert_conflict(summary: &ConvertSummary) {
    let causes: Vec<_> = summary.failures.iter().map(|failure| (failure.mailbox.as_str(), &failure.why)).collect();
    assert!(matches!(causes[..], [(BOX, FailureCause::Conflict(_))]), "{causes:?}");
}

#[test]
fn what_the_source_expunged_meanwhile_goes() {
    for format in FORMATS {
        let source = source();
        let (there, mut journal) = stopped(&*source, *format);
        expunge(&*opened(&*source, BOX), set([5, 9]));
        flag(&*opened(&*source, BOX), set([7]), "later");
        let summary = run(&*source, &*there, &mut journal);
        assert_eq!((summary.progress.expunged, summary.progress.flags, summary.progress.failed), (2, 1, 0), "{format}");
        assert_same(&*source, &*there);
        source.delete(&name(BOX)).unwrap();
        run(&*source, &*there, &mut journal);
        assert!(there.mailbox(&name(BOX)).is_err());
    }
}

#[test]
fn what_was_delivered_meanwhile_stays() {
    for format in FORMATS {
        let source = source();
        let (there, mut journal) = stopped(&*source, *format);
        append(&*opened(&*there, BOX), [9000]);
        assert_eq!(uids(&*there), set(1..=BATCH + 1));
        assert_conflict(&run(&*source, &*there, &mut journal));
        assert!(uids(&*there).contains(set([BATCH + 1]).first().unwrap()), "{format}");
        // Nor does the mailbox go when the source has it no more.
        source.rename(&name(BOX), &name("Other")).unwrap();
        source.delete(&name("Other")).unwrap();
        assert_conflict(&run(&*source, &*there, &mut journal));
        assert!(there.mailbox(&name(BOX)).is_ok(), "{format}");
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        assert!(run_with(&*source, &*there, &mut journal, &overwrite).failures.is_empty());
        assert!(there.mailbox(&name(BOX)).is_err());
    }
}

#[test]
fn flags_that_were_changed_meanwhile_stay() {
    for format in FORMATS {
        let source = source();
        let (there, mut journal) = stopped(&*source, *format);
        flag(&*opened(&*there, BOX), set([3]), "theirs");
        assert_conflict(&run(&*source, &*there, &mut journal));
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        assert!(run_with(&*source, &*there, &mut journal, &overwrite).failures.is_empty());
        assert_same(&*source, &*there);
    }
}

#[test]
fn what_is_delivered_before_the_end_is_not_taken_for_converted() {
    for format in FORMATS {
        let source = memory();
        source.create(&name(BOX)).unwrap();
        append(&*opened(&*source, BOX), 1..=4);
        let there = store(&env(&SimDisk::new().as_file_system()), Path::new("/mail"), *format);
        let (mut journal, all) = (Journal::in_memory(), ConvertOptions::default());
        let mut deliver = |progress: &ConvertProgress| {
            if progress.added == 4 && uids(&*there).count() == 4 {
                append(&*opened(&*there, BOX), [9000]);
            }
        };
        let summary = convert(&*source, &*there, &mut journal, &all, &mut deliver).unwrap();
        assert_conflict(&summary);
        // The source has its own under that UID, and another time none.
        append(&*opened(&*source, BOX), [50]);
        assert_conflict(&run(&*source, &*there, &mut journal));
        expunge(&*opened(&*source, BOX), set([5]));
        assert_conflict(&run(&*source, &*there, &mut journal));
        assert_eq!(uids(&*there), set(1..=5), "{format}");
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        assert!(run_with(&*source, &*there, &mut journal, &overwrite).failures.is_empty());
        assert_same(&*source, &*there);
    }
}
