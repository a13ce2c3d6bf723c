//! The text forms of dates (RFC 9051 `date`, `date-time`).

use mailtypes::{CalendarDate, InternalDate};

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The moments whose years have four digits; others are written as the nearest of these.
const YEAR_0_UNIX: i64 = -62_167_219_200 + 86_400;
const YEAR_9999_UNIX: i64 = 253_402_300_799 - 86_400;

/// Bytes of a `date-time`, its quotes not counted.
const DATE_TIME_LEN: usize = 26;

/// Not the date that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a date of the form {form}")]
pub struct InvalidDate {
    form: &'static str,
}

/// Parses a `date-text`: `1-Feb-1994`, the day with one digit or two, the month in any case.
pub fn parse_date(text: &[u8]) -> Result<CalendarDate, InvalidDate> {
    let parsed = || {
        let (day, rest) = match text {
            [b'0'..=b'9', b'-', rest @ ..] => (digits(text.get(..1)?)?, rest),
            [b'0'..=b'9', b'0'..=b'9', b'-', rest @ ..] => (digits(text.get(..2)?)?, rest),
            _ => return None,
        };
        if rest.len() != 8 { None } else { calendar_date(day, rest) }
    };
    parsed().ok_or(InvalidDate { form: "1-Feb-1994" })
}

/// Parses the inside of a `date-time`: ` 1-Feb-1994 21:52:25 -0800`. A day of one digit is taken without its space too.
pub fn parse_date_time(text: &[u8]) -> Result<InternalDate, InvalidDate> {
    let parsed = || {
        let padded;
        let text: &[u8; DATE_TIME_LEN] = if text.len() + 1 == DATE_TIME_LEN {
            padded = [b" ", text].concat();
            padded.as_slice().try_into().ok()?
        } else {
            text.try_into().ok()?
        };
        let (day, rest) = match text {
            [b' ', digit, b'-', rest @ ..] => (digits(&[*digit])?, rest),
            [tens, ones, b'-', rest @ ..] => (digits(&[*tens, *ones])?, rest),
            _ => return None,
        };
        let (date, time) = rest.split_at_checked(8)?;
        let date = calendar_date(day, date)?;
        let &[b' ', h1, h2, b':', m1, m2, b':', s1, s2, b' ', sign, z1, z2, z3, z4] = time else { return None };
        let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
        let (zone_hours, zone_minutes) = (digits(&[z1, z2])?, digits(&[z3, z4])?);
        // 60 is a leap second.
        if hour > 23 || minute > 59 || second > 60 || zone_hours > 23 || zone_minutes > 59 {
            return None;
        }
        let zone = i16::try_from(zone_hours * 60 + zone_minutes).ok()?;
        let zone = match sign {
            b'+' => zone,
            b'-' => -zone,
            _ => return None,
        };
        let local = date.days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
        Some(InternalDate { unix: local - i64::from(zone) * 60, zone })
    };
    parsed().ok_or(InvalidDate { form: " 1-Feb-1994 21:52:25 -0800" })
}

/// `Feb-1994` after a day.
fn calendar_date(day: u32, rest: &[u8]) -> Option<CalendarDate> {
    let (month, rest) = rest.split_at_checked(3)?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(month)).map(|(_, n)| n)?;
    let year = rest.strip_prefix(b"-").filter(|year| year.len() == 4)?;
    CalendarDate::from_ymd(i32::try_from(digits(year)?).ok()?, month, day)
}

/// At most four digits.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

/// Writes a `date-text`: `1-Feb-1994`.
pub fn write_date(out: &mut Vec<u8>, date: CalendarDate) {
    let (year, month, day) = clamped(date).ymd();
    if day >= 10 {
        out.push(digit(day / 10));
    }
    out.push(digit(day % 10));
    write_month_and_year(out, month, year);
}

