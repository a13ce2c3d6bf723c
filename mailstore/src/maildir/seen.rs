//! When `new` and `cur` have to be read again (`docs/formats/maildir.md`, "Synchronising").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailindex::state::{ExtensionSpec, State};

use super::files::Mark;

/// The index header in which the folders' times are kept.
pub(super) const MAILDIR_EXT: ExtensionSpec = ExtensionSpec::header("maildir", SeenHeader::LEN as u32);

/// Changes of a folder may have one time if no more than this lies between them: the clock of the kernel's that times
/// are taken from goes in steps.
const TIME_STEP: Duration = Duration::from_millis(20);

/// The same where times are kept in seconds.
const TIME_STEP_COARSE: Duration = Duration::from_secs(1);

/// How long a folder need not be read again after changes of our own. Somebody else's change that came between the looks
/// before and after ours, or in one step of the clock with it, is seen then.
const OWN_CHANGES_MAX: Duration = Duration::from_secs(1);

/// A folder as it was when it was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SeenDir {
    pub(super) modified: SystemTime,
    /// Just before it was read.
    pub(super) checked: SystemTime,
    /// A later change has another time.
    settled: bool,
    /// Since when changes of our own have given it the time that it has.
    own_since: Option<SystemTime>,
}

/// Both folders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) new: SeenDir,
    pub(super) cur: SeenDir,
}

impl SeenDir {
    pub(super) fn new(modified: SystemTime, checked: SystemTime) -> Self {
        let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let step = if nanos == 0 { TIME_STEP_COARSE } else { TIME_STEP };
        let settled = checked.duration_since(modified).is_ok_and(|age| age > step);
        Self { modified, checked, settled, own_since: None }
    }

    /// Whether nothing can have changed, if that is how it looks now.
    pub(super) fn is_still(&self, now: &Self) -> bool {
        let is_recent = |since| now.checked.duration_since(since).is_ok_and(|age| age < OWN_CHANGES_MAX);
        self.modified == now.modified && (self.settled || self.own_since.is_some_and(is_recent))
    }

    /// Whether it is to be read again for nobody's changes but our own.
    pub(super) fn is_own(&self) -> bool {
        self.own_since.is_some()
    }

    /// After changes of our own, before which it looked like `before`, as it did when it was read.
    pub(super) fn after_own(&self, before: SystemTime, modified: SystemTime, now: SystemTime) -> Self {
        if self.modified != before {
            // Somebody else was there first.
            return *self;
        }
        Self { modified, checked: now, settled: false, own_since: self.own_since.or(Some(now)) }
    }
}

/// The nine numbers of the header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SeenHeader([u32; 9]);

fn seconds(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}

fn nanos(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos()
}

impl SeenHeader {
    const LEN: usize = 36;

    pub(super) fn new(seen: &Seen, uidlist: Option<&Mark>) -> Self {
        let (modified, len) = uidlist.map_or((UNIX_EPOCH, 0), |mark| (mark.modified, mark.len));
        Self([
            seconds(seen.new.checked),
            seconds(seen.new.modified),
            nanos(seen.new.modified),
            seconds(seen.cur.checked),
            seconds(seen.cur.modified),
            nanos(seen.cur.modified),
            seconds(modified),
            nanos(modified),
            u32::try_from(len).unwrap_or(u32::MAX),
        ])
    }

    /// As the index has it.
    pub(super) fn of(state: &State) -> Option<Self> {
        let bytes: [u8; Self::LEN] = state.extension(MAILDIR_EXT.name)?.hdr_bytes(0)?;
        let mut numbers = [0; 9];
        for (to, from) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *to = u32::from_le_bytes(*from);
        }
        Some(Self(numbers))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    /// The folders as whoever wrote it has seen them. Its check counts seconds.
    pub(super) fn seen(&self) -> Option<Seen> {
        let [new_check, new_time, new_nanos, cur_check, cur_time, cur_nanos, ..] = self.0;
        let dir = |check: u32, time: u32, nanos: u32| {
            let at = |seconds: u32, nanos: u32| UNIX_EPOCH.checked_add(Duration::new(seconds.into(), nanos));
            let settled = check > time.saturating_add(1);
            Some(SeenDir { modified: at(time, nanos)?, checked: at(check, 0)?, settled, own_since: None })
        };
        Some(Seen { new: dir(new_check, new_time, new_nanos)?, cur: dir(cur_check, cur_time, cur_nanos)? })
    }

    /// Whether it tells the next who opens the mailbox something that `old` does not.
    pub(super) fn is_worth_more_than(&self, old: &Self) -> bool {
        let timeless = |header: &Self| {
            let mut numbers = header.0;
            let [new_check, _, _, cur_check, ..] = &mut numbers;
            (*new_check, *cur_check) = (0, 0);
            numbers
        };
        let settled = |header: &Self| header.seen().map(|seen| (seen.new.settled, seen.cur.settled));
        timeless(self) != timeless(old) || settled(self) != settled(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_folder_read_just_after_a_change_is_read_again() {
        let check = |seen: SeenDir, modified| seen.is_still(&SeenDir::new(at(modified), at(9_000)));
        assert!(!check(SeenDir::new(at(5_001), at(5_010)), 5_001));
        assert!(check(SeenDir::new(at(5_001), at(5_100)), 5_001));
        assert!(!check(SeenDir::new(at(5_001), at(5_100)), 5_002));
        assert!(!check(SeenDir::new(at(5_000), at(5_900)), 5_000));
        assert!(check(SeenDir::new(at(5_000), at(6_001)), 5_000));
    }

    #[test]
    fn our_own_changes_are_not_looked_for_at_once() {
        let seen = SeenDir::new(at(1_001), at(5_000));
        let check = |seen: SeenDir, modified, now| seen.is_still(&SeenDir::new(at(modified), at(now)));
        let once = seen.after_own(at(1_001), at(6_001), at(6_001));
        assert!(check(once, 6_001, 6_500) && !check(once, 6_001, 7_100) && !check(once, 6_400, 6_500));
        // However many: the first counts.
        let twice = once.after_own(at(6_001), at(6_801), at(6_801));
        assert!(check(twice, 6_801, 6_900) && !check(twice, 6_801, 7_100));
        // Not after somebody else's.
        let other = seen.after_own(at(1_500), at(6_001), at(6_001));
        assert!(!check(other, 6_001, 6_100));
    }

    #[test]
    fn the_header_is_read_as_written() {
        let seen = Seen { new: SeenDir::new(at(5_001), at(9_000)), cur: SeenDir::new(at(7_001), at(8_000)) };
        let header = SeenHeader::new(&seen, None);
        let read = header.seen().unwrap();
        assert!(read.new.is_still(&seen.new) && !read.cur.is_still(&seen.cur));
        let later = Seen { cur: SeenDir::new(at(7_001), at(9_000)), ..seen };
        assert!(SeenHeader::new(&later, None).is_worth_more_than(&header));
        assert!(!header.is_worth_more_than(&header));
    }
}
