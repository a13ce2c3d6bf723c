//! The mailboxes as one sees them who only looks: nothing is made, mended or written.

use std::collections::{BTreeSet, HashMap};

use mailfs::FileSystemExt;
use mailtypes::MailboxName;

use super::{Format, MailboxDirs, by_guid, strict, walk::walk};
use crate::traits::Result;

/// A mailbox, and where its files lie.
pub(crate) struct Placed {
    pub(crate) name: MailboxName,
    pub(crate) dirs: MailboxDirs,
    /// No name leads to it: it is one that it would be given.
    pub(crate) is_unlisted: bool,
}

/// All mailboxes, INBOX first.
pub(crate) fn seen(format: &dyn Format) -> Result<Vec<Placed>> {
    let layout = format.layout();
    if layout.is_by_guid() {
        return by_guid::seen(format);
    }
    let found = walk(&**format.env().fs(), layout)?.into_iter().filter(|found| found.selectable);
    found.map(|found| Ok(Placed { dirs: layout.dirs(&found.name)?, name: found.name, is_unlisted: false })).collect()
}

/// A folder that holds a mailbox, whether or not a name leads to it.
pub(crate) struct Held {
    pub(crate) name: Option<MailboxName>,
    pub(crate) dirs: MailboxDirs,
    /// It is one that came before, by another way.
    pub(crate) is_again: bool,
}

impl Held {
    pub(super) fn new(name: Option<MailboxName>, dirs: MailboxDirs) -> Self {
        Self { name, dirs, is_again: false }
    }

    /// What it is to be called in messages: its name, or that of its folder as far as it can be told.
    pub(crate) fn label(&self) -> MailboxName {
        let folder = self.dirs.mail.parent().and_then(|level| level.file_name()).unwrap_or_default();
        let by_folder = || MailboxName::new(&folder.to_string_lossy()).ok();
        self.name.clone().or_else(by_folder).unwrap_or_else(MailboxName::inbox)
    }
}

/// All folders that hold mailboxes of a dbox, for one who counts what they refer to: also those that no name leads to, and
/// where two lead to the same it is told. Fails where something cannot be looked into, for that may hold mailboxes too. Who
/// counts has the list locked.
pub(crate) fn held(format: &dyn Format) -> Result<Vec<Held>> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let mut all = match layout.is_by_guid() {
        true => held_by_guid(format)?,
        false => strict::walk(fs, layout)?,
    };
    let mut first: HashMap<(u64, u64), MailboxDirs> = HashMap::new();
    for held in &mut all {
        let Some(there) = fs.metadata(&held.dirs.index)? else { continue };
        match first.get(&(there.device, there.inode)) {
            Some(dirs) => (held.dirs, held.is_again) = (dirs.clone(), true),
            None => drop(first.insert((there.device, there.inode), held.dirs.clone())),
        }
    }
    Ok(all)
}

fn held_by_guid(format: &dyn Format) -> Result<Vec<Held>> {
    let (mut all, mut paths) = (Vec::new(), BTreeSet::new());
    for Placed { name, dirs, .. } in by_guid::seen(format)? {
        // Of a folder that is gone the list tells alone.
        if format.env().fs().is_dir(&dirs.mail)? && paths.insert(dirs.mail.clone()) {
            all.push(Held::new(Some(name), dirs));
        }
    }
    let folders = by_guid::folders(format)?.into_iter().map(|guid| format.layout().dirs_of(guid));
    all.extend(folders.filter(|dirs| !paths.contains(&dirs.mail)).map(|dirs| Held::new(None, dirs)));
    Ok(all)
}