/// Writes the inside of a `date-time`, 26 bytes: `01-Feb-1994 21:52:25 -0800`, the day with a zero as Dovecot writes it.
pub fn write_date_time(out: &mut Vec<u8>, date: InternalDate) {
    let local = date.unix.clamp(YEAR_0_UNIX, YEAR_9999_UNIX) + i64::from(date.zone) * 60;
    let local = local.clamp(YEAR_0_UNIX, YEAR_9999_UNIX);
    let (year, month, day) = CalendarDate::of_unix(local).ymd();
    out.push(digit(day / 10));
    out.push(digit(day % 10));
    write_month_and_year(out, month, year);
    let second = local.rem_euclid(86_400) as u32;
    for (before, n) in [(b' ', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.extend_from_slice(&[before, digit(n / 10), digit(n % 10)]);
    }
    // A zone of a day or more has no text.
    let zone = u32::from(date.zone.unsigned_abs()).min(23 * 60 + 59);
    out.extend_from_slice(&[b' ', if date.zone < 0 { b'-' } else { b'+' }]);
    for n in [zone / 60, zone % 60] {
        out.extend_from_slice(&[digit(n / 10), digit(n % 10)]);
    }
}

fn clamped(date: CalendarDate) -> CalendarDate {
    CalendarDate { days: date.days.clamp(YEAR_0_UNIX / 86_400, YEAR_9999_UNIX / 86_400) }
}

fn write_month_and_year(out: &mut Vec<u8>, month: u32, year: i64) {
    let name = MONTHS.get((month as usize).wrapping_sub(1)).copied().unwrap_or(b"Jan");
    let year = year as u32;
    out.push(b'-');
    out.extend_from_slice(name);
    out.push(b'-');
    out.extend([1000, 100, 10, 1].map(|unit| digit(year / unit % 10)));
}

fn digit(n: u32) -> u8 {
    b'0' + (n % 10) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(date: InternalDate) -> String {
        let mut out = Vec::new();
        write_date_time(&mut out, date);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc_examples() {
        let date = parse_date_time(b"17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(date, InternalDate { unix: 837_596_665, zone: -420 });
        assert_eq!(text(date), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(text(InternalDate { unix: 0, zone: 90 }), "01-Jan-1970 01:30:00 +0130");
        assert_eq!(parse_date_time(b" 1-jan-1970 00:00:00 +0000"), Ok(InternalDate::utc(0)));
        assert_eq!(parse_date_time(b"1-Jan-1970 00:00:00 +0000"), Ok(InternalDate::utc(0)));
        assert_eq!(parse_date(b"1-Feb-1994").map(CalendarDate::ymd), Ok((1994, 2, 1)));
        assert_eq!(parse_date(b"01-fEB-1994").map(CalendarDate::ymd), Ok((1994, 2, 1)));
    }

    #[test]
    fn dates_that_are_none() {
        for bad in
            ["", "1-Feb-94", "31-Feb-1994", "0-Feb-1994", "1 Feb 1994", "1-Fab-1994", "1-Feb-1994 ", "-1-Feb-1994"]
        {
            assert!(parse_date(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in [
            "",
            "17-Jul-1996 24:44:25 -0700",
            "17-Jul-1996 02:60:25 -0700",
            "17-Jul-1996 02:44:61 -0700",
            "17-Jul-1996 02:44:25 00700",
            "17-Jul-1996 02:44:25 -2400",
            "31-Jun-1996 02:44:25 -0700",
            "17-Jul-1996T02:44:25 -0700",
        ] {
            assert!(parse_date_time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_without_text_are_written_as_the_nearest() {
        for unix in [i64::MIN, i64::MAX] {
            for zone in [i16::MIN, 0, i16::MAX] {
                let text = text(InternalDate { unix, zone });
                assert!(parse_date_time(text.as_bytes()).is_ok(), "{text}");
            }
            let mut out = Vec::new();
            write_date(&mut out, CalendarDate { days: unix });
            assert!(parse_date(&out).is_ok());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix in -60_000_000_000i64..250_000_000_000, zone in -1439i16..=1439) {
            let date = InternalDate { unix, zone };
            prop_assert_eq!(parse_date_time(text(date).as_bytes()), Ok(date));
            let mut out = Vec::new();
            write_date(&mut out, date.day());
            prop_assert_eq!(parse_date(&out), Ok(date.day()));
        }
    }
}
