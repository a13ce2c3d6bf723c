//! Trees of names and logs for replication of any bytes.

use std::path::Path;

use mailfs::{FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    ListLayout, ListOptions, ListPattern, MailStorage, decode_mailbox_log,
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::MailboxName;

/// The input is the log of a list index, and a log for replication: whatever stands in it, the list is told or an error, each
/// name once, and a mailbox can be made and is there.
pub fn list_index(data: &[u8]) {
    for record in decode_mailbox_log(data) {
        let _ = record.guid;
    }
    let disk = SimDisk::new();
    let root = Path::new("/mail");
    disk.create_dir_all(&root.join("mailboxes"), 0o700).expect("a disk in memory");
    disk.write_atomic(&root.join("dovecot.list.index.log"), data, 0o600, false).expect("a disk in memory");
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(disk.as_file_system(), options);
    let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    let Ok(storage) = SdboxStorage::open(&env, root, SdboxOptions { list, ..SdboxOptions::default() }) else { return };
    let Ok(found) = storage.list(&ListPattern::all()) else { return };
    let mut names: Vec<_> = found.into_iter().map(|info| info.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "each name is told once");
    let name = MailboxName::new("a name of ours").expect("a name");
    if storage.create(&name).is_ok() {
        let found = storage.list(&ListPattern::all()).expect("it was told before");
        assert!(found.iter().any(|info| info.name == name && info.selectable), "what was made is there");
    }
}
