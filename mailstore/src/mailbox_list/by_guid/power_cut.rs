//! Changes of a list whose names are in the list index, through a power cut during every call and the failure of every
//! call; and a list that is lost.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use mailfs::{
    FileSystem, RealDisk,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::engine::{Background, Env, EnvOptions};
use mailtypes::MailboxName;

use crate::{
    mailbox_list::{ListLayout, ListOptions},
    sdbox::{SdboxOptions, SdboxStorage},
    store::{Append, Store},
    traits::{ListPattern, MailStorage, Result, StorageError},
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(&'static str),
    Delete(&'static str),
    Rename(&'static str, &'static str),
}

/// Mailboxes that are there, each with another number of messages.
const SETUP: [&str; 4] = ["a/b", "a", "x", "z"];

const STEPS: [Step; 8] = [
    Step::Create("c/d"),
    Step::Create("c"),
    Step::Rename("a", "x/y"),
    Step::Create("a"),
    Step::Rename("x/y/b", "e/f"),
    Step::Delete("x"),
    Step::Delete("c/d"),
    Step::Delete("z"),
];

/// How many messages a mailbox has; `None`: it is a level.
type Mailboxes = BTreeMap<String, Option<u32>>;

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn storage(fs: &Arc<dyn FileSystem>, root: &Path) -> Result<SdboxStorage> {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    let env = Env::new(Arc::clone(fs), options);
    SdboxStorage::create(&env, root, SdboxOptions { list, ..SdboxOptions::default() })
}

fn fill(fs: &Arc<dyn FileSystem>, root: &Path) {
    let storage = storage(fs, root).unwrap();
    let store = Store::of(Arc::new(storage));
    for (number, mailbox) in SETUP.into_iter().enumerate() {
        store.create_mailbox(mailbox).unwrap();
        for _ in 0..=number {
            store.mailbox(mailbox).unwrap().append(Append::new(b"Subject: x\r\n\r\nx\r\n")).unwrap();
        }
    }
}

fn run(storage: &SdboxStorage, step: Step) -> Result<()> {
    match step {
        Step::Create(mailbox) => storage.create(&name(mailbox)),
        Step::Delete(mailbox) => storage.delete(&name(mailbox)),
        Step::Rename(from, to) => storage.rename(&name(from), &name(to)),
    }
}

fn show(storage: &SdboxStorage) -> Result<Mailboxes> {
    let mut shown = Mailboxes::new();
    for info in storage.list(&ListPattern::all())? {
        let messages = match info.selectable {
            true => Some(storage.mailbox(&info.name)?.status()?.messages),
            false => None,
        };
        shown.insert(info.name.to_string(), messages);
    }
    Ok(shown)
}

const ROOT: &str = "/mail";

fn expected() -> Vec<Mailboxes> {
    let disk = SimDisk::new();
    let fs = disk.as_file_system();
    fill(&fs, Path::new(ROOT));
    let storage = storage(&fs, Path::new(ROOT)).unwrap();
    let mut shown = vec![show(&storage).unwrap()];
    for step in STEPS {
        run(&storage, step).unwrap();
        shown.push(show(&storage).unwrap());
    }
    shown
}

fn work(fs: &Arc<dyn FileSystem>, acks: &Acks<usize>) -> std::result::Result<(), BoxError> {
    let storage = storage(fs, Path::new(ROOT))?;
    for (number, step) in STEPS.into_iter().enumerate() {
        run(&storage, step)?;
        acks.push(number + 1);
    }
    Ok(())
}

fn check(disk: &SimDisk, acks: &[usize], expected: &[Mailboxes]) -> std::result::Result<(), BoxError> {
    let (fs, done) = (disk.as_file_system(), acks.last().copied().unwrap_or(0));
    let storage = storage(&fs, Path::new(ROOT))?;
    let report = storage.recover()?;
    if let Some(failed) = report.repaired.iter().find(|mailbox| mailbox.failed.is_some()) {
        return Err(format!("not recovered: {failed:?}").into());
    }
    let shown = show(&storage)?;
    let next = expected.get(done + 1).unwrap_or(&expected[done]);
    if shown != expected[done] && shown != *next {
        return Err(format!("after step {done}: {shown:?}, not {:?} or {next:?}", expected[done]).into());
    }
    if let Some(step) = STEPS.get(done) {
        match run(&storage, *step) {
            Ok(()) | Err(StorageError::NotFound(_) | StorageError::AlreadyExists(_)) => {}
            Err(StorageError::NotPossible(_)) => {}
            Err(e) => return Err(format!("{step:?} again: {e}").into()),
        }
    }
    let after = show(&storage)?;
    if after == *next { Ok(()) } else { Err(format!("again: {after:?}, not {next:?}").into()) }
}

#[test]
fn every_power_cut() {
    let expected = expected();
    let runner = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() };
    let report = runner.run(
        |disk| fill(&disk.as_file_system(), Path::new(ROOT)),
        |fs, acks: &Acks<usize>| work(&fs, acks),
        |disk, acks| check(disk, acks, &expected),
    );
    assert!(report.is_sound(), "{report}");
}

#[test]
fn every_failing_call() {
    let expected = expected();
    let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
    let report = runner.run(
        |disk| fill(&disk.as_file_system(), Path::new(ROOT)),
        |fs, acks: &Acks<usize>| work(&fs, acks),
        |disk, acks| check(disk, acks, &expected),
    );
    assert!(report.is_sound(), "{report}");
}

/// Names come back from the mailboxes' own indexes, and empty levels do not.
#[test]
fn a_list_that_is_lost_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
    fill(&fs, dir.path());
    let before = {
        let storage = storage(&fs, dir.path()).unwrap();
        run(&storage, Step::Rename("a", "q/r")).unwrap();
        show(&storage).unwrap()
    };
    let index = dir.path().join("dovecot.list.index");
    let log = dir.path().join("dovecot.list.index.log");
    let _ = std::fs::remove_file(&index);
    std::fs::remove_file(&log).unwrap();
    assert_eq!(show(&storage(&fs, dir.path()).unwrap()).unwrap(), before);
    // One that is damaged too.
    let _ = std::fs::remove_file(&index);
    std::fs::write(&log, [7; 100]).unwrap();
    assert_eq!(show(&storage(&fs, dir.path()).unwrap()).unwrap(), before);
    // And one that is older than the mailboxes.
    let old = std::fs::read(&log).unwrap();
    run(&storage(&fs, dir.path()).unwrap(), Step::Create("new")).unwrap();
    let _ = std::fs::remove_file(&index);
    std::fs::write(&log, old).unwrap();
    let storage = storage(&fs, dir.path()).unwrap();
    let report = storage.recover().unwrap();
    assert!(report.repaired.iter().any(|mailbox| mailbox.listed && mailbox.name == name("new")), "{report:?}");
    assert_eq!(show(&storage).unwrap().get("new"), Some(&Some(0)));
}
