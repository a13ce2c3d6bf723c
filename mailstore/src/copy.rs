//! Copies between mailboxes whatever backends they belong to: each message is read from one and taken in by the other.
//!
//! Where both belong to one store, [`Batch::copy`] is cheaper: it need not move bytes.

use mailtypes::{Uid, UidSet};

use crate::traits::{
    Batch, Body, Column, Columns, Committed, Cursor, Mailbox, NulPolicy, Result, Row, Rows, Save, SaveMeta, ScanBudget,
    Section, StorageError, View, ViewAs,
};

/// Bytes of a message moved at a time.
const PIECE_LEN: usize = 64 * 1024;

/// How to copy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CopyOptions {
    /// The copies keep the messages' GUIDs, as conversions want; else they get new ones.
    pub keep_guids: bool,
}

/// What [`copy_streamed`] did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Copied {
    /// Source and copy, ascending.
    pub uids: Vec<(Uid, Uid)>,
    /// What the destination's commit did.
    pub committed: Committed,
}

/// Copies the messages `uids` with flags, keywords and internal dates, in one commit: all of them or none. Messages
/// that are gone are passed over. Memory is bounded by one piece of a message and the backend's own need for a message
/// taken in; nothing is in the destination until all are.
///
/// # Errors
/// Those of reading the source and of saving to the destination; nothing was copied then.
pub fn copy_streamed(
    source: &dyn Mailbox,
    uids: &UidSet,
    destination: &dyn Mailbox,
    options: &CopyOptions,
) -> Result<Copied> {
    let view = source.view(&ViewAs::default())?;
    let (batch, sources) = stage_copies(&*view, uids, destination, options)?;
    let committed = destination.submit(batch)?.wait()?;
    let uids = sources.into_iter().zip(committed.saved.iter().copied()).collect();
    Ok(Copied { uids, committed })
}

/// Takes the messages in without committing them: the batch, to be submitted to `destination`, and the UIDs of the
/// sources in the batch's order.
///
/// # Errors
/// Those of [`copy_streamed`].
pub fn stage_copies(
    view: &dyn View,
    uids: &UidSet,
    destination: &dyn Mailbox,
    options: &CopyOptions,
) -> Result<(Batch, Vec<Uid>)> {
    let columns = Columns::flags().with(Column::InternalDate).with(Column::Guid);
    let (mut batch, mut sources) = (Batch::new(), Vec::new());
    let (mut rows, mut buf) = (Rows::new(), vec![0; PIECE_LEN]);
    let mut at = Some(Cursor::START);
    while let Some(cursor) = at {
        rows.clear();
        at = view.scan(uids, cursor, &columns, ScanBudget::default(), &mut rows)?;
        for row in rows.rows.iter().filter(|row| !row.expunged) {
            let body = match view.body(row.uid) {
                Err(StorageError::Expunged { .. }) => continue,
                body => body?,
            };
            let save = destination.begin_save(meta_of(row, options), Some(body.size()))?;
            let Some(save) = stream(body, save, &mut buf)? else { continue };
            batch = batch.save(save.finish()?, row.flags, rows.keywords(row).to_vec());
            sources.push(row.uid);
        }
    }
    Ok((batch, sources))
}

fn meta_of(row: &Row, options: &CopyOptions) -> SaveMeta {
    SaveMeta {
        internal_date: row.internal_date,
        guid: row.guid.filter(|guid| options.keep_guids && !guid.is_zero()),
        // One store took it: the other must, or the mailbox cannot be moved.
        nuls: Some(NulPolicy::Keep),
        ..SaveMeta::default()
    }
}

/// `None` if the message went while it was read.
fn stream(mut body: Box<dyn Body>, mut save: Box<dyn Save>, buf: &mut [u8]) -> Result<Option<Box<dyn Save>>> {
    let mut offset = 0;
    loop {
        let len = match body.read_at(Section::WHOLE, offset, buf) {
            Err(StorageError::Expunged { .. }) => return Ok(None),
            len => len?,
        };
        save.write(buf.get(..len).unwrap_or_default())?;
        if len < buf.len() {
            return Ok(Some(save));
        }
        offset += len as u64;
    }
}
