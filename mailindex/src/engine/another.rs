//! Whether a log is another mailbox's: one that was put in the place of this one's, whatever did that (`docs/damage.md`).
//!
//! Numbers of indexes are seconds, so that mailboxes made in one second share theirs, and logs of one number too may be of
//! different mailboxes. What tells them apart is the snapshot: the place in the log where it was made must be one where a
//! transaction ends, and the mod-sequence that it tells is the one that the log has counted there.

use mailfs::FileSystem;

use super::{
    Damage, Result,
    log_file::{LogFile, Opened},
    paths::Paths,
};
use crate::{
    log::{Transactions, modseq_at},
    state::State,
};

/// Largest log that is gone over.
const LOG_LEN_MAX: u64 = 1 << 30;

/// Why a log cannot be that of a snapshot; `None` where nothing speaks against it. A damaged log of one's own is not taken
/// for another's: it is either damaged before the snapshot's place, or has a transaction that ends there.
pub(super) fn is_of_another(
    fs: &dyn FileSystem,
    paths: &Paths,
    log: &LogFile,
    snapshot: &State,
) -> Result<Option<String>> {
    let head =
        snapshot.position().filter(|at| at.file_seq == log.seq() && snapshot.index_id() == log.header.indexid.get());
    let len = log.handle.len()?;
    let Some(head) = head.map(|at| at.offset).filter(|head| u64::from(*head) <= len && len <= LOG_LEN_MAX) else {
        return Ok(None);
    };
    let bytes = log.read(0, len as usize)?;
    let start = log.header.records_start();
    let mut transactions = Transactions::new(bytes.get(start as usize..).unwrap_or_default(), start);
    let mut ends_at_head = head <= start;
    while let Some(Ok(transaction)) = transactions.next() {
        ends_at_head |= transaction.end == head;
    }
    let is_whole = u64::from(transactions.end()) == len;
    if is_whole && !ends_at_head {
        return Ok(Some(format!("it is whole, and no transaction ends at {head}, where the snapshot was made")));
    }
    let counted = modseq_at(&bytes, head).ok();
    let told = snapshot.modseq_is_known().then(|| snapshot.highest_modseq().value());
    if let (Some(counted), Some(told)) = (counted, told)
        && counted != told
        && is_parted_from_log2(fs, paths, log)?
    {
        let what = format!(
            "its mod-sequences come to {counted} where the snapshot has {told}, and it does not follow the log before"
        );
        return Ok(Some(what));
    }
    Ok(None)
}

/// Another's log, as damage of this mailbox.
pub(super) fn damage(log: &LogFile, what: &str) -> Damage {
    log.damage(0, format!("it is the log of another mailbox: {what}"))
}

/// Whether the log before is there, and ends elsewhere than this one says.
fn is_parted_from_log2(fs: &dyn FileSystem, paths: &Paths, log: &LogFile) -> Result<bool> {
    let Opened::Usable(log2) = LogFile::open(fs, &paths.log2)? else { return Ok(false) };
    let header = &log.header;
    let is_before = log2.seq() == header.prev_file_seq.get() && log2.header.indexid == header.indexid;
    Ok(is_before && log2.handle.len()? != u64::from(header.prev_file_offset.get()))
}
