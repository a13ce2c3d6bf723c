//! Conversions from every kind of store to every other, again and for what is new.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::converted::{
    FLAT, FORMATS, append, assert_same, differences, env, expunge, fill, flag, memory, message, name, opened, reopened,
    run, run_with, set, store, work,
};
use mailfs::sim::SimDisk;
use mailstore::{
    Format, ListPattern, MailStorage, Section, ViewAs,
    convert::{Action, ConvertOptions, ConvertSummary, FailureCause, Journal, Loss},
};
use mailtypes::MailboxName;

/// A new store on a disk of its own.
fn on_disk(format: Format) -> Arc<dyn MailStorage> {
    store(&env(&SimDisk::new().as_file_system()), Path::new("/mail"), format)
}

fn actions(summary: &ConvertSummary) -> Vec<(String, Action)> {
    summary.mailboxes.iter().map(|one| (one.source.to_string(), one.action)).collect()
}

fn conflicts(summary: &ConvertSummary) -> Vec<String> {
    let is_conflict = |cause: &FailureCause| matches!(cause, FailureCause::Conflict(_));
    summary.failures.iter().filter(|f| is_conflict(&f.why)).map(|f| f.mailbox.to_string()).collect()
}

#[test]
fn every_format_to_memory_and_back_and_to_every_other() {
    let first = memory();
    fill(&*first, 40);
    for format in FORMATS {
        let there = on_disk(*format);
        let summary = run(&*first, &*there, &mut Journal::in_memory());
        assert!(summary.failures.is_empty() && summary.progress.added == summary.progress.size, "{summary:?}");
        assert_same(&*first, &*there);
        let back = memory();
        run(&*there, &*back, &mut Journal::in_memory());
        assert_same(&*there, &*back);
        let keeps_all = *format != Format::Mbox;
        if keeps_all {
            assert_same(&*first, &*back);
        }
        for other in FORMATS {
            let next = on_disk(*other);
            let summary = run(&*there, &*next, &mut Journal::in_memory());
            match (*format, *other) {
                (Format::Mbox, Format::Mbox) => assert_eq!(summary.losses, [Loss::Guids]),
                (_, Format::Mbox) => assert_eq!(summary.losses, losses_of_mbox(), "from {format}"),
                _ => assert!(summary.losses.is_empty(), "{format} to {other}: {:?}", summary.losses),
            }
            assert_same(&*there, &*next);
            if keeps_all {
                assert_same(&*first, &*next);
            }
        }
    }
}

/// What an mbox cannot hold of what `fill` makes of 40 messages a mailbox.
fn losses_of_mbox() -> [Loss; 5] {
    [
        Loss::Name { source: name("Work"), destination: work(Format::Mbox) },
        Loss::Guids,
        Loss::Pop3 { messages: 25 },
        Loss::LineEnds { messages: 50 },
        Loss::Fields { messages: 19 },
    ]
}

#[test]
fn a_store_that_is_opened_anew_shows_the_same() {
    let source = memory();
    fill(&*source, 30);
    for format in FORMATS {
        let fs = SimDisk::new().as_file_system();
        run(&*source, &*store(&env(&fs), Path::new("/mail"), *format), &mut Journal::in_memory());
        let there = reopened(&env(&fs), Path::new("/mail"), *format).unwrap();
        assert_same(&*source, &*there);
        // It is a mailbox like any other.
        let inbox = opened(&*there, "INBOX");
        let before = inbox.status().unwrap();
        append(&*inbox, [500]);
        let after = inbox.status().unwrap();
        assert_eq!(after.uid_next.value(), before.uid_next.value() + 1);
        assert!(after.highest_modseq > before.highest_modseq);
        there.create(&name("Later")).unwrap();
        let validities = |mailbox: &str| opened(&*there, mailbox).uid_validity();
        let work = work(*format);
        assert!(validities("Later") > validities(work.as_str()).max(validities("Empty")));
    }
}

#[test]
fn a_second_run_brings_what_is_new_and_nothing_else() {
    for format in FORMATS {
        let (source, there) = (on_disk(Format::Sdbox), on_disk(*format));
        fill(&*source, 20);
        let mut journal = Journal::in_memory();
        run(&*source, &*there, &mut journal);
        let again = run(&*source, &*there, &mut journal);
        assert!(again.mailboxes.iter().all(|one| one.action == Action::Unchanged), "{again:?}");
        assert_eq!((again.progress.added, again.progress.kept), (0, again.progress.size));

        append(&*opened(&*source, "INBOX"), [700, 701]);
        flag(&*opened(&*source, "Work"), set([4, 5, 6]), "again");
        expunge(&*opened(&*source, "Work/Projects"), set([2, 7, 8]));
        source.create(&name("New/below")).unwrap();
        append(&*opened(&*source, "New/below"), [710]);
        source.unsubscribe(&name("Work")).unwrap();
        source.subscribe(&name("New/below")).unwrap();
        let dry = ConvertOptions { dry_run: true, ..ConvertOptions::default() };
        let planned = run_with(&*source, &*there, &mut journal, &dry);
        let news = run(&*source, &*there, &mut journal);
        assert_eq!(planned.mailboxes, news.mailboxes);
        let counts = |summary: &ConvertSummary| {
            let progress = summary.progress;
            (progress.added, progress.flags, progress.expunged, progress.failed)
        };
        assert_eq!((counts(&news), counts(&planned)), ((3, 3, 3, 0), (3, 3, 3, 0)));
        assert_same(&*source, &*there);
        let subscribed = |storage: &dyn MailStorage| storage.subscriptions().unwrap();
        assert_eq!(subscribed(&*there), subscribed(&*source));
    }
}

