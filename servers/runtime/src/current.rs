//! The limits that hold now, which a reload changes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Limits;

/// The limits that hold now. Cheap to clone; all clones see a change.
#[derive(Clone, Debug)]
pub struct CurrentLimits {
    limits: Arc<ArcSwap<Limits>>,
}

impl CurrentLimits {
    /// These hold first.
    pub fn new(limits: Limits) -> Self {
        Self { limits: Arc::new(ArcSwap::from_pointee(limits)) }
    }

    /// Those that hold now. A session keeps the ones it began with.
    pub fn load(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Others hold from now on.
    pub fn store(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }
}
