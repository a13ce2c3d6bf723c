//! How many connections there are: in all, from one address, of one user.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{Limits, UserName};

/// Counts connections and refuses those above a limit. Shared by the listeners of one protocol. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    shared: Arc<Shared>,
}

const LIMIT_NAMES: [&str; 3] = ["connections_max", "connections_per_address_max", "connections_per_user_max"];
const TOTAL: usize = 0;
const PER_ADDRESS: usize = 1;
const PER_USER: usize = 2;

#[derive(Debug, Default)]
struct Shared {
    limits: [AtomicUsize; 3],
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
    users: HashMap<UserName, usize>,
}

/// A limit of connections was met.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("limit {name} ({limit}) exceeded")]
pub struct TooManyConnections {
    /// The limit's name in the configuration.
    pub name: &'static str,
    /// Its value.
    pub limit: usize,
}

/// A connection that was let in; dropping it makes room.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Connections,
    address: Option<IpAddr>,
}

/// A user's connection that was let in; dropping it makes room.
#[derive(Debug)]
pub struct UserPermit {
    connections: Connections,
    user: UserName,
}

impl Connections {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        let connections = Self { shared: Arc::default() };
        connections.set_limits(limits);
        connections
    }

    /// Other limits hold from now on; whoever is there already stays.
    pub fn set_limits(&self, limits: &Limits) {
        let limits = [limits.connections_max, limits.connections_per_address_max, limits.connections_per_user_max];
        for (held, limit) in self.shared.limits.iter().zip(limits) {
            held.store(limit, Ordering::Relaxed);
        }
    }

    fn limit(&self, which: usize) -> (&'static str, usize) {
        let limit = self.shared.limits.get(which).map_or(0, |limit| limit.load(Ordering::Relaxed));
        (LIMIT_NAMES.get(which).copied().unwrap_or_default(), limit)
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.with_counts(|counts| counts.total)
    }

    /// Lets a connection in. One without an address (a pipe, a local socket) counts in the total only.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<ConnectionPermit, TooManyConnections> {
        let (total, per_address) = (self.limit(TOTAL), self.limit(PER_ADDRESS));
        self.with_counts(|counts| {
            check(counts.total, total)?;
            if let Some(address) = address {
                add(&mut counts.addresses, address, per_address)?;
            }
            counts.total += 1;
            Ok(ConnectionPermit { connections: self.clone(), address })
        })
    }

    /// Lets a user in who has just logged in.
    pub fn log_in(&self, user: &UserName) -> Result<UserPermit, TooManyConnections> {
        let per_user = self.limit(PER_USER);
        self.with_counts(|counts| add(&mut counts.users, user.clone(), per_user))?;
        Ok(UserPermit { connections: self.clone(), user: user.clone() })
    }

    fn with_counts<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn check(count: usize, (name, limit): (&'static str, usize)) -> Result<(), TooManyConnections> {
    if count < limit { Ok(()) } else { Err(TooManyConnections { name, limit }) }
}

fn add<K: Eq + Hash>(
    counts: &mut HashMap<K, usize>,
    key: K,
    limit: (&'static str, usize),
) -> Result<(), TooManyConnections> {
    check(counts.get(&key).copied().unwrap_or(0), limit)?;
    *counts.entry(key).or_insert(0) += 1;
    Ok(())
}

fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.with_counts(|counts| {
            counts.total -= 1;
            if let Some(address) = &self.address {
                subtract(&mut counts.addresses, address);
            }
        });
    }
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        self.connections.with_counts(|counts| subtract(&mut counts.users, &self.user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_by_its_name_and_makes_room_again() {
        let limits = Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            connections_per_user_max: 1,
            ..Limits::default()
        };
        let connections = Connections::new(&limits);
        let address = |n| Some(IpAddr::from([127, 0, 0, n]));
        let first = connections.admit(address(1)).unwrap();
        let _second = connections.admit(address(1)).unwrap();
        assert_eq!(connections.admit(address(1)).unwrap_err().name, "connections_per_address_max");
        let _third = connections.admit(address(2)).unwrap();
        assert_eq!(connections.admit(address(3)).unwrap_err().name, "connections_max");
        drop(first);
        let _fourth = connections.admit(address(1)).unwrap();
        assert_eq!(connections.count(), 3);

        let ann = UserName::new("ann").unwrap();
        let permit = connections.log_in(&ann).unwrap();
        assert_eq!(connections.log_in(&ann).unwrap_err().name, "connections_per_user_max");
        drop(permit);
        assert!(connections.log_in(&ann).is_ok());
        assert!(connections.with_counts(|counts| counts.users.is_empty()));
    }
}
