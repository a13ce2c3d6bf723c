//! The line that separates messages: `From sender  Www Mmm DD HH:MM:SS YYYY`.

use std::io::Write as _;

use mailtypes::{CalendarDate, InternalDate};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// When years need more digits than a separator has, seconds since 1970.
const YEAR_10000: i64 = 253_402_300_800;

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
    /// Longest line that is looked at, in bytes: as Dovecot's buffer has it. A longer one is text.
    pub const LEN_MAX: usize = 8 << 10;

    /// Reads a line, which may go on behind its end. `None` for what is none, and so belongs to a message. As Dovecot, it
    /// takes a date in one of two shapes, and does not ask whether there was such a day or hour.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"From ")?;
        // Most lines of text that begin so are told by this.
        let end = rest.iter().take(Self::LEN_MAX).position(|&c| c == b'\n').unwrap_or(rest.len());
        let rest = rest.get(..end).filter(|rest| rest.len() <= Self::LEN_MAX)?;
        let (sender, rest) = rest.split_at_checked(sender_len(rest)?)?;
        let spaces = rest.iter().take_while(|&&c| c == b' ').count();
        let date = date(Words(rest.get(spaces..)?))?;
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

/// A sender ends at the first space, but for those in a quoted part at its beginning.
fn sender_len(text: &[u8]) -> Option<usize> {
    let mut start = 0;
    if text.first() == Some(&b'"') {
        let mut escaped = false;
        let closing = text.iter().skip(1).position(|&c| {
            let closes = c == b'"' && !escaped;
            escaped = c == b'\\';
            closes
        });
        start = closing? + 2;
    }
    Some(start + text.get(start..)?.iter().position(|&c| c == b' ')?)
}

/// A text that is taken from its beginning.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn skip(&mut self, len: usize) -> Option<()> {
        self.0 = self.0.get(len..)?;
        Some(())
    }

    fn space(&mut self) -> Option<()> {
        self.0 = self.0.strip_prefix(b" ")?;
        Some(())
    }

    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number.iter().all(u8::is_ascii_digit).then_some(number)?;
        self.0 = rest;
        Some(number.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
    }

    /// One digit or two, and a space.
    fn day(&mut self) -> Option<u32> {
        let digits = if self.0.get(1) == Some(&b' ') { 1 } else { 2 };
        let day = self.number(digits)?;
        self.space()?;
        Some(day.max(1))
    }

    fn month(&mut self) -> Option<u32> {
        let word = self.0.get(..3)?;
        let found = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(word))?;
        self.skip(3)?;
        self.space()?;
        u32::try_from(found + 1).ok()
    }

    /// `HH:MM`, and `:SS` if that is there, as seconds.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.0 = self.0.strip_prefix(b":")?;
        let minute = self.number(2)?;
        let second = match self.0.strip_prefix(b":") {
            Some(rest) => {
                self.0 = rest;
                self.number(2)?
            }
            None => 0,
        };
        Some(i64::from(hour * 3600 + minute * 60 + second))
    }

    /// Minutes east of UTC, of ` +hhmm`.
    fn zone(mut self) -> Option<i16> {
        self.space()?;
        let sign = match self.0.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.skip(1)?;
        let hhmm = i16::try_from(self.number(4)?).ok().filter(|hhmm| *hhmm < 2400)?;
        Some(sign * (hhmm / 100 * 60 + hhmm % 100))
    }
}

/// `Www Mmm D HH:MM[:SS] [zone] YYYY [+hhmm]`, or `Www, D Mmm YYYY HH:MM[:SS] [+hhmm]`; what is behind does not count.
fn date(mut words: Words<'_>) -> Option<Timestamp> {
    words.skip(4)?;
    if let Some(month) = words.month() {
        // A day of one digit may have a space more.
        let _ = words.space();
        let day = words.day()?;
        let time = words.time()?;
        words.space()?;
        let mut year = words.number(4);
        if year.is_none() {
            let zone_len = words.0.iter().position(|&c| c == b' ')?;
            words.skip(zone_len + 1)?;
            year = words.number(4);
        }
        return timestamp(year?, month, day, time, words.zone());
    }
    words.skip(1)?;
    let (day, month, year) = (words.day()?, words.month()?, words.number(4)?);
    words.skip(1)?;
    let time = words.time()?;
    timestamp(year, month, day, time, words.zone())
}

/// A day or hour too many is one of the next month or day.
fn timestamp(year: u32, month: u32, day: u32, time: i64, zone: Option<i16>) -> Option<Timestamp> {
    let first = CalendarDate::from_ymd(i32::try_from(year).ok()?, month, 1)?;
    let seconds = (first.days + i64::from(day) - 1) * 86_400 + time;
    (seconds < YEAR_10000).then_some(Timestamp { seconds, zone })
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
        // Measured with Dovecot 2.3.19.
        check("From x Thu Nov 31 22:33:52 2001", 1_007_246_032, None);
        check("From x Thu Nov 29 25:33:52 2001", 1_007_084_032, None);
        check("From x Thu Nov 00 22:33:52 2001", 1_004_654_032, None);
        check("From x Thu 19 Nov 2001 22:33:52", 1_005_345_232, None);
        check("From x Thu, 9 Nov 2001x22:33", 1_005_345_180, None);
        check("From x Thu Nov 29 22:33:52  2001", 1_007_073_232, None);
        check("From x xyz nov 29 22:33:52 20011", 1_007_073_232, None);
        check("From  Thu Nov 29 22:33:52 2001 +01", 1_007_073_232, None);
        check(&format!("From {} Thu Nov 29 22:33:52 2001", "x".repeat(8000)), 1_007_073_232, None);
    }

    #[test]
    fn what_is_text() {
        for line in [
            "From here on it was easy",
            "From x",
            "From ",
            "From x Thu Foo 29 22:33:52 2001",
            "From x Thu Nov   9 22:33:52 2001",
            "From x Thu  Nov 9 22:33:52 2001",
            "From x Thu Nov 29  22:33:52 2001",
            "From x Thu Nov 29 22:33:52 CET DST 2001",
            "From x Thu Nov 29 22:33:52 201",
            "From x Th Nov 29 22:33:52 2001",
            "From x Thu Nov-29 22:33:52 2001",
            "From x Thu November 29 22:33:52 2001",
            "From x Thu,  9 Nov 2001 22:33:52",
            "From x Thu 9 Nov 2001 22:33:52",
            "From x Thu, 9 Nov 2001 2:33",
            "From x Thu, 9 Nov 2001 22:33: +0100",
            "From x Thu Nov 29 2:33:52 2001",
            "From x Thu Nov 29 22:33:52.5 2001",
            "From x y Thu Nov 29 22:33:52 2001",
            "From x\tThu Nov 29 22:33:52 2001",
            "From Thu Nov 29 22:33:52 2001",
            "From \"a b@c Thu Nov  9 22:33:52 2001",
            "From \"a\\\"b\" c Thu Nov  9 22:33:52 2001",
            ">From x Thu Nov 29 22:33:52 2001",
            "from x Thu Nov 29 22:33:52 2001",
        ] {
            assert_eq!(FromLine::parse(line.as_bytes()), None, "{line}");
        }
        let long = format!("From {} Thu Nov 29 22:33:52 2001", "x".repeat(9000));
        assert_eq!(FromLine::parse(long.as_bytes()), None);
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
