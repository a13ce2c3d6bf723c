//! STATUS of mailboxes that nobody has changed since it was asked for last, without opening them.
//!
//! What a mailbox's index says is told by its log, which only grows: as long as it is the same file and as long, and the
//! folders that anybody may put files into (Maildir's) have the times that they had, the answer is the one that was noted.
//! Dovecot does the same with its list index (`docs/formats/list.md`, "index sync" and "maildir"), in whole seconds. What is
//! found is written there, for Dovecot and for processes to come, with times to the nanosecond beside: those are what is
//! believed here.
//!
//! # Invariants
//!
//! 1. An answer is noted only if log and folders looked the same before and after it was found, the index was read to the
//!    end of that log, and the folders had been at rest for long enough that a later change gives them another time.
//! 2. What is noted is bounded; without it everything is as right, and slower.

use std::time::SystemTime;

use mailfs::FileSystem;
use mailtypes::MailboxName;

use super::{
    Format, MailboxDirs, Shape, by_guid,
    list_index::{Noticed, StatusFiles},
    noted::{Mark, Noted, is_at_rest},
};
use crate::{
    indexed::{PREFIX, indexed_of},
    traits::{MailStorage, Mailbox, Result, Status},
};

/// What tells that a mailbox is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    pub(super) log: Mark,
    /// `new` and `cur`, or an mbox file twice, where there are such.
    pub(super) folders: Option<[Mark; 2]>,
}

impl Stamp {
    /// `None` for what is no mailbox, or none yet.
    fn look(fs: &dyn FileSystem, shape: Shape, dirs: &MailboxDirs) -> Result<Option<Self>> {
        let Some(log) = fs.metadata(&dirs.index.join(format!("{PREFIX}.log")))? else { return Ok(None) };
        let folders = match shape {
            Shape::Dbox => None,
            Shape::MaildirPlusPlus | Shape::MaildirFs => {
                let mark = |name: &str| fs.metadata(&dirs.mail.join(name)).map(|there| there.map(|m| Mark::of(&m)));
                let (Some(new), Some(cur)) = (mark("new")?, mark("cur")?) else { return Ok(None) };
                Some([new, cur])
            }
            Shape::Mbox => {
                let Some(file) = fs.metadata(&dirs.mail)?.map(|there| Mark::of(&there)) else { return Ok(None) };
                Some([file, file])
            }
        };
        Ok(Some(Self { log: Mark::of(&log), folders }))
    }

    fn is_at_rest(&self, now: SystemTime) -> bool {
        self.folders.iter().flatten().all(|folder| is_at_rest(folder.modified, now))
    }
}

/// Counts, and RFC822.SIZE of all messages together if anybody asked for it.
#[derive(Clone, Copy, Debug)]
struct Counts {
    status: Status,
    size: Option<u64>,
}

impl Counts {
    fn of(mailbox: &dyn Mailbox, with_size: bool) -> Result<Self> {
        let status = mailbox.status()?;
        Ok(Self { status, size: with_size.then(|| mailbox.size()).transpose()? })
    }
}

/// What was found last, by the folder of the index.
type Statuses = Noted<Stamp, Counts>;

/// See [`MailStorage::status`].
pub(crate) fn status(storage: &dyn MailStorage, format: &dyn Format, name: &MailboxName) -> Result<Status> {
    Ok(counts(storage, format, name, false)?.status)
}

/// See [`MailStorage::status_and_size`].
pub(crate) fn status_and_size(
    storage: &dyn MailStorage,
    format: &dyn Format,
    name: &MailboxName,
) -> Result<(Status, u64)> {
    let Counts { status, size } = counts(storage, format, name, true)?;
    Ok((status, size.unwrap_or_default()))
}

