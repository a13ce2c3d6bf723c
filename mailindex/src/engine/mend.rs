//! Doing what [`inspect`](super::inspect()) plans about files that [`recover`](super::recover()) leaves alone, for nothing
//! hangs on them: cache, backup, older log, and the numbers of a snapshot that every reader puts right for itself.

use std::{path::Path, sync::Arc};

use super::{
    Env, IndexRemedy, Result, aside,
    inspect::{IndexFinding, Inspected},
    load,
    log_file::{LogFile, LogLock, Opened},
    paths::Paths,
    rebuild,
    recover::{RecoveryAction, RecoveryReport},
};
use crate::replay::Stop;

/// Moves damaged caches, backups and older logs out of the way (as `culver.damaged.<file>.<n>`), and writes a snapshot
/// again whose numbers are wrong. To be called after [`recover`](super::recover()). Takes the log's lock.
pub fn mend(env: &Env, dir: &Path, prefix: &str, found: &Inspected) -> Result<Vec<RecoveryReport>> {
    let paths = Paths::new(dir, prefix);
    let mut reports = Vec::new();
    let is_mine = |finding: &&IndexFinding| {
        let path = &finding.damage.path;
        matches!(finding.remedy, IndexRemedy::DropCache | IndexRemedy::WriteSnapshot)
            || finding.remedy == IndexRemedy::SetAside && (*path == paths.backup || *path == paths.log2)
    };
    for finding in found.findings.iter().filter(is_mine) {
        let Opened::Usable(log) = LogFile::open(&**env.fs(), &paths.log)? else { return Ok(reports) };
        let lock = log.lock(&**env.fs(), env.options().lock_timeout, true)?;
        let path = &finding.damage.path;
        if env.fs().metadata(path)?.is_none() {
            continue;
        }
        let action = match finding.remedy {
            IndexRemedy::WriteSnapshot => match write_snapshot(env, &paths, &log, &lock)? {
                Some(action) => action,
                None => continue,
            },
            _ => RecoveryAction::SetAside { copy: aside::move_aside(env, &paths, path)? },
        };
        tracing::warn!(?action, "{}", finding.damage);
        reports.push(RecoveryReport { damage: finding.damage.clone(), action });
    }
    Ok(reports)
}

/// `None` where it was not for this to put right.
fn write_snapshot(env: &Env, paths: &Paths, log: &Arc<LogFile>, _held: &LogLock) -> Result<Option<RecoveryAction>> {
    let loaded = load::load(&**env.fs(), paths)?;
    let is_whole = loaded.stop == Stop::End && loaded.live.log.inode == log.inode;
    if !is_whole || !loaded.live.state.modseq_is_known() {
        return Ok(None);
    }
    let copy = aside::link(&**env.fs(), &paths.index)?;
    rebuild::write_snapshot(env, paths, &loaded.live.state)?;
    Ok(Some(RecoveryAction::WroteSnapshot { copy }))
}

/// Moves all files of an index out of the way (as `culver.damaged.<file>.<n>`), for one whose content can be found again.
/// Takes the log's lock, if there is a log.
pub fn set_aside(env: &Env, dir: &Path, prefix: &str) -> Result<()> {
    let paths = Paths::new(dir, prefix);
    let opened = LogFile::open(&**env.fs(), &paths.log)?;
    let _lock = match &opened {
        Opened::Usable(log) | Opened::Damaged(log, _) => {
            Some(log.lock(&**env.fs(), env.options().lock_timeout, true)?)
        }
        Opened::Missing => None,
    };
    // The log last: as long as it is there, whoever comes next knows that there was something.
    for path in [&paths.index, &paths.backup, &paths.cache, &paths.log2, &paths.log] {
        if env.fs().metadata(path)?.is_some() {
            aside::move_aside(env, &paths, path)?;
        }
    }
    Ok(())
}

/// Moves a cache out of the way (as `culver.damaged.<file>.<n>`) that holds what messages were before they were put
/// right. Takes the log's lock.
pub fn set_cache_aside(env: &Env, dir: &Path, prefix: &str) -> Result<()> {
    let paths = Paths::new(dir, prefix);
    let (Opened::Usable(log) | Opened::Damaged(log, _)) = LogFile::open(&**env.fs(), &paths.log)? else {
        return Ok(());
    };
    let _lock = log.lock(&**env.fs(), env.options().lock_timeout, true)?;
    if env.fs().metadata(&paths.cache)?.is_some() {
        aside::move_aside(env, &paths, &paths.cache)?;
    }
    Ok(())
}
