//! Names that were changed and are not durable yet.
//!
//! Who syncs pays what was owed when the sync began, and only after it: a commit that looks meanwhile must not take names
//! for durable that are not.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. Counts changes; what was synced is a count, too.
#[derive(Debug, Default)]
pub(super) struct Debt {
    owed: AtomicU64,
    paid: AtomicU64,
}

impl Debt {
    /// A name was changed, or seen that another has changed.
    pub(super) fn owe(&self) {
        self.owed.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn is_owed(&self) -> bool {
        self.paid.load(Ordering::Acquire) < self.owed.load(Ordering::Acquire)
    }

    /// Syncs, if anything is owed.
    pub(super) fn pay<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let owed = self.owed.load(Ordering::Acquire);
        if self.paid.load(Ordering::Acquire) < owed {
            sync()?;
            self.paid.fetch_max(owed, Ordering::AcqRel);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_owed_until_it_is_synced() {
        let debt = Debt::default();
        assert!(!debt.is_owed());
        debt.owe();
        let during = debt.pay(|| if debt.is_owed() { Ok(()) } else { Err("paid before it was synced") });
        assert_eq!((during, debt.is_owed()), (Ok(()), false));
        debt.owe();
        assert_eq!((debt.pay(|| Err("full")), debt.is_owed()), (Err("full"), true));
        let while_synced = debt.pay(|| {
            debt.owe();
            Ok::<_, ()>(())
        });
        assert_eq!((while_synced, debt.is_owed()), (Ok(()), true));
    }
}
