//! Dates as mail stores and IMAP know them.

use std::time::{SystemTime, UNIX_EPOCH};

/// When a message arrived: a moment, and the zone it is to be shown in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
    /// Minutes east of UTC.
    pub zone: i16,
}

impl InternalDate {
    /// A moment shown in UTC.
    pub const fn utc(unix: i64) -> Self {
        Self { unix, zone: 0 }
    }

    /// The day on which it falls in its own zone.
    pub fn day(self) -> CalendarDate {
        CalendarDate::of_unix(self.unix + i64::from(self.zone) * 60)
    }
}

impl From<SystemTime> for InternalDate {
    /// Shown in UTC; parts of a second are left out, the second being the one that the moment falls into.
    fn from(time: SystemTime) -> Self {
        let seconds = |len: std::time::Duration| i64::try_from(len.as_secs()).unwrap_or(i64::MAX);
        Self::utc(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => seconds(since),
            Err(e) => -seconds(e.duration()) - i64::from(e.duration().subsec_nanos() > 0),
        })
    }
}

/// A day, without time or zone, as in `SEARCH SINCE` (RFC 9051 `date`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CalendarDate {
    /// Days since 1970-01-01.
    pub days: i64,
}

impl CalendarDate {
    /// The day in UTC of a moment.
    pub const fn of_unix(unix: i64) -> Self {
        Self { days: unix.div_euclid(86_400) }
    }

    /// From year, month (1-12) and day (1-31) of the proleptic Gregorian calendar; `None` for a day that is not.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        // Count from March, so that the leap day is a year's last; an era has 400 years.
        let (year, month) = (i64::from(year) - i64::from(month <= 2), i64::from(month));
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(Self { days: era * 146_097 + day_of_era - 719_468 })
    }

    /// Year, month and day.
    pub fn ymd(self) -> (i64, u32, u32) {
        let days = self.days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_the_systems_clock() {
        let millis = std::time::Duration::from_millis;
        let check = |time, unix| assert_eq!(InternalDate::from(time), InternalDate::utc(unix));
        check(UNIX_EPOCH + millis(1_700_000_000_999), 1_700_000_000);
        check(UNIX_EPOCH - millis(1_500), -2);
        check(UNIX_EPOCH - millis(2_000), -2);
        check(UNIX_EPOCH, 0);
    }

    #[test]
    fn known_days() {
        let check = |y, m, d, days| assert_eq!(CalendarDate::from_ymd(y, m, d), Some(CalendarDate { days }));
        check(1970, 1, 1, 0);
        check(2000, 2, 29, 11_016);
        check(1969, 12, 31, -1);
        assert_eq!(CalendarDate::from_ymd(1900, 2, 29), None);
        assert_eq!(CalendarDate::from_ymd(2023, 4, 31), None);
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        for days in -200_000..100_000 {
            let (y, m, d) = CalendarDate { days }.ymd();
            assert_eq!(CalendarDate::from_ymd(y as i32, m, d), Some(CalendarDate { days }));
        }
    }
}
