//! How many connections there are: in all, from one address, of one user; and how much memory a user's sessions hold.

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
    session_memory_max: AtomicUsize,
    user_memory_max: AtomicUsize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
    users: HashMap<UserName, usize>,
    /// In units of [`MEMORY_UNIT`]; users who hold none are not in it.
    memory: HashMap<UserName, usize>,
}

/// Memory is counted in steps of this, in bytes, so that ordinary sessions never wait for the count.
const MEMORY_UNIT: usize = 64 * 1024;

/// A limit of connections was met.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("limit {name} ({limit}) exceeded")]
pub struct TooManyConnections {
    /// The limit's name in the configuration.
    pub name: &'static str,
    /// Its value.
    pub limit: usize,
}

/// A limit of memory was met.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TooMuchMemory {
    /// By the session.
    #[error("limit session_memory_max exceeded")]
    Session,
    /// By all sessions of the user.
    #[error("limit user_memory_max exceeded")]
    User,
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
    /// Units of memory that are counted for it.
    memory: usize,
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
        let counts = [limits.connections_max, limits.connections_per_address_max, limits.connections_per_user_max];
        for (held, limit) in self.shared.limits.iter().zip(counts) {
            held.store(limit, Ordering::Relaxed);
        }
        self.shared.session_memory_max.store(limits.session_memory_max, Ordering::Relaxed);
        self.shared.user_memory_max.store(limits.user_memory_max, Ordering::Relaxed);
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
        Ok(UserPermit { connections: self.clone(), user: user.clone(), memory: 0 })
    }

    fn with_counts<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UserPermit {
    /// The session holds so many bytes now. Costs one division where that hardly changed. Where it is an error, the
    /// session is to end; what it held before stays counted until then.
    pub fn hold(&mut self, bytes: usize) -> Result<(), TooMuchMemory> {
        let units = bytes / MEMORY_UNIT;
        if units == self.memory {
            return Ok(());
        }
        if bytes > self.connections.shared.session_memory_max.load(Ordering::Relaxed) {
            return Err(TooMuchMemory::Session);
        }
        let user_max = self.connections.shared.user_memory_max.load(Ordering::Relaxed) / MEMORY_UNIT;
        self.connections.with_counts(|counts| {
            let others = counts.memory.get(&self.user).map_or(0, |all| all - self.memory);
            if units > self.memory && others + units > user_max {
                return Err(TooMuchMemory::User);
            }
            match others + units {
                0 => drop(counts.memory.remove(&self.user)),
                all => drop(counts.memory.insert(self.user.clone(), all)),
            }
            self.memory = units;
            Ok(())
        })
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
        // Nothing is always allowed.
        let _ = self.hold(0);
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

    #[test]
    fn memory_is_counted_for_the_session_and_for_all_of_the_user() {
        let limits =
            Limits { session_memory_max: 10 * MEMORY_UNIT, user_memory_max: 12 * MEMORY_UNIT, ..Limits::default() };
        let connections = Connections::new(&limits);
        let ann = UserName::new("ann").unwrap();
        let (mut one, mut two) = (connections.log_in(&ann).unwrap(), connections.log_in(&ann).unwrap());
        assert_eq!(one.hold(10 * MEMORY_UNIT), Ok(()));
        assert_eq!(one.hold(11 * MEMORY_UNIT), Err(TooMuchMemory::Session));
        assert_eq!(two.hold(MEMORY_UNIT - 1), Ok(()), "little is not counted");
        assert_eq!(two.hold(2 * MEMORY_UNIT), Ok(()));
        assert_eq!(two.hold(3 * MEMORY_UNIT), Err(TooMuchMemory::User));
        let mut bob = connections.log_in(&UserName::new("bob").unwrap()).unwrap();
        assert_eq!(bob.hold(10 * MEMORY_UNIT), Ok(()), "another user has a limit of his own");
        assert_eq!(one.hold(0), Ok(()));
        assert_eq!(two.hold(10 * MEMORY_UNIT), Ok(()));
        drop((one, two, bob));
        assert!(connections.with_counts(|counts| counts.memory.is_empty()));
    }
}
