//! Journals of conversions of any bytes.

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailstore::{
    Batch, MailStorage, MailboxIdentity, OnlyIf, SaveMeta,
    convert::{Action, ConvertOptions, ConvertSummary, Journal, convert, verify},
    memory::MemoryStorage,
};
use mailtypes::{Flags, Guid, MailboxName, UidValidity};

/// The input is a journal beside a destination in which nothing is: whatever it says was done, the whole source comes there,
/// and the journal says afterwards what was done, to whoever reads it next.
pub fn convert_journal(data: &[u8]) {
    let fs: Arc<dyn FileSystem> = Arc::new(SimDisk::new());
    let path = Path::new("/journal");
    fs.write_atomic(path, data, 0o600, false).expect("a disk in memory");
    let Ok(mut journal) = Journal::open(&fs, path.to_owned()) else { return };
    let (source, destination) = (source(), MemoryStorage::default());
    let run = |journal: &mut Journal| -> ConvertSummary {
        convert(&source, &destination, journal, &ConvertOptions::default(), &mut |_| {}).expect("stores in memory")
    };
    let summary = run(&mut journal);
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    let mut read = Journal::open(&fs, path.to_owned()).expect("it was read before");
    let again = run(&mut read);
    assert!(again.mailboxes.iter().all(|one| one.action == Action::Unchanged), "{:?}", again.mailboxes);
    let verified = verify(&source, &destination, &ConvertOptions::default(), &mut |_| {}).expect("stores in memory");
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
}

/// Two mailboxes of known GUIDs, a message in each.
fn source() -> MemoryStorage {
    let storage = MemoryStorage::default();
    for (number, name) in (1..).zip(["INBOX", "a/b"]) {
        let name = MailboxName::new(name).expect("a name");
        let uid_validity = UidValidity::new(u32::from(number)).expect("it is not 0");
        let identity = MailboxIdentity { guid: Guid([number; 16]), uid_validity };
        storage.replace(&name, &identity, OnlyIf::Anything).expect("in memory");
        let mailbox = storage.mailbox(&name).expect("it was made");
        let mut save = mailbox.begin_save(SaveMeta::default(), None).expect("in memory");
        save.write(b"Subject: x\r\n\r\n").expect("in memory");
        let batch = Batch::new().save(save.finish().expect("in memory"), Flags::NONE, Vec::new());
        let _ = mailbox.submit(batch).expect("in memory").wait().expect("in memory");
    }
    storage.subscribe(&MailboxName::new("a/b").expect("a name")).expect("in memory");
    storage
}
