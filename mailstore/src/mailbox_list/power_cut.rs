//! Changes of the list, each layout with its files together and apart, through a power cut during every call and the
//! failure of every call: a name has a whole mailbox or none, no mailbox is lost but by deleting it, none gets another's
//! control or index files, and giving the command again finishes it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{
    FileSystem, FileSystemExt, OpenMode,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::{
    engine::{Background, Env, EnvOptions, MessageStore, StoreError},
    state::State,
};
use mailtypes::{MailboxName, UidSet};

use super::{
    Format, Layout, Listed, MailboxDirs, RecoveredMailbox, Rights, Shape, Subscriptions,
    change::{create, delete, rename},
    recover,
    walk::walk,
};
use crate::{
    indexed::IndexedMailbox,
    traits::{MailboxIdentity, OnlyIf, Result, StorageError},
};

/// A mailbox of it has its name of birth in each of its folders.
#[derive(Debug)]
struct Stub {
    env: Env,
    layout: Layout,
    subscriptions: Subscriptions,
    birth: String,
}

const ID: &str = "dovecot-uidlist";
const DELETED: &str = "dovecot.index.deleted";

fn write(fs: &dyn FileSystem, path: &Path, data: &[u8]) -> mailfs::Result<()> {
    let file = fs.open(path, OpenMode::CreateNew { mode: 0o600 })?;
    file.write_at(data, 0)?;
    file.sync_data()
}

impl Stub {
    fn new(fs: &Arc<dyn FileSystem>, shape: Shape, apart: bool, birth: &str) -> Self {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let below = |path: &'static str| apart.then_some(Path::new(path));
        let layout = Layout::shaped(shape, Path::new("/mail"), below("/control"), below("/index"));
        let subscriptions = Subscriptions::new(fs, &layout);
        Self { env: Env::new(Arc::clone(fs), options), layout, subscriptions, birth: birth.to_owned() }
    }

