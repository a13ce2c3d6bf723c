//! The line that separates messages: `From sender  Www Mmm DD HH:MM:SS YYYY`.

use std::io::Write as _;

use mailtypes::{CalendarDate, InternalDate};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A separator that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FromLine {
    /// Envelope sender, as it stands there.
    pub sender: Vec<u8>,
    /// When the message arrived.
    pub date: Timestamp,
}

/// A time as a separator has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timestamp {
    /// Seconds since 1970 as if the time were in UTC.
    pub seconds: i64,
    /// Minutes east of UTC, where the line says so; else the time is that of the writer's host.
    pub zone: Option<i16>,
}

impl Timestamp {
    /// The instant; a time without zone is taken for one of a zone that is `local_zone` minutes east of UTC then.
    pub fn resolve(self, local_zone: impl FnOnce(i64) -> i16) -> InternalDate {
        let zone = self.zone.unwrap_or_else(|| local_zone(self.seconds));
        InternalDate { unix: self.seconds - i64::from(zone) * 60, zone }
    }
}

impl FromLine {
    /// Longest line that is looked at, in bytes. A longer one is text.
    pub const LEN_MAX: usize = 1024;

    /// Reads a line, which may go on behind its end. `None` for what is none, and so belongs to a message.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.get(..line.iter().position(|&c| c == b'\n').unwrap_or(line.len()))?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let rest = line.strip_prefix(b"From ").filter(|_| line.len() <= Self::LEN_MAX)?;
        let sender_len = sender_len(rest);
        let (sender, rest) = rest.split_at_checked(sender_len)?;
        let mut words = rest.split(|&c| c == b' ').filter(|word| !word.is_empty());
        let date = date(&mut words)?;
        Some(Self { sender: sender.to_vec(), date })
    }

    /// Writes the separator for a message that arrived at `date`, in that date's zone, with an LF.
    pub fn write(sender: &str, date: InternalDate, out: &mut Vec<u8>) {
        Self::write_time(sender, date.unix + i64::from(date.zone) * 60, out);
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            " {}{:02}{:02}",
            if date.zone < 0 { '-' } else { '+' },
            date.zone.unsigned_abs() / 60,
            date.zone.unsigned_abs() % 60
        );
    }

    /// The same as Dovecot has it, without a zone: `local` is the time on the host's clock, as seconds since 1970.
    pub fn write_local(sender: &str, local: i64, out: &mut Vec<u8>) {
        Self::write_time(sender, local, out);
        out.push(b'\n');
    }

    fn write_time(sender: &str, local: i64, out: &mut Vec<u8>) {
        let day = CalendarDate::of_unix(local);
        let (year, month, of_month) = day.ymd();
        let second = local.rem_euclid(86_400);
        let weekday = WEEKDAYS.get(day.days.rem_euclid(7) as usize).unwrap_or(&"Thu");
        let month = MONTHS.get(month.saturating_sub(1) as usize).unwrap_or(&"Jan");
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        // As above.
        let _ =
            write!(out, "From {sender}  {weekday} {month} {of_month:02} {hour:02}:{minute:02}:{second:02} {year:04}");
    }
}

/// A sender ends at the first space outside of quotes.
fn sender_len(text: &[u8]) -> usize {
    let mut quoted = false;
    let end = text.iter().position(|&c| {
        if c == b'"' {
            quoted = !quoted;
        }
        c == b' ' && !quoted
    });
    // A quote that is never closed quotes nothing.
    end.or_else(|| text.iter().position(|&c| c == b' ')).unwrap_or(text.len())
}

/// `Www Mmm D HH:MM[:SS] [zone] YYYY [+hhmm]`, or `Www, D Mmm YYYY HH:MM:SS`.
fn date<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<Timestamp> {
    words.next().filter(|weekday| weekday.len() <= 4)?;
    let first = words.next()?;
    if let Some(month) = month(first) {
        let day = number(words.next()?, 2)?;
        let time = time(words.next()?)?;
        let next = words.next()?;
        let year = match year(next) {
            Some(year) => year,
            None => year(words.next()?)?,
        };
        return timestamp(year, month, day, time, words.next());
    }
    let (day, month) = (number(first, 2)?, month(words.next()?)?);
    let (year, time) = (year(words.next()?)?, time(words.next()?)?);
    timestamp(year, month, day, time, words.next())
}

