//! Opening and making a mailbox's index.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::{
    engine::{IndexError, MailboxIndex, restore_lost},
    log::{Origin, Transaction},
    state::{ExtensionSpec, MdboxHeader, State},
};
use mailtypes::MailboxName;

use super::{
    Shared,
    files::{Mails, Referred},
    map::MapResult,
    map_state::MapState,
    rebuild::{has_fsck_mark, was_lost},
};
use crate::{
    dbox::{Known, give_identity, new_identity, write_uid_validity},
    indexed::{Indexed, IndexedMailbox, PREFIX, Private, from_index},
    mailbox_list::{MailboxDirs, Rights},
    traits::{MailboxIdentity, Result, StorageError},
};

/// Opens the mailbox in folders of which that of the messages is there; makes its index if need be.
/// `storage_name`: as lists on disk have it.
pub(super) fn open(
    shared: &Arc<Shared>,
    name: &MailboxName,
    storage_name: &str,
    dirs: &MailboxDirs,
) -> Result<IndexedMailbox> {
    let fs = shared.fs();
    if dirs.index != dirs.mail && !fs.is_dir(&dirs.index)? {
        Rights::of(fs, &dirs.mail)?.create_dirs(fs, &dirs.index)?;
    }
    let mails = Arc::new(Mails::new(shared, dirs, Some(storage_name.into())));
    let index = open_index(name, &mails)?;
    // Set once, here.
    let _ = mails.opened.set(Arc::downgrade(&index));
    let MailboxIdentity { guid, uid_validity } = match known(&index.state()) {
        (Some(guid), Some(uid_validity)) => MailboxIdentity { guid, uid_validity },
        _ => {
            let new = new_identity(fs, &shared.control)?;
            let map_uid_validity = shared.map.refresh(&shared.files).of_map()?.uid_validity();
            give_identity(name, &index, new, known, move |at, guid| {
                let header = at.state().mdbox_header();
                let header = header.unwrap_or(MdboxHeader { map_uid_validity, ..MdboxHeader::default() });
                write_header(at.transaction(), MdboxHeader { guid, ..header });
            })?
        }
    };
    let limits = shared.options.limits.clone();
    let private = Private::of(&shared.env, name, dirs, &index)?;
    Ok(IndexedMailbox::new(Indexed { name: name.clone(), index, files: mails, guid, uid_validity, limits, private }))
}

fn known(state: &State) -> Known {
    let guid = state.mdbox_header().map(|header| header.guid).filter(|guid| !guid.is_zero());
    (guid, state.uid_validity())
}

fn open_index(name: &MailboxName, mails: &Arc<Mails>) -> Result<Arc<MailboxIndex>> {
    let shared = &mails.shared;
    let (env, failed) = (&shared.env, |e: IndexError| from_index(name, &e));
    match MailboxIndex::open(env, &mails.index, PREFIX, Arc::clone(mails) as _) {
        Ok(index) => {
            if is_doubtful(shared, &index).map_err(failed)? {
                shared.doubts.raise(&mails.index);
            }
            Ok(index)
        }
        Err(IndexError::NotFound { .. }) if !mails.exists()? => Err(StorageError::NotFound(name.clone())),
        // It is back as it was known last, and may be older than the map.
        Err(IndexError::NotFound { .. }) if restore_lost(env, &mails.index, PREFIX).map_err(failed)? => {
            shared.doubts.raise(&mails.index);
            MailboxIndex::open(env, &mails.index, PREFIX, Arc::clone(mails) as _).map_err(failed)
        }
        // What the map may have of a mailbox whose index was lost, a rebuild brings back. Once there is a new one nobody sees
        // any more that there was another: the mark outlives us.
        Err(IndexError::NotFound { .. }) => {
            if shared.map.state(&shared.files).of_map()?.len() > 0 {
                if !shared.env.is_read_only() {
                    shared.map.mark(&shared.files, shared.env.options().lock_timeout).of_map()?;
                }
                shared.doubts.raise(&mails.index);
            }
            let initial = first_transaction(shared, new_identity(shared.fs(), &shared.control)?)?;
            let made = MailboxIndex::create(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _, &initial);
            made.map_err(|e| from_index(name, &e))
        }
        Err(e @ IndexError::NeedsRebuild { .. }) => {
            shared.doubts.raise(&mails.index);
            Err(mails.damaged(e.to_string()))
        }
        Err(e) => Err(failed(e)),
    }
}

/// Whether a mailbox says itself that it has to be gone over, or speaks of another map, or of a message that the map does
/// not have; of its last message, for all would take long.
fn is_doubtful(shared: &Shared, index: &Arc<MailboxIndex>) -> std::result::Result<bool, IndexError> {
    let state = index.state();
    if shared.env.is_read_only() {
        return Ok(false);
    }
    if has_fsck_mark(&state) || was_lost(index)? {
        return Ok(true);
    }
    let Some(last) = state.last_uid().and_then(|uid| state.record_of(uid)) else { return Ok(false) };
    let map = shared.map.state(&shared.files)?;
    let said = state.mdbox_header().map_or(0, |header| header.map_uid_validity);
    let number = Referred::of(&state, &last).map_uid;
    let is_known = |map: &MapState| number.is_some_and(|number| map.record(number).is_some());
    let is_right = |map: &MapState| (said == 0 || said == map.uid_validity()) && is_known(map);
    // It may have come just now, or gone.
    Ok(!is_right(&map) && !is_right(&shared.map.refresh(&shared.files)?) && index.refresh()?.contains(last.uid()))
}

/// What the log of a new mailbox begins with (`docs/formats/dbox.md`, "Creating a mailbox by hand").
fn first_transaction(shared: &Shared, identity: MailboxIdentity) -> Result<Transaction> {
    let mut transaction = Transaction::new();
    let map_uid_validity = shared.map.refresh(&shared.files).of_map()?.uid_validity();
    write_header(&mut transaction, MdboxHeader { map_uid_validity, guid: identity.guid, flags: 0 });
    write_uid_validity(&mut transaction, identity.uid_validity);
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    Ok(transaction)
}

fn write_header(transaction: &mut Transaction, header: MdboxHeader) {
    transaction.ext_header(&ExtensionSpec::MDBOX_HDR, 0, &header.encode(), Origin::External);
}

/// Makes the index of an empty mailbox in folders that are there, durably.
pub(super) fn make(shared: &Arc<Shared>, dirs: &MailboxDirs, identity: Option<&MailboxIdentity>) -> Result<()> {
    let store = Arc::new(Mails::new(shared, dirs, None));
    let identity = identity.copied().map_or_else(|| new_identity(shared.fs(), &shared.control), Ok)?;
    let initial = first_transaction(shared, identity)?;
    let made = MailboxIndex::create(&shared.env, &dirs.index, PREFIX, store, &initial);
    made.map(|_| ()).map_err(|e| from_index(&MailboxName::inbox(), &e))
}
