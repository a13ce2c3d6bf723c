//! Putting a mailbox's index files right, for every format.

use std::sync::Arc;

use mailindex::engine::{self, Env, IndexError, MessageStore, inspect};
use mailtypes::MailboxName;

use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::MailboxDirs,
    traits::Result,
};

/// Puts the files right from each other; tells whether the messages have to be gone over, for the index cannot be trusted
/// to know all of them, or there is none.
pub(crate) fn mend_index(
    env: &Env,
    name: &MailboxName,
    dirs: &MailboxDirs,
    store: &Arc<dyn MessageStore>,
) -> Result<bool> {
    let recovered = engine::recover(env, &dirs.index, PREFIX, Arc::clone(store));
    let needs_rebuild = match recovered {
        Ok(recovered) => recovered.needs_rebuild,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => true,
        Err(e) => return Err(from_index(name, &e)),
    };
    if !needs_rebuild {
        let seen = inspect(env, &dirs.index, PREFIX).map_err(|e| from_index(name, &e))?;
        engine::mend(env, &dirs.index, PREFIX, &seen).map_err(|e| from_index(name, &e))?;
    }
    Ok(needs_rebuild)
}
