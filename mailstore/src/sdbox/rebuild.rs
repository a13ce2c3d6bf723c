//! An index made anew from the message files (`docs/formats/dbox.md`, "sdbox rebuild").

use std::sync::{Arc, PoisonError};

use mailindex::{
    engine::{self, IndexError, MessageStore, RebuildMessage},
    log::Transaction,
    state::{RecordFlags, State},
};
use mailtypes::{MailboxName, Uid, UidSet};

use super::{files::Mails, index::write_guid};
use crate::{
    dbox::write_uid_validity,
    indexed::{PREFIX, from_index, new_guid},
    mailbox_list::next_uid_validity,
    traits::{Result, StorageError},
};

/// Makes the index of a mailbox anew: its messages are the files that begin as one must, under the UIDs they bear; flags,
/// keywords, UIDVALIDITY and GUID come from what can still be read. Records without a file are dropped; files that
/// are no message and never were one stay where they are. Tells how many messages there are.
pub(super) fn rebuild(name: &MailboxName, mails: &Arc<Mails>) -> Result<usize> {
    let shared = &mails.shared;
    let _one_at_a_time = shared.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
    let keep = what_is_left(name, mails)?;
    let expunged = keep.as_ref().map(State::requested_expunges).unwrap_or_default();
    let mut messages = find_messages(mails, keep.as_ref(), &expunged)?;
    if let Some(keep) = &keep {
        add_perhaps_alt(mails, keep, &expunged, &mut messages)?;
    }
    let mut more = Transaction::new();
    if keep.as_ref().and_then(State::uid_validity).is_none() {
        write_uid_validity(&mut more, next_uid_validity(shared.fs(), &shared.control)?);
    }
    let guid = keep.as_ref().and_then(State::dbox_header).map(|header| header.guid);
    if guid.is_none_or(|guid| guid.is_zero()) {
        write_guid(&mut more, new_guid(shared.fs()));
    }
    engine::rebuild(&shared.env, &mails.index, PREFIX, &messages, keep.as_ref(), more)
        .map_err(|e| from_index(name, &e))?;
    tracing::warn!(mailbox = %name, messages = messages.len(), "the index was rebuilt from the messages");
    // Their expunge was acknowledged, and now nobody asks for it any more.
    if let Some(keep) = &keep {
        mails.remove(keep, &expunged).map_err(|e| StorageError::Io(e.to_string().into()))?;
    }
    Ok(messages.len())
}

/// Messages of an alternate storage that is not there now keep their records.
fn add_perhaps_alt(mails: &Mails, keep: &State, expunged: &UidSet, messages: &mut Vec<RebuildMessage>) -> Result<()> {
    let found: UidSet = messages.iter().map(|message| message.uid).collect();
    let perhaps = mails.perhaps_alt(keep, &keep.uids().difference(&found).difference(expunged))?;
    if !perhaps.is_empty() {
        tracing::warn!(uids = %perhaps, "stay in the rebuilt index: alternate storage is not there");
        messages.extend(perhaps.iter().map(|uid| RebuildMessage { uid, flags: RecordFlags::ALT }));
        messages.sort_unstable_by_key(|message| message.uid);
    }
    Ok(())
}

fn what_is_left(name: &MailboxName, mails: &Arc<Mails>) -> Result<Option<State>> {
    let found = match engine::recover(&mails.shared.env, &mails.index, PREFIX, Arc::clone(mails) as _) {
        Ok(recovered) => recovered.state,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => None,
        Err(e) => return Err(from_index(name, &e)),
    };
    let kept = engine::kept_state(&mails.shared.env, &mails.index, PREFIX).map_err(|e| from_index(name, &e))?;
    Ok(match (found, kept) {
        (Some(found), Some(kept)) if knows_more(&kept, &found) => Some(kept),
        (found, kept) => found.or(kept),
    })
}

/// Whether a state that is known by second names is the better one: it goes further in the same log, or is that of the
/// index that was here before one was made that is empty.
fn knows_more(kept: &State, found: &State) -> bool {
    if kept.index_id() == found.index_id() {
        return kept.position() > found.position();
    }
    found.message_count() == 0 && found.next_uid() == Uid::MIN
}

fn find_messages(mails: &Mails, keep: Option<&State>, expunged: &UidSet) -> Result<Vec<RebuildMessage>> {
    let mut messages = Vec::new();
    let alt = mails.alt_uids()?;
    for uid in mails.uids()?.into_iter().filter(|uid| !expunged.contains(*uid)) {
        match mails.open_placed(uid) {
            Ok((_, path)) => {
                let is_alt = alt.binary_search(&uid).is_ok() && path != mails.path(uid);
                messages.push(RebuildMessage { uid, flags: if is_alt { RecordFlags::ALT } else { RecordFlags::NONE } });
            }
            Err(StorageError::Expunged { .. }) => {}
            // Its flags are not to be lost before somebody has tried to put the file right.
            Err(e @ StorageError::Corrupt { .. }) if keep.is_some_and(|keep| keep.contains(uid)) => {
                tracing::warn!("stays in the rebuilt index: {e}");
                messages.push(RebuildMessage { uid, flags: RecordFlags::NONE });
            }
            Err(e @ StorageError::Corrupt { .. }) => tracing::warn!("left out of the rebuilt index: {e}"),
            Err(e) => return Err(e),
        }
    }
    Ok(messages)
}
