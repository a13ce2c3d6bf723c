//! Which users have a session, and when they last logged in: for `[IN-USE]` and `[LOGIN-DELAY]` (RFC 2449 §8.1).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use culver_runtime::UserName;

use crate::{Options, reply::Refusal};

/// Users remembered without a session; beyond it, those whose delay is over are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Shared by all sessions of a server. Cheap to clone. Does nothing as long as neither `lock_session` nor `login_delay`
/// is set.
#[derive(Clone, Debug, Default)]
pub struct SessionLocks {
    users: Arc<Mutex<HashMap<UserName, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    sessions: usize,
    last_login: Instant,
}

/// A user's session; dropping it lets another in.
#[derive(Debug)]
pub(crate) struct SessionLock {
    held: Option<(SessionLocks, UserName)>,
}

impl SessionLocks {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, Entry>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a user in, unless another session or the time forbids it.
    pub(crate) fn admit(&self, user: &UserName, options: &Options) -> Result<SessionLock, Refusal> {
        if !options.lock_session && options.login_delay.is_zero() {
            return Ok(SessionLock { held: None });
        }
        let now = Instant::now();
        let mut users = self.lock();
        if users.len() >= REMEMBERED_MAX {
            forget(&mut users, now, options.login_delay);
        }
        if let Some(entry) = users.get(user) {
            if options.lock_session && entry.sessions > 0 {
                return Err(Refusal::LOCKED);
            }
            if now.duration_since(entry.last_login) < options.login_delay {
                return Err(Refusal::TOO_SOON);
            }
        }
        let entry = users.entry(user.clone()).or_insert(Entry { sessions: 0, last_login: now });
        entry.sessions += 1;
        entry.last_login = now;
        Ok(SessionLock { held: Some((self.clone(), user.clone())) })
    }
}

fn forget(users: &mut HashMap<UserName, Entry>, now: Instant, delay: Duration) {
    users.retain(|_, entry| entry.sessions > 0 || now.duration_since(entry.last_login) < delay);
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        if let Some((locks, user)) = &self.held
            && let Some(entry) = locks.lock().get_mut(user)
        {
            entry.sessions -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_at_a_time_if_asked_for() {
        let (locks, ann) = (SessionLocks::default(), UserName::new("ann").unwrap());
        let bob = UserName::new("bob").unwrap();
        let options = Options { lock_session: true, ..Options::default() };
        let first = locks.admit(&ann, &options).unwrap();
        assert_eq!(locks.admit(&ann, &options).unwrap_err(), Refusal::LOCKED);
        assert!(locks.admit(&bob, &options).is_ok());
        drop(first);
        assert!(locks.admit(&ann, &options).is_ok());
        let free = Options::default();
        let _one = locks.admit(&ann, &free).unwrap();
        assert!(locks.admit(&ann, &free).is_ok());
    }

    #[test]
    fn a_delay_between_logins() {
        let (locks, ann) = (SessionLocks::default(), UserName::new("ann").unwrap());
        let options = Options { login_delay: Duration::from_secs(3600), ..Options::default() };
        drop(locks.admit(&ann, &options).unwrap());
        assert_eq!(locks.admit(&ann, &options).unwrap_err(), Refusal::TOO_SOON);
        let none = Options { login_delay: Duration::ZERO, lock_session: true, ..Options::default() };
        assert!(locks.admit(&ann, &none).is_ok());
    }
}
