//! Telling Dovecot that its cache of the mailbox tree (`dovecot.list.index`, `docs/formats/list.md`) is stale.
//!
//! Culver reads folders, and of a list index only STATUS values (but for `LAYOUT=index`). A Dovecot beside it believes the
//! tree in it until the mark in its header says that it must be scanned again. Without the mark it would not see mailboxes
//! that come and go here.
//!
//! A rename is written into the tree too: what a scan finds under a name that the tree has not is opened by Dovecot, its log
//! and then its index, and where the folder is renamed again between the two Dovecot takes the index for lost. And what the
//! tree knows of the mailbox stays known.

use std::{path::Path, sync::Arc};

use mailfs::{LockOrder, LockRank};
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, Env, IndexError, OpError, completion},
    log::Origin,
    state::ExtensionSpec,
};

use super::{NodesChange, open_list};
use crate::indexed::unix_now;

/// The extension whose header begins with the mark; its other bytes and its records stay as they are.
const LIST: ExtensionSpec =
    ExtensionSpec { name: "list", hdr_size: 1, record_size: 0, record_align: 0, no_shrink: true };

/// "The tree must be scanned before it is used."
const STALE: u8 = 1;

/// A mailbox's names before and after, by levels as they are stored.
pub(crate) struct Renamed {
    pub(crate) from: Vec<Vec<u8>>,
    pub(crate) to: Vec<Vec<u8>>,
}

/// Marks the list index of a store as stale, if there is one, and renames a node in it. To be called with `mailboxes.lock` released: a Dovecot that
/// holds the list index's lock may be waiting for that one. It holds nothing that cannot be found again, so a failure
/// is only worth a line in the log.
pub(crate) fn mark_stale(env: &Env, root: &Path, renamed: Option<Renamed>) {
    match try_mark(env, root, renamed) {
        Ok(()) | Err(IndexError::NotFound { .. } | IndexError::Deleted { .. }) => {}
        Err(error) => tracing::warn!(root = %root.display(), "Dovecot's list index was not marked as stale: {error}"),
    }
}

fn try_mark(env: &Env, root: &Path, renamed: Option<Renamed>) -> Result<(), IndexError> {
    // The first rank: a debug build sees to it that no lock is held here.
    let _first = LockOrder::enter(LockRank::ListLog);
    let index = open_list(env, root)?;
    let (completer, completion) = completion(&index);
    index.enqueue(Box::new(Mark { renamed, now: unix_now(&**env.fs()), completer: Some(completer) }));
    if let Some(Err(error)) = completion.wait() {
        tracing::warn!(root = %root.display(), "Dovecot's list index was not marked as stale: {error}");
    }
    Ok(())
}

struct Mark {
    renamed: Option<Renamed>,
    now: u32,
    completer: Option<Completer<Result<(), Arc<CommitError>>>>,
}

impl CommitOp for Mark {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        if let Some(Renamed { from, to }) = self.renamed.take().filter(|_| at.state().extension(LIST.name).is_some()) {
            let mut nodes = NodesChange::of(at.state());
            nodes.move_to(&from, &to);
            nodes.write(at.transaction(), self.now);
        }
        let list = at.state().extension(LIST.name);
        if list.is_some_and(|list| list.hdr().first() != Some(&STALE)) {
            at.transaction().ext_header(&LIST, 0, &[STALE], Origin::External);
        }
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        if let Some(completer) = self.completer.take() {
            completer.complete(outcome.map(|_| ()));
        }
    }
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;
    use mailindex::{engine::EnvOptions, log::Transaction, state::State};
    use mailtypes::{Guid, UidValidity};

    use super::{
        super::{Nodes, create_list},
        *,
    };

    fn levels(name: &str) -> Vec<Vec<u8>> {
        name.split('/').map(|level| level.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_renamed_node_keeps_what_is_known_of_it_and_takes_those_below_along() {
        let root = Path::new("/mail");
        let disk = SimDisk::new();
        mailfs::FileSystemExt::create_dir_all(&disk, root, 0o700).unwrap();
        let env = Env::new(disk.as_file_system(), EnvOptions::default());
        let mut tree = NodesChange::of(&State::empty());
        let uid = tree.make(&levels("a/b")).unwrap();
        tree.make(&levels("a/b/c")).unwrap();
        tree.set(uid, Some((Guid([7; 16]), UidValidity::new(5).unwrap())));
        let mut first = Transaction::new();
        tree.write(&mut first, 1);
        create_list(&env, root, &first).unwrap();
        let uid_of = |name: &str| {
            let nodes = Nodes::read(&open_list(&env, root).unwrap().refresh().unwrap());
            let (found, depth) = nodes.find(&levels(name));
            found.filter(|_| depth == levels(name).len()).map(|node| (node.uid, node.guid))
        };
        let rename = |from: &str, to: &str| {
            mark_stale(&env, root, Some(Renamed { from: levels(from), to: levels(to) }));
        };
        rename("a/b", "x/y/z");
        assert_eq!(uid_of("x/y/z"), Some((uid, Guid([7; 16]))));
        assert!(uid_of("x/y/z/c").is_some());
        assert_eq!(uid_of("a/b"), None);
        let list = open_list(&env, root).unwrap().refresh().unwrap();
        assert_eq!(list.extension(LIST.name).unwrap().hdr().first(), Some(&STALE));
        rename("x/y/z", "a");
        assert_eq!(uid_of("x/y/z").unwrap().0, uid, "there is one of that name");
        rename("nothing", "at all");
        assert_eq!(uid_of("at all"), None);
    }
}