fn names_there(storage: &dyn MailStorage) -> BTreeSet<MailboxName> {
    let infos = storage.list(&ListPattern::all()).unwrap().into_iter();
    infos.filter(|info| info.selectable).map(|info| info.name).collect()
}

/// What the mailboxes of the source are called in the destination.
fn names_told(summary: &ConvertSummary) -> BTreeSet<MailboxName> {
    let there = summary.mailboxes.iter().filter(|one| one.action != Action::Deleted);
    there.map(|one| one.destination.clone()).collect()
}

#[test]
fn what_was_renamed_deleted_and_made_again_follows() {
    for format in FORMATS {
        let (source, there) = (on_disk(Format::Sdbox), on_disk(*format));
        fill(&*source, 12);
        let mut journal = Journal::in_memory();
        run(&*source, &*there, &mut journal);
        // With what lies below it, to a place of another, which goes too.
        source.rename(&name("Work"), &name("Job")).unwrap();
        source.rename(&name("Überblick & Co"), &name("Work")).unwrap();
        source.delete(&name("Empty")).unwrap();
        let summary = run(&*source, &*there, &mut journal);
        assert_eq!((summary.progress.added, summary.progress.failed), (0, 0), "{format}: {summary:?}");
        assert_same(&*source, &*there);
        assert_eq!(names_there(&*there), names_told(&summary), "{format}");
        // Two change places, and one is another of the same name.
        source.rename(&name("Job"), &name("x")).unwrap();
        source.rename(&name("Work"), &name("Job")).unwrap();
        source.rename(&name("x"), &name("Work")).unwrap();
        source.delete(&name("Work/Projects")).unwrap();
        source.create(&name("Work/Projects")).unwrap();
        append(&*opened(&*source, "Work/Projects"), [1, 2]);
        let summary = run(&*source, &*there, &mut journal);
        assert_eq!((summary.progress.added, summary.progress.failed), (2, 0), "{format}: {summary:?}");
        assert_same(&*source, &*there);
        assert_eq!(names_there(&*there), names_told(&summary), "{format}");
    }
}

#[test]
fn what_others_changed_in_the_destination_stays_unless_told() {
    for format in FORMATS {
        let (source, there) = (memory(), on_disk(*format));
        fill(&*source, 12);
        let mut journal = Journal::in_memory();
        run(&*source, &*there, &mut journal);
        append(&*opened(&*there, "INBOX"), [800]);
        flag(&*there.mailbox(&work(*format)).unwrap(), set([3]), "theirs");
        append(&*opened(&*source, "INBOX"), [801]);
        append(&*opened(&*source, "Work"), [802]);
        append(&*opened(&*source, "Empty"), [803]);
        let before = opened(&*there, "INBOX").status().unwrap();
        let summary = run(&*source, &*there, &mut journal);
        assert_eq!(conflicts(&summary), ["INBOX", "Work"]);
        assert_eq!((summary.progress.added, opened(&*there, "INBOX").status().unwrap()), (1, before));
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        let summary = run_with(&*source, &*there, &mut journal, &overwrite);
        assert!(summary.failures.is_empty());
        assert_same(&*source, &*there);
        // And a mailbox that the source has no more, but somebody uses.
        append(&*opened(&*there, "Empty"), [804]);
        source.delete(&name("Empty")).unwrap();
        assert_eq!(conflicts(&run(&*source, &*there, &mut journal)), ["Empty"]);
        assert!(there.mailbox(&name("Empty")).is_ok());
    }
}

#[test]
fn a_mailbox_of_another_origin_is_not_touched() {
    for format in FORMATS {
        let (source, there) = (memory(), on_disk(*format));
        fill(&*source, 8);
        let work = work(*format);
        there.create(&work).unwrap();
        append(&*there.mailbox(&work).unwrap(), [1]);
        let summary = run(&*source, &*there, &mut Journal::in_memory());
        assert_eq!(conflicts(&summary), ["Work"]);
        assert_eq!(there.mailbox(&work).unwrap().status().unwrap().messages, 1);
        // Without the journal nothing is known of who changed what, and what is equal is equal.
        let summary = run(&*source, &*there, &mut Journal::in_memory());
        assert_eq!(conflicts(&summary), ["Work"]);
        flag(&*opened(&*there, "INBOX"), set([3]), "theirs");
        let summary = run(&*source, &*there, &mut Journal::in_memory());
        assert_eq!(conflicts(&summary), ["INBOX", "Work"]);
    }
}