fn counts(storage: &dyn MailStorage, format: &dyn Format, name: &MailboxName, with_size: bool) -> Result<Counts> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    if layout.private_root().is_some() {
        // What others have read, the list index tells; what this user has, it does not.
        return Counts::of(&*storage.mailbox(name)?, with_size);
    }
    let noted = format.env().companion::<Statuses>();
    let dirs = match layout.is_by_guid() {
        true => by_guid::find(format, name)?,
        false => layout.dirs(name)?,
    };
    let checked = fs.now();
    let before = Stamp::look(fs, layout.shape(), &dirs)?;
    let is_enough = |counts: &Counts| counts.size.is_some() || !with_size;
    if let Some(stamp) = &before
        && let Some(counts) = noted.find(&dirs.index, stamp).filter(is_enough)
    {
        return Ok(counts);
    }
    // What another process found, or this one before it forgot. Values of INBOX, and of the root, stand nowhere.
    let files = format.env().companion::<StatusFiles>();
    let levels =
        if layout.is_inbox(name) || name.is_storage_root() { None } else { Some(layout.written_levels(name)?) };
    if let (Some(stamp), Some(levels)) = (before.as_ref().filter(|stamp| stamp.is_at_rest(checked)), &levels)
        && let Some((status, size)) = files.find(format.env(), layout.index(), levels, stamp)
        && is_enough(&Counts { status, size })
    {
        noted.note(&dirs.index, *stamp, Counts { status, size });
        return Ok(Counts { status, size });
    }
    let mailbox = storage.mailbox(name)?;
    let end = indexed_of(&*mailbox).and_then(|indexed| indexed.index.log_position());
    let counts = Counts::of(&*mailbox, with_size)?;
    if let (Some(stamp), Some(end)) = (before.filter(|stamp| stamp.is_at_rest(checked)), end)
        && u64::from(end.offset) == stamp.log.len
        && indexed_of(&*mailbox).and_then(|indexed| indexed.index.log_position()) == Some(end)
        && Stamp::look(fs, layout.shape(), &dirs)? == Some(stamp)
    {
        noted.note(&dirs.index, stamp, counts);
        // Dovecot counts in whole seconds: what may change again in this one is for another time.
        if let Some(levels) = levels.filter(|_| is_at_rest(stamp.log.modified, checked)) {
            let Counts { status, size } = counts;
            let noticed = Noticed { guid: mailbox.guid(), stamp, status, size };
            files.note(format.env(), layout.index(), levels, noticed);
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, sync::Arc, time::Duration};

    use mailfs::RealDisk;
    use mailindex::engine::{Env, EnvOptions};
    use mailtypes::Flag;

    use super::*;
    use crate::{
        maildir::MaildirLayout,
        store::{Append, Format as StoreFormat, Store, StoreOptions},
    };

    fn env() -> Env {
        Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
    }

    fn store(env: &Env, root: &Path, format: StoreFormat) -> Store {
        let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
        Store::create_in(env, root, &options).unwrap()
    }

    fn name() -> MailboxName {
        MailboxName::new("box").unwrap()
    }

    fn noted_count(env: &Env) -> usize {
        env.companion::<Statuses>().count()
    }

    fn append(store: &Store) {
        let mail = Append::new(b"Subject: x\r\n\r\nx\r\n").flag(Flag::Seen);
        store.mailbox("box").unwrap().append(mail).unwrap();
    }

    fn messages(store: &Store) -> (u32, u32) {
        let status = store.storage().status(&name()).unwrap();
        assert_eq!(status, store.storage().mailbox(&name()).unwrap().status().unwrap());
        (status.messages, status.unseen)
    }

    #[test]
    fn what_others_change_in_the_log_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (env(), env());
        let [ours_store, other] = [&ours, &theirs].map(|env| store(env, dir.path(), StoreFormat::Sdbox));
        ours_store.create_mailbox("box").unwrap();
        assert_eq!((messages(&ours_store), noted_count(&ours)), ((0, 0), 1));
        append(&other);
        assert_eq!(messages(&ours_store), (1, 0));
        append(&ours_store);
        assert_eq!((messages(&ours_store), messages(&other)), ((2, 0), (2, 0)));
        // Another mailbox of the name.
        other.delete_mailbox("box").unwrap();
        ours_store.storage().status(&name()).unwrap_err();
        other.create_mailbox("box").unwrap();
        assert_eq!(messages(&ours_store), (0, 0));
    }

    #[test]
    fn files_that_somebody_adds_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let env = env();
        let store = store(&env, dir.path(), StoreFormat::Maildir(MaildirLayout::PlusPlus));
        store.create_mailbox("box").unwrap();
        append(&store);
        assert_eq!((messages(&store), noted_count(&env)), ((1, 0), 0), "not at rest yet");
        let long_ago = SystemTime::now() - Duration::from_secs(100);
        for folder in ["new", "cur"] {
            File::open(dir.path().join(".box").join(folder)).unwrap().set_modified(long_ago).unwrap();
        }
        // The index notes the new times first.
        assert_eq!(messages(&store), (1, 0));
        assert_eq!((messages(&store), noted_count(&env)), ((1, 0), 1));
        std::fs::write(dir.path().join(".box/new/1.a.b"), "Subject: y\n\ny\n").unwrap();
        assert_eq!(messages(&store), (2, 1));
    }
}
