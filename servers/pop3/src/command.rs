//! Commands (RFC 1939 §3): a keyword of any case, and what follows the first space.

use crate::reply::Refusal;

/// A command line taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command<'a> {
    Capa,
    Stls,
    User(&'a [u8]),
    Pass(&'a [u8]),
    Auth(&'a [u8]),
    Stat,
    List(&'a [u8]),
    Uidl(&'a [u8]),
    Retr(&'a [u8]),
    Top(&'a [u8]),
    Dele(&'a [u8]),
    Rset,
    Noop,
    Last,
    Quit,
    Unknown,
}

impl<'a> Command<'a> {
    /// Of a line without its end. Arguments of commands that take none are passed over, and so are spaces before numbers,
    /// as Dovecot does.
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let (keyword, arguments) = match memchr::memchr(b' ', line) {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        let spaces = arguments.iter().take_while(|&&byte| byte == b' ').count();
        let numbers = arguments.get(spaces..).unwrap_or_default();
        let mut upper = [0; 4];
        let Some(name) = upper.get_mut(..keyword.len()) else { return Self::Unknown };
        name.copy_from_slice(keyword);
        name.make_ascii_uppercase();
        match &*name {
            b"CAPA" => Self::Capa,
            b"STLS" => Self::Stls,
            b"USER" => Self::User(arguments),
            b"PASS" => Self::Pass(arguments),
            b"AUTH" => Self::Auth(arguments),
            b"STAT" => Self::Stat,
            b"LIST" => Self::List(numbers),
            b"UIDL" => Self::Uidl(numbers),
            b"RETR" => Self::Retr(numbers),
            b"TOP" => Self::Top(numbers),
            b"DELE" => Self::Dele(numbers),
            b"RSET" => Self::Rset,
            b"NOOP" => Self::Noop,
            b"LAST" => Self::Last,
            b"QUIT" => Self::Quit,
            _ => Self::Unknown,
        }
    }
}

/// A message number that stands alone; not yet that of a message.
pub(crate) fn number(arguments: &[u8]) -> Result<u64, Refusal> {
    match digits(arguments) {
        Some((number, [])) => Ok(number),
        _ => Err(Refusal::BAD_NUMBER),
    }
}

/// A message number and a number of lines.
pub(crate) fn number_and_lines(arguments: &[u8]) -> Result<(u64, u64), Refusal> {
    let Some((number, [b' ', rest @ ..])) = digits(arguments) else { return Err(Refusal::BAD_NUMBER) };
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    match digits(rest.get(spaces..).unwrap_or_default()) {
        // More than can be counted is no number of lines, as with Dovecot.
        Some((lines, [])) if lines < u64::MAX => Ok((number, lines)),
        _ => Err(Refusal::BAD_LINES),
    }
}

/// The number at the beginning, and what follows it. One beyond all numbers is as good as the largest.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(len).filter(|(digits, _)| !digits.is_empty())?;
    let number =
        digits.iter().fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_of_any_case_and_nothing_else() {
        assert_eq!(Command::parse(b"sTaT"), Command::Stat);
        assert_eq!(Command::parse(b"top 1 2"), Command::Top(b"1 2"));
        assert_eq!(Command::parse(b"PASS a  b "), Command::Pass(b"a  b "));
        assert_eq!(Command::parse(b"LIST"), Command::List(b""));
        assert_eq!(Command::parse(b"LIST  "), Command::List(b""));
        assert_eq!(Command::parse(b"RETR  1"), Command::Retr(b"1"));
        for line in [&b""[..], b" STAT", b"STATX", b"ST\0T", b"\xff", b"STAT\t", b"XCLIENT"] {
            assert_eq!(Command::parse(line), Command::Unknown);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"17"), Ok(17));
        assert_eq!(number(b"99999999999999999999999"), Ok(u64::MAX));
        for text in [&b""[..], b" 1", b"1 ", b"1 2", b"x", b"-1", b"+1"] {
            assert_eq!(number(text), Err(Refusal::BAD_NUMBER));
        }
        assert_eq!(number_and_lines(b"1 0"), Ok((1, 0)));
        for text in [&b"1"[..], b"", b"x 1"] {
            assert_eq!(number_and_lines(text), Err(Refusal::BAD_NUMBER));
        }
        assert_eq!(number_and_lines(b"1  2"), Ok((1, 2)));
        for text in [&b"1 "[..], b"1 x", b"1 1 1", b"1 1 ", b"1 99999999999999999999"] {
            assert_eq!(number_and_lines(text), Err(Refusal::BAD_LINES));
        }
    }
}
