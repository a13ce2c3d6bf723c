//! What an administrator does meanwhile to a storage that has more than its messages: purge, and moves to the alternate
//! storage and back.

use std::{
    collections::BTreeMap,
    path::Path,
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

/// What `doveadm` says of a mailbox that is elsewhere by the time it comes to it.
const RENAMED: &str = "Mailbox doesn't exist";

pub(super) struct Upkeep<'r> {
    store: &'r SharedStore,
    /// Culver, if it takes part.
    program: Option<&'r Path>,
    dovecot: &'r Dovecot,
    /// What can be done; not empty.
    kinds: &'static [Maintenance],
}

impl<'r> Upkeep<'r> {
    /// None for formats that need none.
    pub(super) fn of(store: &'r SharedStore, servers: &'r Servers, program: &'r Path) -> Option<Self> {
        let kinds = Maintenance::of(store.format());
        let program = (!servers.culvers.is_empty()).then_some(program);
        (!kinds.is_empty()).then_some(Self { store, program, dovecot: &servers.dovecot, kinds })
    }

    pub(super) fn run(self, seed: u64, deadline: Instant) -> anyhow::Result<BTreeMap<&'static str, u32>> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(998));
        let mut done = BTreeMap::new();
        while Instant::now() < deadline {
            let what = self.kinds[rng.usize(..self.kinds.len())];
            match what.perform(&mut rng, self.store, self.program, self.dovecot) {
                Ok(what) => *done.entry(what).or_default() += 1,
                // It goes over all mailboxes, and somebody renames one meanwhile.
                Err(error) if error.to_string().trim_end().lines().all(|line| line.contains(RENAMED)) => {
                    *done.entry("upkeep that did not find a mailbox").or_default() += 1;
                }
                Err(error) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(rng.u64(..REST_MAX_MS)));
        }
        Ok(done)
    }
}
