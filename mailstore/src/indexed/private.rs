//! A user's own index of a mailbox that others read too (`docs/formats/index.md`, The private index; Dovecot's
//! `INDEXPVT=`): what he has read is in it, all other flags are everybody's.
//!
//! # Invariants
//!
//! 1. `\Seen` as the shared log has it is nobody's: it is shown to those who have no index of their own, and is what a new
//!    one begins with. Whoever has one neither sets nor removes it there.
//! 2. A message whose private flags change gets a new mod-sequence in the shared log. That comes first: a crash between
//!    leaves a message told as changed that is not.
//! 3. What is damaged costs what stood in the damage: the rest is taken over into a new one. Only one that is lost begins
//!    anew with what the shared log has.
//!    Where its files are lost it comes back by their second names (`docs/decisions/second-names.md`).
//! 4. UIDs ascend in it as in the shared one; it may lack the last ones, which are unseen, and have such as are gone.
//!    Both are put right when it is written.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use mailfs::{FileSystemExt, Wake};
use mailindex::{
    engine::{
        self, CommitPoint, Completion, Env, IndexError, IndexRemedy, IndexWatch, MailboxIndex, MessageStore,
        RebuildMessage,
    },
    log::{FlagChange as LogFlagChange, Origin, Transaction},
    state::{RawIndexHeader, RecordRef, State},
};
use mailtypes::{Flag, Flags, Guid, MailboxName, Uid, UidSet};

use super::{PREFIX, change::begin_messages, from_index, records};
use crate::{
    check::{Finding, FindingKind, Look},
    mailbox_list::{MailboxDirs, Rights},
    traits::{FlagAction, FlagChange, Freshness, Result, StorageError},
};

/// What the names of its files begin with.
pub(crate) const PRIVATE_PREFIX: &str = "dovecot.index.pvt";

/// The flag that is each user's own.
const OWN: Flag = Flag::Seen;

/// The flags that are each user's own.
pub(super) fn own_flags() -> Flags {
    Flags::from(OWN)
}

/// How often it is looked at again after something was done about it.
const OPEN_TRIES_MAX: usize = 4;

/// There are no bodies to remove.
struct NoBodies;

