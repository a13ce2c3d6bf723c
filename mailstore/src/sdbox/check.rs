//! What can be wrong with an sdbox mailbox, and putting it right: records against files, files against what they say.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use mailindex::{
    engine::{IndexRemedy, MessageStore, at_rest, inspect, kept_state, set_cache_aside},
    state::State,
};
use mailtypes::{Guid, MailboxName, Uid, UidSet};

use super::{Shared, files::Mails, index, rebuild};
use crate::{
    check::{Finding, FindingKind, Look, mend_index},
    dbox,
    indexed::{IndexedMailbox, MessageFiles, PREFIX, StoredMessage, change, from_index},
    mailbox_list::MailboxDirs,
    traits::{Result, StorageError},
};

/// A message as its file shows it, for telling whether another of its identity is another message.
#[derive(Clone, Copy)]
struct Known {
    uid: Uid,
    body_len: u64,
}

pub(super) fn look(shared: &Arc<Shared>, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let mails = Mails::new(shared, dirs);
    let seen = look.index(dirs)?;
    let Some(state) = seen.state else {
        let uids = mails.uids()?;
        if !uids.is_empty() {
            let what = match seen.is_there {
                true => format!("nothing can be read of the index, and there are {} message files", uids.len()),
                false => format!("there is no index, and there are {} message files", uids.len()),
            };
            let plan = match kept_state(look.env, &mails.index, PREFIX) {
                Ok(Some(kept)) => format!(
                    "give the index back as it is known by its second names (culver.kept.*): {} messages with their \
                     flags and keywords",
                    kept.message_count()
                ),
                _ => {
                    "make the index anew from the message files; flags and keywords are lost with the index".to_owned()
                }
            };
            look.found(Finding::new(FindingKind::Index, &dirs.index, what).plan(plan));
        }
        return Ok(());
    };
    look.identity(dirs, &state, true);
    look.will_look_at(u64::from(state.message_count()));
    let (missing, unknown) = differences(&mails, &state, look)?;
    let perhaps_alt = mails.perhaps_alt(&state, &missing)?;
    for uid in perhaps_alt.iter() {
        let what = "the message was moved to alternate storage, which is missing, empty or not configured";
        let path = mails.alt_path(uid).unwrap_or_else(|| mails.path(uid));
        let finding = Finding::new(FindingKind::Alternate, path, what).of(uid);
        look.found(finding.plan("nothing: the message stays in the index until alternate storage is there"));
    }
    for uid in missing.difference(&perhaps_alt).iter() {
        let what = "the index has the message, and its file is nowhere";
        let finding = Finding::new(FindingKind::BodyMissing, mails.path(uid), what).of(uid);
        look.found(finding.plan("expunge the record, so that clients learn of it"));
    }
    for uid in unknown.iter() {
        let path = mails.path(uid);
        match Mails::open(&mails, uid) {
            Ok(_) => {
                let what = "a whole message that the index does not know: an expunge that was not finished, or a \
                            message that was lost to the index";
                let finding = Finding::new(FindingKind::BodyUnknown, path, what).of(uid);
                look.found(finding.plan("take it in under its UID"));
            }
            Err(StorageError::Corrupt { what, .. }) => {
                let what = format!("no message, and unknown to the index: {what}");
                look.found(Finding::new(FindingKind::Leftover, path, what).of(uid).noted());
            }
            Err(e) => look.unreadable(&path, e),
        }
    }
    look_at_messages(&mails, &state, &missing, look);
    look_at_leftovers(&mails, look)
}

/// How often, and how long, files are waited for that somebody may be about to remove.
const LOOKS_MAX: usize = 4;
const NEXT_LOOK: Duration = Duration::from_millis(100);

/// Records without a file, and files without a record, as they are with nobody at work.
fn differences(mails: &Mails, state: &State, look: &mut Look<'_>) -> Result<(UidSet, UidSet)> {
    let compare = |state: &State| -> Result<(UidSet, UidSet)> {
        let files: UidSet = mails.uids()?.into_iter().collect();
        let (records, asked) = (state.uids(), state.requested_expunges());
        let unknown = files.difference(&records);
        // An expunge that was recorded just now has its file removed next.
        Ok((records.difference(&files).difference(&asked), unknown))
    };
    let (missing, unknown) = compare(state)?;
    if missing.is_empty() && unknown.is_empty() {
        return Ok((missing, unknown));
    }
    let settled = || at_rest(look.env, &mails.index, PREFIX, |state| state.map(compare));
    let (missing, mut unknown) = match settled() {
        Ok(Some(compared)) => compared?,
        Ok(None) | Err(_) => return Ok((missing, unknown)),
    };
    // Dovecot removes what it expunged when it has given the lock back.
    for _ in 0..LOOKS_MAX {
        if unknown.is_empty() {
            break;
        }
        mails.fs().sleep(NEXT_LOOK);
        let Ok(Some(compared)) = settled() else { break };
        unknown = unknown.intersection(&compared?.1);
    }
    Ok((missing, unknown))
}

