//! A Maildir whose lists and names are any bytes.

use std::{collections::BTreeSet, os::unix::ffi::OsStrExt, path::Path};

use mailfs::{FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Column, Columns, Cursor, Expunges, MailStorage, Rows, ScanBudget, View, ViewAs,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};
use mailtypes::MailboxName;

/// Names taken of one input.
const NAMES_MAX: usize = 40;

/// The input is a uidlist, a file of keywords and names of messages, separated by 0xff. Whatever it says, each message
/// that has a name is shown once, in order of UID, and a second look shows the same.
pub fn maildir(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let (uidlist, keywords, names) = (part(), part(), part());
    let disk = SimDisk::new();
    let root = Path::new("/mail");
    for dir in ["cur", "new", "tmp"] {
        disk.create_dir_all(&root.join(dir), 0o700).expect("a disk in memory");
    }
    for (name, text) in [("dovecot-uidlist", uidlist), ("dovecot-keywords", keywords)] {
        if !text.is_empty() {
            disk.write_atomic(&root.join(name), text, 0o600, false).expect("a disk in memory");
        }
    }
    let there = put_messages(&disk, root, names);
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let first = show(&Env::new(disk.as_file_system(), options.clone()), root);
    let second = show(&Env::new(disk.as_file_system(), options), root);
    let (Some(first), Some(second)) = (first, second) else { return };
    assert_eq!(first, second, "a second look shows the same");
    assert_eq!(first.len(), there, "each message is shown once");
}

/// Gives messages the names that the input has; tells how many different messages that are.
fn put_messages(disk: &SimDisk, root: &Path, names: &[u8]) -> usize {
    let mut bases = BTreeSet::new();
    for (number, name) in names.split(|&byte| byte == b'\n').take(NAMES_MAX).enumerate() {
        let bad = name.is_empty() || name.len() > 200 || name.starts_with(b".") || name.contains(&b'/');
        let base = name.split(|&byte| byte == b':').next().unwrap_or_default();
        if bad || name.contains(&0) || base.is_empty() || !bases.insert(base.to_vec()) {
            continue;
        }
        let path = root.join(["cur", "new"][number % 2]).join(std::ffi::OsStr::from_bytes(name));
        let text = format!("Subject: {number}\n\nbody\n");
        disk.write_atomic(&path, text.as_bytes(), 0o600, false).expect("a name that is free");
    }
    bases.len()
}

fn show(env: &Env, root: &Path) -> Option<Vec<(u32, Vec<u8>)>> {
    let storage = MaildirStorage::open(env, root, &MaildirPlaces::default(), MaildirOptions::default()).ok()?;
    let inbox = storage.mailbox(&MailboxName::inbox()).ok()?;
    let mut view = inbox.view(&ViewAs { takes_recent: true }).ok()?;
    view.sync(Expunges::Apply).ok()?;
    let rows = scan(&*view);
    let uids: Vec<u32> = rows.iter().map(|(uid, _)| *uid).collect();
    assert!(uids.is_sorted_by(|a, b| a < b), "UIDs ascend");
    assert!(uids.last().is_none_or(|&last| last < view.uid_next().value()), "the next UID is above all");
    Some(rows)
}

fn scan(view: &dyn View) -> Vec<(u32, Vec<u8>)> {
    let columns = Columns::flags().with(Column::Size).with(Column::InternalDate).with_header("Subject");
    let (uids, mut rows, mut all, mut at) = (view.uids(), Rows::new(), Vec::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        rows.clear();
        let budget = ScanBudget { until: None, ..ScanBudget::default() };
        at = view.scan(&uids, cursor, &columns, budget, &mut rows).expect("a disk that does not fail");
        let shown = rows.rows.iter().filter(|row| !row.expunged);
        all.extend(shown.map(|row| (row.uid.value(), rows.header(row, 0).to_vec())));
    }
    all
}
