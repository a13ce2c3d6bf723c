//! Mailboxes that were converted and have another name in the source now.

use mailtypes::MailboxName;

use super::run::{Found, Run, There};
use crate::traits::{Result, StorageError};

/// What a mailbox is called whose new name is still another's.
const ASIDE: &str = "culver-convert-";

impl Run<'_> {
    /// Renames in the destination what was renamed in the source.
    pub(super) fn rename(&mut self, found: &mut [Found]) -> Result<()> {
        // Ancestors first: what lies below them goes along.
        found.sort_by(|a, b| (!a.name.is_inbox(), &a.to).cmp(&(!b.name.is_inbox(), &b.to)));
        let mut aside = Vec::new();
        for at in 0..found.len() {
            let Some(one) = found.get(at).cloned() else { continue };
            let Some(now) = self.is_called(&one) else { continue };
            if self.there.contains_key(&one.to) {
                // Its new name is taken, by one that may be renamed too.
                let taken_over = found.iter().any(|other| self.is_called(other).is_some_and(|name| name == one.to));
                if !taken_over {
                    continue;
                }
                let Ok(name) = MailboxName::new(&format!("{ASIDE}{}", one.identity.guid)) else { continue };
                self.rename_one(&now, &name)?;
                aside.push((at, now));
            } else if self.rename_one(&now, &one.to)?
                && let Some(one) = found.get_mut(at)
            {
                one.renamed_from = Some(now);
            }
        }
        for (at, before) in aside {
            let Some(one) = found.get(at).cloned() else { continue };
            let Some(now) = self.is_called(&one) else { continue };
            if !self.there.contains_key(&one.to)
                && self.rename_one(&now, &one.to)?
                && let Some(one) = found.get_mut(at)
            {
                one.renamed_from = Some(before);
            }
        }
        Ok(())
    }

    /// The name that a mailbox of the source has in the destination, where that is not the one it is to have.
    fn is_called(&self, found: &Found) -> Option<MailboxName> {
        let is_same = |there: &There| there.identity == found.identity;
        if found.to.is_inbox() || self.there.get(&found.to).is_some_and(is_same) {
            return None;
        }
        let name = self.there.iter().find(|(name, there)| is_same(there) && !name.is_inbox()).map(|(name, _)| name);
        name.cloned()
    }

    /// Renames with all below it; tells whether that was possible.
    fn rename_one(&mut self, from: &MailboxName, to: &MailboxName) -> Result<bool> {
        if to.is_below(from) {
            return Ok(false);
        }
        if !self.options.dry_run {
            match self.destination.rename(from, to) {
                Ok(()) => {}
                // A level is in the way, or a name below would be too long: it is converted under its new name, and
                // what bears the old one stays.
                Err(
                    StorageError::AlreadyExists(_) | StorageError::InvalidName { .. } | StorageError::NotPossible(_),
                ) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let moved: Vec<_> =
            self.there.keys().filter_map(|name| Some((name.clone(), name.rebased(from, to)?))).collect();
        for (old, new) in moved {
            let Some(mut there) = self.there.remove(&old) else { continue };
            if !self.options.dry_run {
                there.name = new.clone();
                self.journal.renamed(there.identity.guid, &new)?;
            }
            self.there.insert(new, there);
        }
        Ok(true)
    }
}