fn look_at_messages(mails: &Mails, state: &State, missing: &UidSet, look: &mut Look<'_>) {
    let mut by_guid: HashMap<Guid, Known> = HashMap::new();
    for record in state.records_from(0) {
        let uid = record.uid();
        look.step();
        if missing.contains(uid) {
            continue;
        }
        let (message, path) = match mails.open_placed(uid) {
            Ok(found) => found,
            Err(e) => {
                look.bad_body(&mails.path(uid), uid, &e);
                continue;
            }
        };
        let metadata = match message.metadata() {
            Ok(metadata) => metadata,
            Err(e) => {
                look.bad_body(&path, uid, &e.at(&path));
                continue;
            }
        };
        if let Some(guid) = metadata.guid().filter(|guid| !guid.is_zero()) {
            let known = Known { uid, body_len: message.body_len() };
            // Copies in one mailbox have one identity.
            let first = *by_guid.entry(guid).or_insert(known);
            if first.body_len != known.body_len {
                let what = format!("it has the GUID of UID {} and is another message ({guid})", first.uid);
                look.found(Finding::new(FindingKind::GuidConflict, &path, what).of(uid).noted());
            }
        }
        // What does not decode any more is not the size's fault.
        if look.deep && (look.checksum(&path, uid, &message, &metadata) || metadata.physical_size().is_none()) {
            match stored(mails, state, uid) {
                Ok(stored) => look.body(&path, uid, &*stored),
                Err(e) => look.bad_body(&path, uid, &e),
            }
        }
    }
}

fn stored(mails: &Mails, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
    MessageFiles::open(mails, state, uid)
}

fn look_at_leftovers(mails: &Mails, look: &mut Look<'_>) -> Result<()> {
    for path in mails.old_temps()? {
        let what = "a message on its way in that nobody finished; whoever sent it was told so";
        look.found(Finding::new(FindingKind::Leftover, path, what).plan("remove it"));
    }
    Ok(())
}

/// Index first, then the files: a message is made anew before its record would be taken for lost.
pub(super) fn mend(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
    let mails = Arc::new(Mails::new(shared, dirs));
    let of = |kind: FindingKind| {
        let uids = found.iter().filter(move |finding| finding.is_problem() && finding.kind == kind);
        uids.filter_map(|finding| finding.uid).collect::<UidSet>()
    };
    let is_damaged = |finding: &&Finding| {
        finding.is_problem() && matches!(finding.kind, FindingKind::BodyDamaged | FindingKind::SizeWrong)
    };
    // In either storage; one file may be damaged in more ways than one.
    let damaged: BTreeSet<&Path> = found.iter().filter(is_damaged).map(|finding| &*finding.path).collect();
    let mut made_anew = false;
    for path in damaged {
        match dbox::salvage(&**mails.fs(), path) {
            Ok(_) => made_anew = true,
            Err(e) => tracing::warn!(mailbox = %name, "{}, damaged, was not made anew: {e}", path.display()),
        }
    }
    if made_anew {
        // It holds what the damaged ones were.
        set_cache_aside(&shared.env, &mails.index, PREFIX).map_err(|e| from_index(name, &e))?;
    }
    // Before an index is made of what is left: what was lost may be there by second names, mod-sequences included.
    index::restore(name, &mails)?;
    let needs_rebuild = mend_index(&shared.env, name, dirs, &(Arc::clone(&mails) as Arc<dyn MessageStore>))?;
    if needs_rebuild || is_marked(found) || are_unknown(&mails, &of(FindingKind::BodyUnknown), name)? {
        rebuild::rebuild(name, &mails)?;
    }
    let missing = of(FindingKind::BodyMissing);
    // Whoever opens it gives it what it lacks.
    let opened = index::open(shared, name, dirs)?;
    if !missing.is_empty() {
        expunge(name, &mails, &opened, missing)?;
    }
    mails.clean_temps()?;
    Ok(())
}

/// Whether the index does not know some of these messages yet: one that was put right knows what a damaged one did not.
fn are_unknown(mails: &Mails, uids: &UidSet, name: &MailboxName) -> Result<bool> {
    if uids.is_empty() {
        return Ok(false);
    }
    let seen = inspect(&mails.shared.env, &mails.index, PREFIX).map_err(|e| from_index(name, &e))?;
    Ok(seen.state.is_none_or(|state| !uids.difference(&state.uids()).is_empty()))
}

/// Whether a finding about the index asks for the messages to be gone over.
fn is_marked(found: &[Finding]) -> bool {
    let rebuild = IndexRemedy::Rebuild.text();
    found.iter().any(|finding| finding.kind == FindingKind::Index && finding.plan == rebuild)
}

/// Expunges records whose files are still not there when the log is locked.
fn expunge(name: &MailboxName, mails: &Arc<Mails>, opened: &IndexedMailbox, missing: UidSet) -> Result<()> {
    let there = Arc::clone(mails);
    let index = opened.indexed().index.clone();
    change(name, &index, move |at| {
        let gone = |uid: &Uid| matches!(Mails::open(&there, *uid), Err(StorageError::Expunged { .. }));
        let uids: UidSet = missing.iter().filter(gone).collect();
        at.expunge(&uids);
    })
    .map(|_| ())
}
