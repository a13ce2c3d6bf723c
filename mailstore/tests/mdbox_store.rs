//! What an mdbox leaves on disk: where bodies lie, how often they are referred to, and what is said when that is lost.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::{
    engine::{Background, Env, EnvOptions, MailboxIndex, MessageStore, StoreError},
    log::{Origin, Transaction},
    state::{ExtensionSpec, State},
};
use mailstore::{
    Batch, MailStorage, Mailbox, SaveMeta, Section, ViewAs,
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::{Flags, MailboxName, Uid, UidSet};

const ROOT: &str = "/mail";

/// A stored message: file, offset, size, references.
type Stored = (u32, u32, u32, u16);

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

fn store(fs: &Arc<dyn FileSystem>, rotate_size: u64) -> MdboxStorage {
    let options = MdboxOptions { rotate_size, ..MdboxOptions::default() };
    MdboxStorage::create(&env(fs), Path::new(ROOT), options).unwrap()
}

fn mailbox(store: &MdboxStorage, name: &str) -> Arc<dyn Mailbox> {
    store.mailbox(&MailboxName::new(name).unwrap()).unwrap()
}

fn text(number: usize, len: usize) -> Vec<u8> {
    let mut text = format!("Subject: message {number}\r\n\r\n").into_bytes();
    while text.len() < len {
        text.extend(format!("line {} of message {number}\r\n", text.len()).into_bytes());
    }
    text
}

fn append(mailbox: &Arc<dyn Mailbox>, texts: &[Vec<u8>]) -> mailstore::Result<()> {
    let mut batch = Batch::new();
    for text in texts {
        let mut save = mailbox.begin_save(SaveMeta::default(), None)?;
        save.write(text)?;
        batch = batch.save(save.finish()?, Flags::NONE, Vec::new());
    }
    mailbox.submit(batch)?.wait().map(|_| ())
}

fn copy(from: &Arc<dyn Mailbox>, to: &Arc<dyn Mailbox>) {
    let uids = from.view(&ViewAs::default()).unwrap().uids();
    to.submit(Batch::new().copy(Arc::clone(from), uids)).unwrap().wait().unwrap();
}

fn body(mailbox: &Arc<dyn Mailbox>, uid: Uid) -> mailstore::Result<Vec<u8>> {
    let mut body = mailbox.view(&ViewAs::default()).unwrap().body(uid)?;
    let mut bytes = vec![0; body.size() as usize];
    let len = body.read_at(Section::WHOLE, 0, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

struct Bodies;

impl MessageStore for Bodies {
    fn remove(&self, _: &State, _: &UidSet) -> Result<(), StoreError> {
        Ok(())
    }
}

fn map(fs: &Arc<dyn FileSystem>) -> Arc<MailboxIndex> {
    let dir = Path::new(ROOT).join("storage");
    MailboxIndex::open(&env(fs), &dir, "dovecot.map.index", Arc::new(Bodies)).unwrap()
}

fn stored(fs: &Arc<dyn FileSystem>) -> Vec<Stored> {
    let state = map(fs).state();
    let field = |spec: ExtensionSpec| state.extension_index(spec.name).unwrap();
    let (place, refs) = (field(ExtensionSpec::MAP), field(ExtensionSpec::REF));
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let records = state.records_from(0).map(|record| {
        let place = record.field(place);
        let refs = u16::from_le_bytes(record.field(refs).try_into().unwrap());
        (number(place, 0), number(place, 4), number(place, 8), refs)
    });
    records.collect()
}

fn references(fs: &Arc<dyn FileSystem>) -> Vec<u16> {
    stored(fs).into_iter().map(|(.., refs)| refs).collect()
}

fn count(fs: &Arc<dyn FileSystem>, uid: u32, diff: i32) {
    let index = map(fs);
    let mut locked = index.lock_exclusively(Duration::ZERO, true).unwrap();
    let mut transaction = Transaction::new();
    transaction.ext_increment(&ExtensionSpec::REF, Uid::new(uid).unwrap(), diff, Origin::Internal);
    transaction.move_tail();
    locked.append(&transaction).unwrap();
    locked.sync().unwrap();
    locked.publish();
}

#[test]
fn copies_are_references_and_copy_no_body() {
    let fs = SimDisk::new().as_file_system();
    let storage = store(&fs, MdboxOptions::ROTATE_SIZE);
    let (inbox, name) = (mailbox(&storage, "INBOX"), MailboxName::new("copies").unwrap());
    storage.create(&name).unwrap();
    append(&inbox, &[text(1, 0), text(2, 500), text(3, 0)]).unwrap();
    let len = || fs.metadata(&Path::new(ROOT).join("storage/m.1")).unwrap().unwrap().len;
    let before = len();
    let copies = mailbox(&storage, "copies");
    copy(&inbox, &copies);
    copy(&inbox, &copies);
    assert_eq!((references(&fs), len()), (vec![3, 3, 3], before));
    inbox.submit(Batch::new().expunge(inbox.view(&ViewAs::default()).unwrap().uids())).unwrap().wait().unwrap();
    assert_eq!(references(&fs), [2, 2, 2]);
    assert_eq!(body(&copies, Uid::new(5).unwrap()).unwrap(), text(2, 500));
    drop(copies);
    storage.delete(&name).unwrap();
    assert_eq!((references(&fs), len()), (vec![0, 0, 0], before));
}

#[test]
fn files_are_tiled_by_messages_and_end_at_their_size() {
    let fs = SimDisk::new().as_file_system();
    let storage = store(&fs, 4000);
    let inbox = mailbox(&storage, "INBOX");
    // Larger ones become files of their own; that of 100,000 bytes does not fit into memory either.
    let lens = [300, 300, 1500, 300, 100_000, 700, 700, 700, 700, 300, 300];
    let texts: Vec<_> = lens.iter().enumerate().map(|(number, len)| text(number, *len)).collect();
    append(&inbox, &texts[..5]).unwrap();
    texts[5..].iter().for_each(|text| append(&inbox, std::slice::from_ref(text)).unwrap());
    let mut files: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    for (file, offset, len, refs) in stored(&fs) {
        assert_eq!(refs, 1);
        files.entry(file).or_default().push((offset, len));
    }
    assert_eq!(files.len(), 3, "{files:?}");
    for (file, messages) in &mut files {
        messages.sort_unstable();
        let path = Path::new(ROOT).join(format!("storage/m.{file}"));
        let bytes = fs.read_all(&path, 1 << 20).unwrap();
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = messages.iter().fold(header as u32, |at, (offset, len)| {
            assert_eq!(*offset, at, "m.{file}");
            at + len
        });
        assert_eq!(bytes.len() as u32, end, "m.{file}");
        assert!(messages.len() == 1 || end <= 4000, "m.{file}: {end}");
    }
    for (number, text) in texts.iter().enumerate() {
        assert_eq!(body(&inbox, Uid::new(number as u32 + 1).unwrap()).unwrap(), *text);
    }
}

#[test]
fn a_body_with_all_references_that_can_be_is_stored_again() {
    let fs = SimDisk::new().as_file_system();
    let inbox = mailbox(&store(&fs, MdboxOptions::ROTATE_SIZE), "INBOX");
    append(&inbox, &[text(1, 100)]).unwrap();
    count(&fs, 1, 32_766);
    let inbox = mailbox(&store(&fs, MdboxOptions::ROTATE_SIZE), "INBOX");
    copy(&inbox, &inbox);
    assert_eq!(references(&fs), [32_768]);
    let one = [Uid::MIN].into_iter().collect();
    inbox.submit(Batch::new().copy(Arc::clone(&inbox), one)).unwrap().wait().unwrap();
    assert_eq!(references(&fs), [32_768, 1]);
    assert_eq!(body(&inbox, Uid::new(3).unwrap()).unwrap(), text(1, 100));
}

#[test]
fn counts_that_are_wrong_are_put_right() {
    let fs = SimDisk::new().as_file_system();
    append(&mailbox(&store(&fs, MdboxOptions::ROTATE_SIZE), "INBOX"), &[text(1, 0), text(2, 0), text(3, 0)]).unwrap();
    count(&fs, 1, -1);
    count(&fs, 3, 4);
    let storage = store(&fs, MdboxOptions::ROTATE_SIZE);
    storage.recover().unwrap();
    assert_eq!(references(&fs), [1, 1, 1]);
    // What nobody refers to may be all that is left of a mailbox.
    let inbox = mailbox(&storage, "INBOX");
    inbox.submit(Batch::new().expunge([Uid::MIN].into_iter().collect())).unwrap().wait().unwrap();
    drop((inbox, storage));
    count(&fs, 1, 1);
    store(&fs, MdboxOptions::ROTATE_SIZE).recover().unwrap();
    assert_eq!(references(&fs), [1, 1, 1]);
}

#[test]
fn a_lost_map_is_read_around_and_costs_no_message() {
    let disk = SimDisk::new();
    let fs = disk.as_file_system();
    append(&mailbox(&store(&fs, MdboxOptions::ROTATE_SIZE), "INBOX"), &[text(1, 0)]).unwrap();
    let folder = Path::new(ROOT).join("storage");
    let before = fs.read_all(&folder.join("m.1"), 1 << 20).unwrap();
    fs.unlink(&folder.join("dovecot.map.index.log")).unwrap();
    // A session for reading alone reads around it, and changes nothing.
    let readers = EnvOptions { background: Background::Manual, read_only: true, ..EnvOptions::default() };
    let readers = Env::new(Arc::clone(&fs), readers);
    let opened = MdboxStorage::open(&readers, Path::new(ROOT), MdboxOptions::default()).unwrap();
    assert_eq!(body(&mailbox(&opened, "INBOX"), Uid::MIN).unwrap(), text(1, 0));
    assert!(!fs.exists(&folder.join("dovecot.map.index.log")).unwrap());
    drop((opened, readers));
    // Any other rebuilds it.
    let opened = MdboxStorage::open(&env(&fs), Path::new(ROOT), MdboxOptions::default()).unwrap();
    assert_eq!(body(&mailbox(&opened, "INBOX"), Uid::MIN).unwrap(), text(1, 0));
    append(&mailbox(&opened, "INBOX"), &[text(2, 0)]).unwrap();
    assert_eq!(fs.read_all(&folder.join("m.1"), 1 << 20).unwrap()[..before.len()], before);
    assert_eq!(references(&fs), [1, 1]);
}