fn timestamp(year: u32, month: u32, day: u32, time: i64, zone: Option<&[u8]>) -> Option<Timestamp> {
    let date = CalendarDate::from_ymd(i32::try_from(year).ok()?, month, day)?;
    Some(Timestamp { seconds: date.days * 86_400 + time, zone: zone.and_then(zone_minutes) })
}

fn month(word: &[u8]) -> Option<u32> {
    let found = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(word))?;
    u32::try_from(found + 1).ok()
}

fn year(word: &[u8]) -> Option<u32> {
    number(word, 4).filter(|_| word.len() == 4)
}

fn time(word: &[u8]) -> Option<i64> {
    let mut parts = word.split(|&c| c == b':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let valid = hour < 24 && minute < 60 && second < 61 && parts.next().is_none();
    valid.then(|| i64::from(hour * 3600 + minute * 60 + second))
}

fn zone_minutes(word: &[u8]) -> Option<i16> {
    let (sign, digits) = match word.split_first()? {
        (b'+', digits) => (1, digits),
        (b'-', digits) => (-1, digits),
        _ => return None,
    };
    let hhmm = i16::try_from(number(digits, 4).filter(|_| digits.len() == 4)?).ok()?;
    Some(sign * (hhmm / 100 * 60 + hhmm % 100))
}

fn number(word: &[u8], len_max: usize) -> Option<u32> {
    let valid = (1..=len_max).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
    valid.then(|| word.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_of_many_programs() {
        let check = |line: &str, seconds, zone| {
            let parsed = FromLine::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(parsed.date, Timestamp { seconds, zone }, "{line}");
        };
        check("From alice@mail.example.org  Tue Jan 01 03:04:05 2019", 1_546_311_845, None);
        check("From x Thu Nov 29 22:33:52 2001", 1_007_073_232, None);
        check("From x Thu Nov  9 22:33 2001\r\nSubject: x", 1_005_345_180, None);
        check("From x Thu Nov  9 22:33:52 CET 2001", 1_005_345_232, None);
        check("From x Thu Nov  9 22:33:52 +0100 2001", 1_005_345_232, None);
        check("From x Thu Nov  9 22:33:52 2001 -0730", 1_005_345_232, Some(-450));
        check("From \"a b\"@c Thu Nov  9 22:33:52 2001 remote from d", 1_005_345_232, None);
        check("From MAILER-DAEMON Thu, 9 Nov 2001 22:33:52 +0000", 1_005_345_232, Some(0));
    }

    #[test]
    fn what_is_text() {
        for line in [
            "From here on it was easy",
            "From x",
            "From ",
            "From x Thu Nov 31 22:33:52 2001",
            "From x Thu Nov 29 25:33:52 2001",
            "From x Thu Foo 29 22:33:52 2001",
            ">From x Thu Nov 29 22:33:52 2001",
            "from x Thu Nov 29 22:33:52 2001",
        ] {
            assert_eq!(FromLine::parse(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix in -1_000_000_000i64..4_000_000_000, zone in -720i16..=840) {
            let mut line = Vec::new();
            let date = InternalDate { unix, zone };
            FromLine::write("ann@example.org", date, &mut line);
            let parsed = FromLine::parse(&line).unwrap();
            prop_assert_eq!(parsed.sender, b"ann@example.org");
            prop_assert_eq!(parsed.date.resolve(|_| 77), date);
        }

        #[test]
        fn no_bytes_break_it(line: Vec<u8>) {
            let mut line = [b"From ".to_vec(), line].concat();
            FromLine::parse(&line);
            line.truncate(7);
            FromLine::parse(&line);
        }
    }
}
