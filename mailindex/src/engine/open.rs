//! Opening a mailbox: shared within the `Env`, from what was parked, or from the files.

use std::{path::Path, sync::Arc};

use super::{
    Env, IndexError, MailboxIndex, MessageStore, Result,
    live::{Live, stop_damage},
    load,
    paths::Paths,
    recover,
    registry::Key,
};
use crate::{replay::Stop, state::Deletion};

impl MailboxIndex {
    /// Opens the index of this prefix (`dovecot.index`) in a folder. All who open it within one `Env` share it, with the
    /// store of the first. For those who have it open in a folder that was renamed since, it is deleted from now on.
    ///
    /// Fails with [`IndexError::NotFound`] when there is none, [`IndexError::Deleted`] when it is deleted,
    /// [`IndexError::NeedsRebuild`] when the files are damaged beyond what can be repaired from each other.
    pub fn open(env: &Env, dir: &Path, prefix: &str, store: Arc<dyn MessageStore>) -> Result<Arc<Self>> {
        let paths = Paths::new(dir, prefix);
        let fs = &**env.fs();
        let Some(folder) = fs.metadata(dir)? else { return Err(IndexError::NotFound { dir: dir.to_owned() }) };
        let key = Key { device: folder.device, inode: folder.inode, prefix: prefix.to_owned() };
        let before = env.registry().find(&key);
        if let Some(index) = before.filter(|index| !index.is_deleted()) {
            if index.paths.dir != paths.dir && !index.is_in_its_folder()? {
                tracing::debug!(old = %index.dir().display(), new = %dir.display(), "renamed while it was open");
                index.set_deleted();
            } else if index.refresh().is_ok() {
                return Ok(index);
            }
        }
        let parked = env.registry().unpark(&key);
        let live = match parked.and_then(|live| revive(env, &paths, live)) {
            Some(live) => live,
            None => load_or_repair(env, &paths, &*store)?,
        };
        if live.state.deletion() == Deletion::Done {
            return Err(IndexError::Deleted { dir: dir.to_owned() });
        }
        let index_id = live.state.index_id();
        let new = Arc::new(Self::new(env.clone(), paths, key.clone(), store, live));
        let index = env.registry().enter(&key, Arc::clone(&new));
        // One that stands for a mailbox that was here before is left to those who have it.
        if index.is_deleted() || index.state().index_id() != index_id {
            env.registry().replace(&key, &new);
            new.keep_present_files();
            return Ok(new);
        }
        index.keep_present_files();
        Ok(index)
    }
}

/// What was parked, brought up to date; `None` when it is of no use.
fn revive(env: &Env, paths: &Paths, mut live: Live) -> Option<Live> {
    if live.log.path != paths.log {
        // Renamed since.
        return None;
    }
    let index_id = live.state.index_id();
    match live.catch_up(&**env.fs(), paths) {
        Ok(Stop::End | Stop::Torn { .. }) => Some(live).filter(|live| live.state.index_id() == index_id),
        Ok(_) | Err(_) => None,
    }
}

fn load_or_repair(env: &Env, paths: &Paths, store: &dyn MessageStore) -> Result<Live> {
    let fs = &**env.fs();
    let damage = match load::load(fs, paths) {
        Ok(loaded) => match stop_damage(&loaded.live.log, &loaded.stop).or(loaded.bad_snapshot) {
            None => return Ok(loaded.live),
            Some(damage) if matches!(loaded.stop, Stop::Limit { .. }) => return Err(damage.into()),
            Some(damage) => damage,
        },
        Err(IndexError::Corrupt(damage)) => damage,
        Err(e) => return Err(e),
    };
    tracing::warn!("{damage}");
    recover::repair(env, paths, store, damage)?;
    Ok(load::load(fs, paths)?.live)
}