impl MessageStore for NoBodies {
    fn remove(&self, _: &State, _: &UidSet) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    fn index_is_sole_record(&self) -> bool {
        true
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Private {
    name: MailboxName,
    index: Arc<MailboxIndex>,
    /// A shared state, the private one that it was shown with, and what was shown.
    shown: Mutex<Option<[State; 3]>>,
}

impl Private {
    /// That of a mailbox which is open, if its user is to have one; made if it is not there yet.
    pub(crate) fn of(
        env: &Env,
        name: &MailboxName,
        dirs: &MailboxDirs,
        shared: &MailboxIndex,
    ) -> Result<Option<Arc<Self>>> {
        let Some(dir) = &dirs.private else { return Ok(None) };
        let state = shared.state();
        for _ in 0..OPEN_TRIES_MAX {
            match MailboxIndex::open(env, dir, PRIVATE_PREFIX, Arc::new(NoBodies)) {
                Ok(index) if index.state().uid_validity() == state.uid_validity() => {
                    return Ok(Some(Arc::new(Self { name: name.clone(), index, shown: Mutex::default() })));
                }
                // Of another mailbox that had this name, or damaged.
                Ok(_) | Err(IndexError::NeedsRebuild { .. } | IndexError::Corrupt(_) | IndexError::Deleted { .. }) => {
                    make_anew(env, dir, &state).map_err(|e| from_index(name, &e))?;
                }
                Err(IndexError::NotFound { .. })
                    if engine::restore_lost(env, dir, PRIVATE_PREFIX).map_err(|e| from_index(name, &e))? => {}
                Err(IndexError::NotFound { .. }) => {
                    make_dir(env, dir)?;
                    let mut first = identity(&state);
                    messages(&state, None).iter().for_each(|message| first.append(message.uid, message.flags));
                    match MailboxIndex::create(env, dir, PRIVATE_PREFIX, Arc::new(NoBodies), &first) {
                        Ok(_) => {}
                        Err(IndexError::Fs(e)) if e.is_already_exists() => {}
                        Err(e) => return Err(from_index(name, &e)),
                    }
                }
                Err(e) => return Err(from_index(name, &e)),
            }
        }
        Err(StorageError::Unavailable(
            format!("the user's own index of {name} changes faster than it can be opened").into(),
        ))
    }

    /// The mailbox as its user sees it.
    pub(super) fn shown(&self, shared: State) -> Result<State> {
        let own = self.index.refresh().map_err(|e| from_index(&self.name, &e))?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some([before, with, shown]) = &*shown
            && before.ptr_eq(&shared)
            && with.ptr_eq(&own)
        {
            return Ok(shown.clone());
        }
        let merged = shared.with_flags_of(&own, own_flags().into());
        *shown = Some([shared, own, merged.clone()]);
        Ok(merged)
    }

    /// Whether [`Private::shown`] would tell the same, as far as can be told without a system call.
    pub(super) fn freshness(&self) -> Freshness {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match shown.as_ref().and_then(|[_, own, _]| own.position()).map(|at| self.index.freshness(at)) {
            Some(engine::Freshness::Same) => Freshness::Same,
            Some(engine::Freshness::Changed) => Freshness::Changed,
            Some(engine::Freshness::Unknown) | None => Freshness::Unknown,
        }
    }

    pub(super) fn watch(&self, wake: Wake) -> Result<IndexWatch> {
        self.index.watch(wake).map_err(|e| from_index(&self.name, &e))
    }

    /// Has a change written. `shared`: the mailbox after it.
    pub(super) fn begin(&self, change: PrivateChange, shared: State) -> Completion<Result<((), State)>> {
        begin_messages(&self.name, &self.index, move |at| write(at, &change, &shared))
    }
}

/// What a new one begins with, beside messages.
fn identity(shared: &State) -> Transaction {
    let mut first = Transaction::new();
    let uid_validity = shared.uid_validity().map_or(0, |uid_validity| uid_validity.value());
    first.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.to_le_bytes());
    first.header_update(RawIndexHeader::NEXT_UID, &shared.next_uid().value().to_le_bytes());
    first
}

/// Messages as a new one has them that knows nothing of them. `own`: what is left of the one before, which has not lost the
/// messages that it never had: nobody has read those.
fn messages(shared: &State, own: Option<&State>) -> Vec<RebuildMessage> {
    let is_read =
        |record: &RecordRef<'_>| record.flags().contains(OWN) && own.is_none_or(|own| record.uid() < own.next_uid());
    let message = |record: RecordRef<'_>| {
        let flags = if is_read(&record) { own_flags() } else { Flags::NONE };
        RebuildMessage { uid: record.uid(), flags: flags.into() }
    };
    shared.records_from(0).map(message).collect()
}

/// Makes one anew in the place of what is damaged or another mailbox's, with what can be read of it if it is this one's.
fn make_anew(env: &Env, dir: &Path, shared: &State) -> engine::Result<()> {
    let left = engine::inspect(env, dir, PRIVATE_PREFIX)?.state;
    let own = left.filter(|own| own.uid_validity() == shared.uid_validity());
    if own.is_some() {
        tracing::warn!(dir = %dir.display(), "a user's own index is made anew from what is left of it");
    }
    engine::rebuild(env, dir, PRIVATE_PREFIX, &messages(shared, own.as_ref()), own.as_ref(), identity(shared))
}

/// Looks a user's own index of a mailbox over, if he has one.
pub(crate) fn look_at_private(dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let Some(dir) = &dirs.private else { return Ok(()) };
    if look.index_at(dir, PRIVATE_PREFIX, FindingKind::Index)?.is_there {
        return Ok(());
    }
    // That he has none is no news: it is made when he opens the mailbox.
    let Ok(Some(kept)) = engine::kept_state(look.env, dir, PRIVATE_PREFIX) else { return Ok(()) };
    let shared = engine::inspect(look.env, &dirs.index, PREFIX).ok().and_then(|seen| seen.state);
    if shared.is_some_and(|shared| shared.uid_validity() == kept.uid_validity()) {
        let what = "the user's own index is lost, and with it which messages he has read";
        let plan = format!(
            "give it back as it is known by its second names (culver.kept.*): of {} messages {} are read",
            kept.message_count(),
            kept.seen_count()
        );
        look.found(Finding::new(FindingKind::Index, dir, what).plan(plan));
    }
    Ok(())
}

