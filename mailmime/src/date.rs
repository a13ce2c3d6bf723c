//! The Date field (RFC 5322 §3.3, with the obsolete forms of §4.3), read as Dovecot reads it for `date.sent`.

use crate::lex::{Lexer, Next};

/// A moment and the zone it was written in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SentDate {
    /// Seconds since 1970 in UTC.
    pub unix_seconds: i64,
    /// The zone, minutes east of UTC; 0 if it was missing or is not known.
    pub zone_minutes: i32,
}

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// Reads the value of a Date field: `[weekday,] day month year hour:minute[:second] [zone]`. `None` if it is not of
/// this form or there is no such time.
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<SentDate> {
    let mut lexer = Lexer::new(value);
    // A broken comment leaves nothing to read, which the first word then notices.
    let _ = lexer.skip_cfws();
    let mut word = next_word(&mut lexer)?;
    if word.len() == 3 {
        if lexer.peek() != Some(b',') {
            return None;
        }
        lexer.bump();
        let _ = lexer.skip_cfws();
        word = next_word(&mut lexer)?;
    }
    let day = number(&word, 1..=2)?;
    let month = next_word(&mut lexer)?;
    let month = month.get(..3).and_then(|name| MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month)))?;
    let year = match next_word(&mut lexer)? {
        word if word.len() == 2 => {
            let year = number(&word, 2..=2)?;
            if year < 70 { 2000 + year } else { 1900 + year }
        }
        word => number(&word, 4..=4).filter(|&year| year >= 1900)?,
    };
    let hour = number(&next_word(&mut lexer)?, 1..=2)?;
    if !skip_time_separator(&mut lexer) {
        return None;
    }
    let minute = number(&next_word(&mut lexer)?, 2..=2)?;
    let mut second = 0;
    if skip_time_separator(&mut lexer) {
        second = number(&next_word(&mut lexer)?, 2..=2)?;
    }
    let zone_minutes = if lexer.at_end() { 0 } else { zone(&next_word(&mut lexer)?) };
    // A leap second is the second before it.
    let second = if second == 60 { 59 } else { second };
    let local = unix_seconds(year, month, day, [hour, minute, second])?;
    Some(SentDate { unix_seconds: local - i64::from(zone_minutes) * 60, zone_minutes })
}

fn next_word(lexer: &mut Lexer<'_>) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    match lexer.atom(&mut word) {
        Ok(Next::More | Next::End) => Some(word),
        Err(_) => None,
    }
}

/// `:`, or the `.` that some write for it.
fn skip_time_separator(lexer: &mut Lexer<'_>) -> bool {
    let found = matches!(lexer.peek(), Some(b':' | b'.'));
    if found {
        lexer.bump();
        let _ = lexer.skip_cfws();
    }
    found
}

fn number(word: &[u8], len: std::ops::RangeInclusive<usize>) -> Option<i64> {
    if !len.contains(&word.len()) || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

/// Minutes east of UTC. Unknown names count as UTC, for a mostly right answer is better than none.
fn zone(word: &[u8]) -> i32 {
    match *word {
        [sign @ (b'+' | b'-'), ref digits @ ..] if digits.len() == 4 => match number(digits, 4..=4) {
            Some(hhmm) => {
                let minutes = i32::try_from(hhmm / 100 * 60 + hhmm % 100).unwrap_or(0);
                if sign == b'+' { minutes } else { -minutes }
            }
            None => 0,
        },
        [letter] => military_zone(letter),
        [region, kind, b'T'] => {
            let standard = match region.to_ascii_uppercase() {
                b'E' => -5 * 60,
                b'C' => -6 * 60,
                b'M' => -7 * 60,
                b'P' => -8 * 60,
                _ => return 0,
            };
            match kind.to_ascii_uppercase() {
                b'D' => standard + 60,
                b'S' => standard,
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// The zones of one letter in the sense they have, not the mirrored one of RFC 822. Lower case gives the odd values
/// that Dovecot caches for it.
fn military_zone(letter: u8) -> i32 {
    let from = |zero: u8| (i32::from(letter) - i32::from(zero)) * 60;
    match letter.to_ascii_uppercase() {
        b'K'..=b'M' => from(b'A'),
        b'N'..=b'Y' => -from(b'M'),
        b'J' | b'Z'..=0x7f => 0,
        _ => from(b'A' - 1),
    }
}

fn unix_seconds(year: i64, month: usize, day: i64, [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_len = match month {
        1 if leap_year => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    if !(1..=month_len).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970 with years that begin in March, so that the leap day is the last of its year.
    let month_from_march = (i64::try_from(month).ok()? + 10) % 12;
    let year = if month < 2 { year - 1 } else { year };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    // -1 is how Dovecot's conversion says "no such time".
    (seconds != -1).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 +0000", Some((0, 0))),
            ("Tue, 02 Feb 2011 01:07:13 -0500", Some((1_296_626_833, -300))),
            ("29 Feb 2000 23:59:60 GMT", Some((951_868_799, 0))),
            ("1 jan 99 0.00 EST", Some((915_166_800, -300))),
            ("Mon , 1 January (new) 2024\n 1:02:03 (x) +0530", Some((1_704_051_123, 330))),
            ("1 Jan 2024 1:02", Some((1_704_070_920, 0))),
            ("29 Feb 1900 00:00:00 +0000", None),
            ("31 Apr 2020 00:00:00 +0000", None),
            ("Monday, 1 Jan 2024 00:00:00 +0000", None),
            ("1 Jan 2024", None),
            ("", None),
        ] {
            let date = parse_date(text.as_bytes()).map(|date| (date.unix_seconds, date.zone_minutes));
            assert_eq!(date, expected, "{text}");
        }
    }
}
