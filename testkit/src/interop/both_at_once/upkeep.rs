//! What an administrator does meanwhile to a storage that has more than its messages: purge, and moves to the alternate
//! storage and back.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::Servers;
use crate::{
    dovecot::Dovecot,
    interop::{SharedStore, maintenance::Maintenance},
};

/// How long it rests between two of them, at most, in milliseconds.
const REST_MAX_MS: u64 = 1_500;

pub(super) struct Upkeep<'r> {
    dovecot: &'r Dovecot,
    /// What can be done; not empty.
    kinds: &'static [Maintenance],
}

impl<'r> Upkeep<'r> {
    /// None for formats that need none.
    pub(super) fn of(store: &SharedStore, servers: &'r Servers) -> Option<Self> {
        let kinds = Maintenance::of(store.format());
        (!kinds.is_empty()).then_some(Self { dovecot: &servers.dovecot, kinds })
    }

    pub(super) fn run(self, seed: u64, deadline: Instant) -> anyhow::Result<BTreeMap<&'static str, u32>> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(998));
        let mut done = BTreeMap::new();
        while Instant::now() < deadline {
            let what = self.kinds[rng.usize(..self.kinds.len())];
            what.by_dovecot(self.dovecot)?;
            *done.entry(what.name()).or_default() += 1;
            std::thread::sleep(Duration::from_millis(rng.u64(..REST_MAX_MS)));
        }
        Ok(done)
    }
}