/// Does what the findings of [`look_at_private`] plan.
pub(crate) fn mend_private(env: &Env, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
    let Some(dir) = &dirs.private else { return Ok(()) };
    mend_in(env, dir, &dirs.index).map_err(|e| from_index(name, &e))
}

fn mend_in(env: &Env, dir: &Path, of_shared: &Path) -> engine::Result<()> {
    engine::restore_lost(env, dir, PRIVATE_PREFIX)?;
    let needs_rebuild = match engine::recover(env, dir, PRIVATE_PREFIX, Arc::new(NoBodies)) {
        Ok(recovered) => recovered.needs_rebuild,
        Err(IndexError::NeedsRebuild { .. }) => true,
        // It begins anew when he opens the mailbox.
        Err(IndexError::NotFound { .. }) => return Ok(()),
        Err(e) => return Err(e),
    };
    let seen = engine::inspect(env, dir, PRIVATE_PREFIX)?;
    let is_to_be_made_anew = seen.findings.iter().any(|found| found.remedy == IndexRemedy::Rebuild);
    if !needs_rebuild && !is_to_be_made_anew {
        return engine::mend(env, dir, PRIVATE_PREFIX, &seen).map(|_| ());
    }
    match engine::inspect(env, of_shared, PREFIX)?.state {
        Some(shared) => make_anew(env, dir, &shared),
        // Without it nobody knows which messages there are.
        None => Ok(()),
    }
}

fn make_dir(env: &Env, dir: &Path) -> Result<()> {
    let fs = &**env.fs();
    let above = dir.ancestors().skip(1).find(|above| fs.is_dir(above).is_ok_and(|is_dir| is_dir));
    Ok(Rights::of(fs, above.unwrap_or(dir))?.create_dirs(fs, dir)?)
}

/// What is to be written into it.
#[derive(Debug, Default)]
pub(super) struct PrivateChange {
    set: UidSet,
    removed: UidSet,
}

impl PrivateChange {
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// A message comes to be with these flags.
    pub(super) fn saved(&mut self, uid: Uid, flags: Flags) {
        if flags.contains(OWN) {
            self.set.insert(uid);
        }
    }

    /// A change of flags of messages as they are shown, but for those that are left alone; tells for which it is one.
    pub(super) fn note(&mut self, change: &FlagChange, shown: &State, left_alone: &UidSet) -> UidSet {
        let names_it = change.flags.contains(OWN);
        let is_to_be = match change.action {
            FlagAction::Add if names_it => true,
            FlagAction::Remove if names_it => false,
            FlagAction::Add | FlagAction::Remove => return UidSet::new(),
            FlagAction::Replace => names_it,
        };
        let mut changed = UidSet::new();
        for record in records(shown, &change.uids) {
            let uid = record.uid();
            let was = self.set.contains(uid) || record.flags().contains(OWN) && !self.removed.contains(uid);
            if was != is_to_be && !left_alone.contains(uid) {
                changed.insert(uid);
            }
        }
        let (to, from) = if is_to_be { (&mut self.set, &mut self.removed) } else { (&mut self.removed, &mut self.set) };
        *to = to.union(&changed);
        *from = from.difference(&changed);
        changed
    }
}

fn write(at: &mut CommitPoint<'_>, change: &PrivateChange, shared: &State) {
    let own = at.state().clone();
    if own.uid_validity() != shared.uid_validity() {
        // Another incarnation's by now.
        return;
    }
    let (have, there) = (own.uids(), shared.uids());
    // What came behind `shared` another one of the user's sessions has told.
    let settled = |uid: &Uid| *uid < shared.next_uid();
    let gone: Vec<_> = have.difference(&there).iter().filter(settled).collect();
    let kept = have.intersection(&there);
    let to = at.transaction();
    for uid in there.difference(&have).iter().filter(|uid| *uid >= own.next_uid()) {
        let flags = if change.set.contains(uid) { own_flags() } else { Flags::NONE };
        to.append(uid, flags);
    }
    to.flags(&change.set.intersection(&kept), LogFlagChange::add(own_flags()), Origin::External);
    to.flags(&change.removed.intersection(&kept), LogFlagChange::remove(own_flags()), Origin::External);
    to.expunge_done(gone.into_iter().map(|uid| (uid, Guid::ZERO)));
    if shared.next_uid() > own.next_uid() {
        to.header_update(RawIndexHeader::NEXT_UID, &shared.next_uid().value().to_le_bytes());
    }
}