#[test]
fn only_what_is_asked_for_and_nothing_in_a_dry_run() {
    let (source, there) = (memory(), on_disk(FLAT));
    fill(&*source, 10);
    let dry = ConvertOptions { dry_run: true, ..ConvertOptions::default() };
    let planned = run_with(&*source, &*there, &mut Journal::in_memory(), &dry);
    assert_eq!(planned.progress.added, planned.progress.size);
    assert_eq!(there.list(&ListPattern::all()).unwrap().len(), 1);
    assert_eq!(there.subscriptions().unwrap(), []);
    let work = ConvertOptions { mailboxes: ListPattern::new("Work*").unwrap(), ..ConvertOptions::default() };
    let summary = run_with(&*source, &*there, &mut Journal::in_memory(), &work);
    let created = |name: &str| (name.to_owned(), Action::Created);
    assert_eq!(actions(&summary), [created("Work"), created("Work/Projects")]);
    assert_eq!(there.list(&ListPattern::all()).unwrap().len(), 3);
}

#[test]
fn names_that_do_not_fit_are_told() {
    let (source, there) = (memory(), on_disk(FLAT));
    for mailbox in ["v1.2", "v1_2", "v1.2/a.b"] {
        source.create(&name(mailbox)).unwrap();
        append(&*opened(&*source, mailbox), [1]);
        source.subscribe(&name(mailbox)).unwrap();
    }
    let mut journal = Journal::in_memory();
    let summary = run(&*source, &*there, &mut journal);
    let named = |source: &str, destination: &str| Loss::Name { source: name(source), destination: name(destination) };
    assert_eq!(summary.losses, [named("v1.2", "v1_2-2"), named("v1.2/a.b", "v1_2-2/a_b")]);
    assert_same(&*source, &*there);
    assert_eq!(there.subscriptions().unwrap(), ["v1_2-2", "v1_2", "v1_2-2/a_b"].map(name));
    let again = run(&*source, &*there, &mut journal);
    assert!(again.mailboxes.iter().all(|one| one.action == Action::Unchanged));
}

#[test]
fn file_names_become_pop3_ids_where_that_is_asked_for() {
    let (source, there) = (on_disk(FLAT), on_disk(Format::Sdbox));
    append(&*opened(&*source, "INBOX"), [1, 5]);
    let options = ConvertOptions { file_names_as_uidls: true, ..ConvertOptions::default() };
    run_with(&*source, &*there, &mut Journal::in_memory(), &options);
    let view = |storage: &dyn MailStorage| opened(storage, "INBOX").view(&ViewAs::default()).unwrap();
    let (ours, theirs) = (view(&*source), view(&*there));
    let uids: Vec<_> = ours.uids().iter().collect();
    let file = ours.file_identity(uids[0]).unwrap().name;
    assert_eq!(theirs.saved_uidl(uids[0]).unwrap(), Some(file));
    assert_eq!(theirs.saved_uidl(uids[1]).unwrap(), Some(b"old-5".to_vec()));
    assert_eq!(theirs.saved_pop3_order(uids[1]).unwrap(), Some(9995));
}

#[test]
fn a_message_that_cannot_be_read_costs_no_other() {
    let fs = SimDisk::new().as_file_system();
    let source = store(&env(&fs), Path::new("/mail"), Format::Sdbox);
    append(&*opened(&*source, "INBOX"), 1..=6);
    let uids: Vec<_> = opened(&*source, "INBOX").view(&ViewAs::default()).unwrap().uids().iter().collect();
    fs.unlink(&Path::new("/mail/mailboxes/INBOX/dbox-Mails").join(format!("u.{}", uids[2]))).unwrap();
    for format in FORMATS {
        let (there, mut journal) = (on_disk(*format), Journal::in_memory());
        for run_number in 0..3 {
            if run_number == 2 {
                append(&*opened(&*source, "INBOX"), [40 + u32::from(*format == FLAT)]);
            }
            let summary = run(&*source, &*there, &mut journal);
            let failed: Vec<_> = summary.failures.iter().map(|failure| failure.uid).collect();
            assert_eq!(failed, [Some(uids[2])], "{format} {run_number}");
        }
        let view = opened(&*there, "INBOX").view(&ViewAs::default()).unwrap();
        assert!(!view.uids().contains(uids[2]) && view.uids().contains(uids[4]));
        let mut bytes = vec![0; 5000];
        let len = view.body(uids[4]).unwrap().read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        assert_eq!(bytes[..len], message(5));
        assert!(!differences(&*source, &*there).is_empty());
    }
}
