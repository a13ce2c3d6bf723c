//! A conversion through a power cut during every call and the failure of every call: run again it ends, and the destination
//! shows what the source shows.

use std::{path::Path, sync::Arc};

use crate::converted::{FORMATS, append, differences, env, expunge, flag, memory, name, opened, reopened, set};
use mailfs::{
    FileSystem,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailstore::{
    Format, MailStorage, StoreOptions,
    convert::{ConvertOptions, Journal, convert},
    create_storage, recover_storage,
};

const ROOT: &str = "/mail";

/// A few messages in two mailboxes, with what a conversion must not lose.
fn source() -> Arc<dyn MailStorage> {
    let source = memory();
    source.create(&name("a/b")).unwrap();
    append(&*opened(&*source, "INBOX"), 1..=4);
    append(&*opened(&*source, "a/b"), 5..=7);
    flag(&*opened(&*source, "INBOX"), set([2]), "kw");
    expunge(&*opened(&*source, "INBOX"), set([1, 4]));
    source.subscribe(&name("a/b")).unwrap();
    source
}

/// What comes later.
fn grow(source: &dyn MailStorage) {
    append(&*opened(source, "INBOX"), [8]);
    flag(&*opened(source, "a/b"), set([1]), "later");
    expunge(&*opened(source, "a/b"), set([2]));
    source.rename(&name("a"), &name("c")).unwrap();
}

fn converted(fs: &Arc<dyn FileSystem>, source: &dyn MailStorage, format: Format) -> Result<(), BoxError> {
    let env = env(fs);
    let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
    let destination = create_storage(&env, Path::new(ROOT), &options)?;
    let mut journal = Journal::open(fs, Journal::place(Path::new(ROOT), format))?;
    let summary = convert(source, &*destination, &mut journal, &ConvertOptions::default(), &mut |_| {})?;
    match summary.failures.first() {
        Some(failure) => Err(failure.to_string().into()),
        None => Ok(()),
    }
}

/// Recovered and run again, it must end, and nothing may differ.
fn check(disk: &SimDisk, source: &dyn MailStorage, format: Format) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
    if fs.metadata(Path::new(ROOT))?.is_some() {
        // Nothing may be there yet.
        let _ = recover_storage(&env(&fs), Path::new(ROOT), &options);
    }
    converted(&fs, source, format)?;
    let destination = reopened(&env(&fs), Path::new(ROOT), format)?;
    let differences = differences(source, &*destination);
    if differences.is_empty() { Ok(()) } else { Err(format!("{differences:?}").into()) }
}

/// A first conversion (`again` false), or one of what came since.
fn prepare(disk: &SimDisk, source: &dyn MailStorage, format: Format, again: bool) {
    disk.as_file_system().create_dir(Path::new("/other"), 0o700).unwrap();
    if again {
        converted(&disk.as_file_system(), source, format).unwrap();
        grow(source);
    }
}

#[test]
fn every_power_cut() {
    let mut broken = Vec::new();
    for format in FORMATS {
        for again in [false, true] {
            let source = source();
            let runner = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() };
            let report = runner.run(
                |disk| prepare(disk, &*source, *format, again),
                |fs, _: &Acks<()>| converted(&fs, &*source, *format),
                |disk, _| check(disk, &*source, *format),
            );
            println!("crash run, to {format}, again {again}: {report}");
            if !report.is_sound() {
                broken.push(format!("{format}, again {again}: {report}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_failing_call() {
    let mut broken = Vec::new();
    for format in FORMATS {
        for again in [false, true] {
            let source = source();
            let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
            let report = runner.run(
                |disk| prepare(disk, &*source, *format, again),
                |fs, _: &Acks<()>| converted(&fs, &*source, *format),
                |disk, _| check(disk, &*source, *format),
            );
            println!("fault run, to {format}, again {again}: {report}");
            if !report.is_sound() {
                broken.push(format!("{format}, again {again}: {report}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
