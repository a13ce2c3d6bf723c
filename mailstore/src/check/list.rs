//! What concerns a store as a whole: subscriptions, the numbers that UIDVALIDITY comes from, Dovecot's cache of the list,
//! what was left behind.

use mailfs::FileSystemExt;
use mailindex::engine::{self, IndexError};
use mailtypes::UidValidity;

use super::{Finding, FindingKind, Look};
use crate::{
    mailbox_list::{self, Format, LIST_INDEX_PREFIX, Placed, leftovers, list_index_store, uid_validity},
    traits::{Result, StorageError},
};

pub(super) fn look(format: &dyn Format, highest: Option<UidValidity>, look: &mut Look<'_>) -> Result<()> {
    subscriptions(format, look);
    uid_validities(format, highest, look)?;
    look.index_at(format.layout().index(), LIST_INDEX_PREFIX, FindingKind::ListIndex)?;
    unlisted(format, look)?;
    for path in leftovers(&**format.env().fs(), format.layout())? {
        let what = "it was left by one who died while he made or removed a mailbox";
        look.found(Finding::new(FindingKind::Leftover, path, what).plan("remove it"));
    }
    Ok(())
}

pub(super) fn mend(format: &dyn Format, highest: Option<UidValidity>, found: &[Finding]) -> Result<()> {
    let has = |kind: FindingKind| found.iter().any(|finding| finding.is_problem() && finding.kind == kind);
    if has(FindingKind::Subscriptions) {
        format.subscriptions().mend()?;
    }
    if has(FindingKind::UidValidity)
        && let Some(highest) = highest
    {
        uid_validity::raise(&**format.env().fs(), format.layout().control(), highest)?;
    }
    if has(FindingKind::ListIndex) {
        mend_list_index(format)?;
    }
    if has(FindingKind::Leftover) {
        crate::mailbox_list::clean_leftovers(format)?;
    }
    Ok(())
}

fn subscriptions(format: &dyn Format, look: &mut Look<'_>) {
    let subscriptions = format.subscriptions();
    match subscriptions.read() {
        Ok(_) => {}
        Err(StorageError::Corrupt { path, offset, what }) => {
            let what = format!("{what}; nobody can read any subscription before this is put right");
            let plan = "keep the file under another name, and take over every line that is a name";
            look.found(Finding::new(FindingKind::Subscriptions, path, what).at(offset).plan(plan));
        }
        Err(e) => look.unreadable(subscriptions.path(), e),
    }
}

fn uid_validities(format: &dyn Format, highest: Option<UidValidity>, look: &mut Look<'_>) -> Result<()> {
    let (fs, control) = (&**format.env().fs(), format.layout().control());
    let Some(last) = uid_validity::last_given(fs, control)? else { return Ok(()) };
    if let Some(highest) = highest.filter(|highest| highest.value() > last) {
        let what = format!(
            "the last UIDVALIDITY given is said to be {last}, and a mailbox has {}: a new mailbox could get one that \
             another of its name has had",
            highest.value()
        );
        let finding = Finding::new(FindingKind::UidValidity, uid_validity::numbered_path(control, last), what);
        look.found(finding.plan("raise the number"));
    }
    Ok(())
}

/// Mailboxes and names that have lost each other, where names are in the list index alone.
fn unlisted(format: &dyn Format, look: &mut Look<'_>) -> Result<()> {
    if !format.layout().is_by_guid() {
        return Ok(());
    }
    for Placed { name, dirs, is_unlisted } in mailbox_list::seen(format)? {
        if is_unlisted {
            let what = "no name leads to this mailbox: nobody sees it";
            let plan = format!("put it into the list again, as {name}");
            look.found(Finding::new(FindingKind::ListIndex, dirs.mail, what).plan(plan));
        } else if !format.env().fs().is_dir(&dirs.mail)? {
            let what = format!("the folder that the name {name} leads to is gone");
            let plan = "nothing: put the folder back, or delete the mailbox";
            look.found(Finding::new(FindingKind::ListIndex, dirs.mail, what).plan(plan));
        }
    }
    Ok(())
}

/// All that stands in it can be found again, by Dovecot too, unless it is where names are.
fn mend_list_index(format: &dyn Format) -> Result<()> {
    if format.layout().is_by_guid() {
        return mailbox_list::recover(format).map(|_| ());
    }
    let (env, dir) = (format.env(), format.layout().index());
    match engine::recover(env, dir, LIST_INDEX_PREFIX, list_index_store()) {
        Ok(recovered) if !recovered.needs_rebuild => {
            let seen = engine::inspect(env, dir, LIST_INDEX_PREFIX).map_err(io)?;
            engine::mend(env, dir, LIST_INDEX_PREFIX, &seen).map_err(io)?;
        }
        Ok(_) | Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {
            engine::set_aside(env, dir, LIST_INDEX_PREFIX).map_err(io)?;
        }
        Err(e) => return Err(io(e)),
    }
    Ok(())
}

fn io(error: IndexError) -> StorageError {
    match error {
        IndexError::Fs(e) => e.into(),
        other => StorageError::Io((&other).into()),
    }
}
