//! `dovecot.list.index` (`docs/formats/list.md`): Dovecot's cache of the mailbox tree and of STATUS values; with
//! `LAYOUT=index` the only place where names are.

mod nodes;
mod stale;
mod statuses;

use std::{error::Error, path::Path, sync::Arc};

use mailindex::{
    engine::{Env, IndexError, MailboxIndex, MessageStore, RebuildMessage},
    log::Transaction,
    state::State,
};
use mailtypes::UidSet;

pub(crate) use self::stale::{Renamed, mark_stale};
pub(super) use self::{
    nodes::{NAMES_MAX, Node, Nodes, NodesChange},
    statuses::{Noticed, StatusFiles},
};

/// What the list index's files are called.
pub(crate) const PREFIX: &str = "dovecot.list.index";

/// The records of a list index stand for names: there are no bodies to remove.
struct Names;

impl MessageStore for Names {
    fn remove(&self, _: &State, _: &UidSet) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// What is asked of the store when a list index is recovered.
pub(crate) fn names_store() -> Arc<dyn MessageStore> {
    Arc::new(Names)
}

/// The list index in a folder.
pub(super) fn open_list(env: &Env, dir: &Path) -> Result<Arc<MailboxIndex>, IndexError> {
    MailboxIndex::open(env, dir, PREFIX, Arc::new(Names))
}

/// The same; made with this in it if there is none.
pub(super) fn create_list(env: &Env, dir: &Path, first: &Transaction) -> Result<Arc<MailboxIndex>, IndexError> {
    MailboxIndex::create(env, dir, PREFIX, Arc::new(Names), first)
}

/// Makes it anew; what is there is kept under another name.
pub(super) fn replace_list(
    env: &Env,
    dir: &Path,
    nodes: &[RebuildMessage],
    content: Transaction,
) -> Result<(), IndexError> {
    mailindex::engine::rebuild(env, dir, PREFIX, nodes, None, content)
}
