//! The day table of the index: which UIDs came on which of the last days (`docs/formats/index.md`, "Day table"). Dovecot
//! ages what is cached by it.

use std::time::{Duration, UNIX_EPOCH};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use mailtypes::Uid;

use crate::state::State;

/// Offset of `day_stamp`, which `day_first_uid` follows, in the base header.
pub(super) const DAY_STAMP: u16 = 84;

const DAY_SECONDS: u32 = 24 * 3600;

/// Days in the table.
const DAYS: usize = 8;

/// The midnight before a time, both in seconds since 1970, where the host is; in UTC where its zone is not known.
pub fn host_day_start(unix_time: u32) -> u32 {
    let utc = unix_time - unix_time % DAY_SECONDS;
    let time = UNIX_EPOCH + Duration::from_secs(unix_time.into());
    let Ok(time) = Timestamp::try_from(time) else { return utc };
    let local: Zoned = time.to_zoned(TimeZone::try_system().unwrap_or(TimeZone::UTC));
    let start = local.start_of_day().ok().and_then(|day| u32::try_from(day.timestamp().as_second()).ok());
    start.unwrap_or(utc)
}

/// The table when `first` comes as the first message of the day that began at `today`, as it stands in the header from
/// [`DAY_STAMP`] on; `None` on any later message of a day.
pub(super) fn after_append(state: &State, first: Uid, today: u32) -> Option<Vec<u8>> {
    let header = state.header();
    let last = header.day_stamp.get();
    if last >= today {
        return None;
    }
    // Days on which the clocks are changed are shorter or longer.
    let days = ((today - last).saturating_add(DAY_SECONDS / 2) / DAY_SECONDS).max(1) as usize;
    let days = days.min(DAYS);
    let newest = header.day_first_uid.first().map_or(0, |uid| uid.get());
    let skipped = std::iter::repeat_n(newest, days - 1);
    let kept = header.day_first_uid.iter().map(|uid| uid.get());
    let table = std::iter::once(first.value()).chain(skipped).chain(kept).take(DAYS);
    Some(std::iter::once(today).chain(table).flat_map(u32::to_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use mailtypes::Flags;

    use super::*;
    use crate::{
        log::{RawLogHeader, Transaction},
        replay::{Limits, Replay},
    };

    const MONDAY: u32 = 1_600_041_600;

    fn table(state: &State) -> Vec<u32> {
        let header = state.header();
        std::iter::once(header.day_stamp.get()).chain(header.day_first_uid.iter().map(|uid| uid.get())).collect()
    }

    fn append(state: State, uid: u32, today: u32) -> State {
        let uid = Uid::new(uid).unwrap();
        let mut transaction = Transaction::new();
        transaction.append(uid, Flags::NONE);
        if let Some(table) = after_append(&state, uid, today) {
            transaction.header_update(DAY_STAMP, &table);
        }
        let pieces = transaction.encode(&state).unwrap();
        let mut replay = Replay::new(state, Limits::default());
        pieces.iter().for_each(|piece| {
            replay.apply(&piece.bytes);
        });
        assert!(replay.problems().is_empty());
        replay.finish()
    }

    #[test]
    fn days_move_on() {
        let mut replay = Replay::new(State::empty(), Limits::default());
        replay.enter(&RawLogHeader::first(1, 2, 0, 1)).unwrap();
        let day = |n: u32| MONDAY + n * DAY_SECONDS;
        let state = append(replay.finish(), 1, day(0));
        assert_eq!(table(&state), [day(0), 1, 0, 0, 0, 0, 0, 0, 0]);
        let state = append(append(state, 2, day(0)), 3, day(0));
        assert_eq!(table(&state), [day(0), 1, 0, 0, 0, 0, 0, 0, 0]);
        let state = append(state, 4, day(1));
        assert_eq!(table(&state), [day(1), 4, 1, 0, 0, 0, 0, 0, 0]);
        // An hour is missing in this night, and two days are skipped after it.
        let spring = day(2) - 3600;
        let state = append(append(state, 5, spring), 6, day(5) - 3600);
        assert_eq!(table(&state), [day(5) - 3600, 6, 5, 5, 5, 4, 1, 0, 0]);
        let state = append(state, 7, day(400));
        assert_eq!(table(&state), [day(400), 7, 6, 6, 6, 6, 6, 6, 6]);
        // A clock that goes back changes nothing.
        assert_eq!(table(&append(state.clone(), 8, day(399))), table(&state));
    }

    #[test]
    fn a_day_begins_before_its_time() {
        for time in [0, 1, MONDAY, MONDAY + 12_345, u32::MAX] {
            let start = host_day_start(time);
            assert!(start <= time && time - start <= 25 * 3600, "{time}: {start}");
        }
    }
}
