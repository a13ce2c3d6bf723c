//! Looking over an mbox after a crash: a change of the file that was left half done is taken back, and the index's log cut.

use std::sync::Arc;

use mailfs::{FileKind, FileSystemExt, TEMP_PREFIX};
use mailindex::{
    engine::{self, IndexError, MessageStore},
    state::Deletion,
};

use super::{Shared, files::MboxFiles, index};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{MailboxDirs, RecoveredMailbox},
    traits::Result,
};

/// Tells how many files left behind were removed. An index that cannot be read is made anew when the mailbox is opened.
pub(super) fn recover_mailbox(shared: &Arc<Shared>, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
    let fs = &**shared.env.fs();
    if !fs.is_dir(&dirs.index)? {
        return Ok(0);
    }
    let files = MboxFiles::new(shared, dirs);
    let mut is_unfinished = files.undo.is_pending()?;
    match engine::recover(&shared.env, &dirs.index, PREFIX, Arc::clone(&files) as Arc<dyn MessageStore>) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            mailbox.deleted = recovered.state.is_some_and(|state| state.deletion() == Deletion::Done);
        }
        Err(IndexError::Deleted { .. }) => mailbox.deleted = true,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {}
        // An expunge, and the file is not what the index says: it is looked at first.
        Err(IndexError::Store { .. }) => is_unfinished = true,
        Err(e) => return Err(from_index(&mailbox.name, &e)),
    }
    if mailbox.deleted {
        return Ok(0);
    }
    if is_unfinished {
        drop(index::open(shared, &mailbox.name, dirs)?);
    }
    remove_waiting(shared, dirs)
}

