//! Who failed to log in waits before he may try again, the longer the more often he failed, as Dovecot's `auth-penalty`
//! does it: by address, each wrong pair of name and password counted once, forgotten after a while or after a success.
//!
//! The table is bounded: where it is full, those who failed longest ago are forgotten first.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Wrong pairs of one address that are remembered, so that a client that tries the same again and again waits no longer
/// for it.
const REMEMBERED_ATTEMPTS: usize = 8;

/// How penalties grow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PenaltyOptions {
    /// The wait after the first failure; twice as long after each next.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// After so long without a failure all is forgotten.
    pub forget_after: Duration,
    /// Most addresses that are remembered.
    pub addresses_max: usize,
}

/// What is known of addresses.
#[derive(Debug)]
pub(crate) struct Penalties {
    options: PenaltyOptions,
    hasher: RandomState,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    attempts: [u64; REMEMBERED_ATTEMPTS],
}

impl Penalties {
    pub(crate) fn new(options: PenaltyOptions) -> Self {
        Self { options, hasher: RandomState::new(), addresses: Mutex::default() }
    }

    /// How long this address is to wait before its next attempt is looked at.
    pub(crate) fn wait(&self, address: Option<IpAddr>) -> Duration {
        let Some(address) = address.and_then(counted) else { return Duration::ZERO };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failures) = addresses.get(&address) else { return Duration::ZERO };
        if failures.last.elapsed() >= self.options.forget_after {
            addresses.remove(&address);
            return Duration::ZERO;
        }
        // 31 doublings are more than any wait.
        let doublings = failures.count.saturating_sub(1).min(31);
        self.options.first.saturating_mul(1 << doublings).min(self.options.longest)
    }

    /// Counts a failure, unless the same was counted before.
    pub(crate) fn add(&self, address: Option<IpAddr>, name: &str, password: &[u8]) {
        let Some(address) = address.and_then(counted) else { return };
        let attempt = self.hasher.hash_one((name, password));
        let now = Instant::now();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= self.options.addresses_max && !addresses.contains_key(&address) {
            self.make_room(&mut addresses, now);
        }
        let failures = addresses.entry(address).or_insert(Failures { count: 0, last: now, attempts: [0; _] });
        if now - failures.last >= self.options.forget_after {
            *failures = Failures { count: 0, last: now, attempts: [0; _] };
        }
        failures.last = now;
        if failures.count > 0 && failures.attempts.contains(&attempt) {
            return;
        }
        failures.attempts.rotate_right(1);
        failures.attempts[0] = attempt;
        failures.count = failures.count.saturating_add(1);
    }

    /// Forgets an address that has logged in.
    pub(crate) fn forget(&self, address: Option<IpAddr>) {
        if let Some(address) = address.and_then(counted) {
            self.addresses.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        }
    }

    /// Forgets what is over, and at least a quarter, so that this walk is rare.
    fn make_room(&self, addresses: &mut HashMap<IpAddr, Failures>, now: Instant) {
        addresses.retain(|_, failures| now - failures.last < self.options.forget_after);
        let keep = self.options.addresses_max - self.options.addresses_max / 4;
        if addresses.len() < keep.max(1) {
            return;
        }
        let mut times: Vec<_> = addresses.values().map(|failures| failures.last).collect();
        times.sort_unstable();
        if let Some(&oldest) = times.get(addresses.len() - keep.min(addresses.len())) {
            addresses.retain(|_, failures| failures.last > oldest);
        }
    }
}

/// The address that counts: of IPv6 the network, as a host has as many addresses there as it likes. None for this
/// machine: there one bad program would make all others wait.
fn counted(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalties() -> Penalties {
        Penalties::new(PenaltyOptions {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(15),
            forget_after: Duration::from_secs(120),
            addresses_max: 8,
        })
    }

    fn waits(penalties: &Penalties, address: Option<IpAddr>, attempts: u32) -> Vec<u64> {
        let mut wait = |attempt: u32| {
            penalties.add(address, "ann", &attempt.to_be_bytes());
            penalties.wait(address).as_secs()
        };
        (0..attempts).map(&mut wait).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_are_forgotten() {
        let penalties = penalties();
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(penalties.wait(address), Duration::ZERO);
        assert_eq!(waits(&penalties, address, 6), [2, 4, 8, 15, 15, 15]);
        assert_eq!(penalties.wait(Some(IpAddr::from([192, 0, 2, 2]))), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(121)).await;
        assert_eq!(penalties.wait(address), Duration::ZERO);
        assert_eq!(waits(&penalties, address, 1), [2]);
        penalties.forget(address);
        assert_eq!(penalties.wait(address), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_mistake_counts_once_and_this_machine_never() {
        let penalties = penalties();
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..5 {
            penalties.add(address, "ann", b"old password");
        }
        assert_eq!(penalties.wait(address).as_secs(), 2);
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(waits(&penalties, local, 3), [0, 0, 0]);
        assert_eq!(waits(&penalties, None, 3), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_host_of_ipv6_is_one() {
        let penalties = penalties();
        let address = |last| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
        penalties.add(address(1), "ann", b"x");
        assert_eq!(penalties.wait(address(2)).as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_forgets_the_oldest() {
        let penalties = penalties();
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        for last in 0..100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            penalties.add(address(last), "ann", b"x");
            assert!(penalties.addresses.lock().unwrap().len() <= 8);
        }
        assert_eq!(penalties.wait(address(0)), Duration::ZERO);
        assert_eq!(penalties.wait(address(99)).as_secs(), 2);
    }
}