    fn id(&self, dir: &Path) -> Option<String> {
        let bytes = self.env.fs().read_all(&dir.join(ID), 99).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Format for Stub {
    fn env(&self) -> &Env {
        &self.env
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    fn open(&self, name: &MailboxName, _: &MailboxDirs) -> Result<IndexedMailbox> {
        Err(StorageError::NotFound(name.clone()))
    }

    fn message_store(&self, _: &MailboxDirs) -> Arc<dyn MessageStore> {
        Arc::new(NoMail)
    }

    fn make(&self, dirs: &MailboxDirs, rights: Rights, _: Option<&MailboxIdentity>) -> Result<()> {
        let fs = &**self.env.fs();
        if self.layout.shape() != Shape::Dbox {
            for name in ["tmp", "new", "cur"] {
                rights.create_dir(fs, &dirs.mail.join(name))?;
            }
        }
        for dir in dirs.beside_mail().chain([&*dirs.mail]) {
            write(fs, &dir.join(ID), self.birth.as_bytes())?;
            fs.sync_dir(dir)?;
        }
        Ok(())
    }

    fn is_deleted(&self, dirs: &MailboxDirs) -> Result<bool> {
        Ok(self.env.fs().exists(&dirs.index.join(DELETED))?)
    }

    fn mark_deleted(&self, _: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
        let fs = &**self.env.fs();
        match write(fs, &dirs.index.join(DELETED), b"") {
            Err(e) if !e.is_already_exists() => return Err(e.into()),
            _ => {}
        }
        Ok(fs.sync_dir(&dirs.index)?)
    }

    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
        mailbox.deleted = self.is_deleted(dirs)?;
        Ok(0)
    }
}

/// Nobody opens a mailbox here.
#[derive(Debug)]
struct NoMail;

impl MessageStore for NoMail {
    fn remove(&self, _: &State, _: &UidSet) -> std::result::Result<(), StoreError> {
        Ok(())
    }
}

impl Listed for Stub {
    fn format(&self) -> &dyn Format {
        self
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(&'static str),
    Delete(&'static str),
    Rename(&'static str, &'static str),
}

const SETUP: [Step; 4] = [Step::Create("INBOX"), Step::Create("a/b"), Step::Create("a"), Step::Create("x")];

const STEPS: [Step; 9] = [
    Step::Create("c/d"),
    Step::Create("c"),
    Step::Delete("a"),
    Step::Create("a"),
    Step::Rename("a", "x/y"),
    Step::Create("a"),
    Step::Rename("x/y/b", "e/f"),
    Step::Delete("c/d"),
    Step::Delete("e/f"),
];

/// What is in each of a mailbox's folders: messages, control, index.
type Mailboxes = BTreeMap<String, (Option<String>, [Option<String>; 2])>;

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    apart: bool,
}

impl Case {
    fn stub(self, fs: &Arc<dyn FileSystem>, birth: &str) -> Stub {
        Stub::new(fs, self.shape, self.apart, birth)
    }

    fn run(self, fs: &Arc<dyn FileSystem>, number: usize, step: Step) -> Result<()> {
        let name = |name| MailboxName::new(name).unwrap();
        let stub = self.stub(fs, &format!("born {number}"));
        match step {
            Step::Create(mailbox) => create(&stub, &name(mailbox)),
            Step::Delete(mailbox) => delete(&stub, &name(mailbox), OnlyIf::Anything),
            Step::Rename(from, to) => rename(&stub, &stub, &name(from), &name(to)),
        }
    }

    fn prepare(self, disk: &SimDisk) {
        let fs = disk.as_file_system();
        for root in ["/mail", "/control", "/index", "/mail/mailboxes"] {
            fs.create_dir(Path::new(root), 0o700).unwrap();
        }
        for (number, step) in SETUP.into_iter().enumerate() {
            self.run(&fs, 100 + number, step).unwrap();
        }
    }

    fn show(self, fs: &Arc<dyn FileSystem>) -> Mailboxes {
        let stub = self.stub(fs, "");
        let mut mailboxes = BTreeMap::new();
        for found in walk(&**fs, &stub.layout).unwrap().into_iter().filter(|found| found.selectable) {
            let dirs = stub.layout.dirs(&found.name).unwrap();
            let ids = [&dirs.mail, &dirs.control, &dirs.index].map(|dir: &PathBuf| stub.id(dir));
            let [mail, control, index] = ids;
            mailboxes.insert(found.name.to_string(), (mail, [control, index]));
        }
        mailboxes
    }

    fn expected(self) -> Vec<Mailboxes> {
        let disk = SimDisk::new();
        self.prepare(&disk);
        let fs = disk.as_file_system();
        let mut shown = vec![self.show(&fs)];
        for (number, step) in STEPS.into_iter().enumerate() {
            self.run(&fs, number, step).unwrap();
            shown.push(self.show(&fs));
        }
        shown
    }

    fn work(self, fs: &Arc<dyn FileSystem>, acks: &Acks<usize>) -> std::result::Result<(), BoxError> {
        for (number, step) in STEPS.into_iter().enumerate() {
            self.run(fs, number, step)?;
            acks.push(number + 1);
        }
        Ok(())
    }

    fn check(self, disk: &SimDisk, acks: &[usize], expected: &[Mailboxes]) -> std::result::Result<(), BoxError> {
        let (fs, done) = (disk.as_file_system(), acks.last().copied().unwrap_or(0));
        recover(&self.stub(&fs, ""))?;
        let shown = self.show(&fs);
        let next = expected.get(done + 1).unwrap_or(&expected[done]);
        for (name, (mail, beside)) in &shown {
            let strange = beside.iter().flatten().find(|id| Some(*id) != mail.as_ref());
            let complete = beside.iter().all(Option::is_some);
            if mail.is_none() || strange.is_some() || !complete && !self.apart {
                return Err(format!("{name} after step {done}: {mail:?} with {beside:?}").into());
            }
        }
        let births = |list: &Mailboxes| {
            let mut births: Vec<_> = list.values().map(|(mail, _)| mail.clone()).collect();
            births.sort();
            births
        };
        if ![births(&expected[done]), births(next)].contains(&births(&shown)) {
            return Err(format!("after step {done}: {shown:?}, not {:?} or {next:?}", expected[done]).into());
        }
        // A second time, which fails if the first had come to its end.
        if let Some(step) = STEPS.get(done) {
            match self.run(&fs, done, *step) {
                Ok(()) | Err(StorageError::NotFound(_) | StorageError::AlreadyExists(_)) => {}
                // It is a level by now.
                Err(StorageError::NotPossible(_)) => {}
                Err(e) => return Err(format!("{step:?} again: {e}").into()),
            }
        }
        let after = self.show(&fs);
        let born = |list: &Mailboxes| list.iter().map(|(n, m)| (n.clone(), m.0.clone())).collect::<Vec<_>>();
        if born(&after) == born(next) { Ok(()) } else { Err(format!("again: {after:?}, not {next:?}").into()) }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let shapes = [Shape::Dbox, Shape::MaildirPlusPlus, Shape::MaildirFs];
    shapes.into_iter().flat_map(|shape| [false, true].map(|apart| Case { shape, apart }))
}

#[test]
fn every_power_cut() {
    for case in cases() {
        let expected = case.expected();
        let runner = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() };
        let report = runner.run(
            |disk| case.prepare(disk),
            |fs, acks: &Acks<usize>| case.work(&fs, acks),
            |disk, acks| case.check(disk, acks, &expected),
        );
        assert!(report.is_sound(), "{case:?}: {report}");
    }
}

#[test]
fn every_failing_call() {
    for case in cases() {
        let expected = case.expected();
        let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
        let report = runner.run(
            |disk| case.prepare(disk),
            |fs, acks: &Acks<usize>| case.work(&fs, acks),
            |disk, acks| case.check(disk, acks, &expected),
        );
        assert!(report.is_sound(), "{case:?}: {report}");
    }
}