/// Messages that waited for their places when a process died.
fn remove_waiting(shared: &Shared, dirs: &MailboxDirs) -> Result<u64> {
    let (fs, mut removed) = (&**shared.env.fs(), 0);
    for entry in fs.read_dir(&dirs.index)? {
        let is_temp = entry.name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
        if is_temp && entry.kind == FileKind::File {
            fs.unlink(&dirs.index.join(&entry.name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mailfs::{FileSystem, FileSystemExt, OpenMode, sim::SimDisk};
    use mailindex::engine::{Background, Env, EnvOptions};
    use mailtypes::{Flag, MailboxName, UidSet};

    use super::super::{MboxOptions, MboxPlaces, MboxStorage, files::MboxFiles, index};
    use crate::{
        Append, Batch, FlagAction, FlagChange, MailStorage, StorageError, Store,
        mailbox_list::{Format, Listed, condemned},
    };

    const FROM: &str = "From a@b Thu Nov 29 22:33:52 2001\n";

    fn open(fs: &Arc<dyn FileSystem>) -> (Env, MboxStorage) {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(Arc::clone(fs), options);
        fs.create_dir_all(Path::new("/mail"), 0o700).unwrap();
        let storage = MboxStorage::create(&env, Path::new("/mail"), &MboxPlaces::default(), MboxOptions::default());
        (env, storage.unwrap())
    }

    fn subjects(storage: &MboxStorage, name: &str) -> Result<Vec<String>, StorageError> {
        let store = Store::of(Arc::new(storage.clone()) as Arc<dyn MailStorage>);
        let mailbox = store.mailbox(name)?;
        let view = mailbox.view()?;
        let first_line = |text: Vec<u8>| String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        let lines: Vec<String> = view.messages().map(|message| first_line(message.unwrap().read().unwrap())).collect();
        Ok(lines)
    }

    fn make(storage: &MboxStorage) -> Result<(), StorageError> {
        Store::of(Arc::new(storage.clone()) as Arc<dyn MailStorage>).create_mailbox("Sent").map(drop)
    }

    /// Whoever deleted the mailbox was stopped before its index was gone; a delivery agent that knows nothing of indexes has
    /// made the file again since. `None`: nobody has; the file is still there.
    fn stopped(new: Option<&str>) -> (Arc<dyn FileSystem>, MboxStorage) {
        let fs = SimDisk::new().as_file_system();
        let name = MailboxName::new("Sent").unwrap();
        {
            let (_env, storage) = open(&fs);
            let store = Store::of(Arc::new(storage.clone()) as Arc<dyn MailStorage>);
            store.create_mailbox("Sent").unwrap();
            store.mailbox("Sent").unwrap().append(Append::new(b"Subject: old\n\nx\n")).unwrap();
            let format: &dyn Format = storage.format();
            let dirs = format.layout().dirs(&name).unwrap();
            condemned::note(&*fs, &dirs).unwrap();
            format.mark_deleted(&name, &dirs).unwrap();
        }
        if let Some(new) = new {
            fs.unlink(Path::new("/mail/Sent")).unwrap();
            fs.write_atomic(Path::new("/mail/Sent"), new.as_bytes(), 0o600, true).unwrap();
        }
        let (_env, storage) = open(&fs);
        (fs, storage)
    }

    #[test]
    fn a_mark_condemns_no_mailbox_that_came_later() {
        let new = format!("{FROM}Subject: new\n\nx\n\n");
        let (_, storage) = stopped(Some(&new));
        assert_eq!(subjects(&storage, "Sent").unwrap(), ["Subject: new"], "opened");
        let (_, storage) = stopped(Some(&new));
        let report = storage.recover().unwrap();
        assert!(report.repaired.iter().all(|mailbox| !mailbox.deleted));
        assert_eq!(subjects(&storage, "Sent").unwrap(), ["Subject: new"], "recovered");
        let (_, storage) = stopped(Some(&new));
        assert!(matches!(make(&storage), Err(StorageError::AlreadyExists(_))));
        assert_eq!(subjects(&storage, "Sent").unwrap(), ["Subject: new"], "created");
    }

    #[test]
    fn what_was_condemned_goes() {
        let (fs, storage) = stopped(None);
        assert!(subjects(&storage, "Sent").is_err());
        assert!(storage.recover().unwrap().repaired.iter().any(|mailbox| mailbox.deleted));
        assert!(!fs.exists(Path::new("/mail/Sent")).unwrap());
        let (fs, storage) = stopped(None);
        make(&storage).unwrap();
        assert_eq!(fs.open(Path::new("/mail/Sent"), OpenMode::Read).unwrap().len().unwrap(), 0);
        assert_eq!(subjects(&storage, "Sent").unwrap(), [""; 0]);
    }

    /// Messages of other programs whose UIDs are not in the file yet are known by their hashes alone.
    #[test]
    fn a_rebuild_keeps_what_only_the_index_knows() {
        let fs = SimDisk::new().as_file_system();
        let (_env, storage) = open(&fs);
        let text = format!("{FROM}Date: 1\n\nx\n\n{FROM}Date: 2\n\nx\n\n{FROM}Date: 3\n\nx\n\n");
        fs.write_atomic(Path::new("/mail/inbox"), text.as_bytes(), 0o600, true).unwrap();
        let (name, format) = (MailboxName::inbox(), storage.format());
        let dirs = format.layout().dirs(&name).unwrap();
        let shown = || {
            let mailbox = format.open(&name, &dirs).unwrap();
            let state = mailbox.indexed().index.state();
            let shown = state.records_from(0).map(|record| (record.uid(), record.flags())).collect::<Vec<_>>();
            (shown, state.next_uid())
        };
        {
            let store = Store::of(Arc::new(storage.clone()) as Arc<dyn MailStorage>);
            let inbox = store.mailbox("INBOX").unwrap();
            inbox.append(Append::new(b"Date: 4\n\nx\n")).unwrap();
            let uids: UidSet = [1, 4].into_iter().filter_map(mailtypes::Uid::new).collect();
            inbox.mailbox().submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
            let (flags, keywords) = (Flag::Answered.into(), Vec::new());
            let uids = std::iter::once(mailtypes::Uid::new(3).unwrap()).collect();
            let change = FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None };
            inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
        }
        let before = shown();
        let uids: Vec<_> = before.0.iter().map(|(uid, flags)| (uid.value(), flags.contains(Flag::Answered))).collect();
        assert_eq!(uids, [(2, false), (3, true)]);
        let mailbox = format.open(&name, &dirs).unwrap();
        let files = mailbox.indexed().index.store().and_then(|store| store.downcast::<MboxFiles>().ok()).unwrap();
        index::rebuild(&name, &files, &UidSet::new()).unwrap();
        drop((mailbox, files));
        let (_env, storage) = open(&fs);
        let mailbox = storage.format().open(&name, &dirs).unwrap();
        let state = mailbox.indexed().index.state();
        let after: Vec<_> = state.records_from(0).map(|record| (record.uid(), record.flags())).collect();
        assert_eq!((after, state.next_uid()), before);
    }
}
