//! Commands (RFC 2033, RFC 5321, RFC 3030, RFC 3207) with the parameters of the extensions that are offered.

use crate::{
    address::{self, Address},
    reply::Reply,
};

/// A command line taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// With the client's name.
    Lhlo(String),
    /// HELO and EHLO, which are SMTP's.
    Hello,
    Mail(Mail),
    Rcpt(Address),
    Data,
    Bdat {
        len: u64,
        last: bool,
    },
    StartTls,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// MAIL and its parameters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mail {
    pub(crate) from: Address,
    /// SIZE (RFC 1870).
    pub(crate) size: u64,
    /// SMTPUTF8 (RFC 6531).
    pub(crate) utf8: bool,
}

impl Command {
    /// Of a line without its end; else the refusal.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Reply> {
        let line = std::str::from_utf8(line).map_err(|_| Reply::SYNTAX)?.trim_end_matches(' ');
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        let without_arguments = |command| if rest.is_empty() { Ok(command) } else { Err(Reply::SYNTAX) };
        match keyword.to_ascii_uppercase().as_str() {
            "LHLO" => match address::domain(rest) {
                Some((name, "")) => Ok(Self::Lhlo(name.to_owned())),
                _ => Err(Reply::SYNTAX),
            },
            "HELO" | "EHLO" => Ok(Self::Hello),
            "MAIL" => mail(after_word(rest, "FROM:")?),
            "RCPT" => rcpt(after_word(rest, "TO:")?),
            "DATA" => without_arguments(Self::Data),
            "BDAT" => bdat(rest),
            "STARTTLS" => without_arguments(Self::StartTls),
            "RSET" => without_arguments(Self::Rset),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            "QUIT" => without_arguments(Self::Quit),
            "EXPN" | "HELP" | "ETRN" | "TURN" | "AUTH" | "XCLIENT" => Err(Reply::NOT_SUPPORTED),
            _ => Err(Reply::UNKNOWN_COMMAND),
        }
    }
}

/// What follows `FROM:` or `TO:`; spaces before a path are wrong, but common.
fn after_word<'a>(text: &'a str, word: &str) -> Result<&'a str, Reply> {
    let (found, rest) = text.split_at_checked(word.len()).ok_or(Reply::SYNTAX)?;
    if found.eq_ignore_ascii_case(word) { Ok(rest.trim_start_matches(' ')) } else { Err(Reply::SYNTAX) }
}

fn mail(text: &str) -> Result<Command, Reply> {
    let (from, parameters) = Address::parse(text).ok_or(Reply::BAD_ADDRESS)?;
    let mut mail = Mail { from, ..Mail::default() };
    for parameter in words(parameters)? {
        let (name, value) = parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        match (name.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(size)) => {
                let is_number = !size.is_empty() && size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit());
                // Twenty digits are what RFC 1870 §3 allows; the largest of them are beyond every limit anyway.
                mail.size = if is_number { size.parse().unwrap_or(u64::MAX) } else { return Err(Reply::SYNTAX) };
            }
            ("BODY", Some(body)) if ["7BIT", "8BITMIME"].iter().any(|known| body.eq_ignore_ascii_case(known)) => {}
            ("SMTPUTF8", None) => mail.utf8 = true,
            _ => return Err(Reply::BAD_PARAMETER),
        }
    }
    if !mail.utf8 && !mail.from.is_ascii() { Err(Reply::NEEDS_SMTPUTF8) } else { Ok(Command::Mail(mail)) }
}

fn rcpt(text: &str) -> Result<Command, Reply> {
    let (to, parameters) = Address::parse(text).ok_or(Reply::BAD_ADDRESS)?;
    match words(parameters)?.next() {
        _ if to.is_null() => Err(Reply::BAD_ADDRESS),
        None => Ok(Command::Rcpt(to)),
        Some(_) => Err(Reply::BAD_PARAMETER),
    }
}

/// The parameters behind a path.
fn words(text: &str) -> Result<impl Iterator<Item = &str>, Reply> {
    if text.is_empty() || text.starts_with(' ') {
        Ok(text.split(' ').filter(|word| !word.is_empty()))
    } else {
        Err(Reply::BAD_ADDRESS)
    }
}

/// A chunk whose length cannot be told ends the session: where the next command begins cannot be told either.
fn bdat(text: &str) -> Result<Command, Reply> {
    let (len, last) = match text.split_once(' ') {
        Some((len, last)) if last.eq_ignore_ascii_case("LAST") => (len, true),
        Some(_) => return Err(Reply::BAD_CHUNK),
        None => (text, false),
    };
    let is_number = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
    match len.parse() {
        Ok(len) if is_number => Ok(Command::Bdat { len, last }),
        _ => Err(Reply::BAD_CHUNK),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, Reply> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn commands_and_parameters() {
        assert_eq!(parse("lhlo [::1]"), Ok(Command::Lhlo("[::1]".to_owned())));
        assert_eq!(parse("DATA "), Ok(Command::Data));
        assert_eq!(parse("bdat 17 last"), Ok(Command::Bdat { len: 17, last: true }));
        assert_eq!(parse("BDAT 0"), Ok(Command::Bdat { len: 0, last: false }));
        let mail = |line| match parse(line) {
            Ok(Command::Mail(Mail { from, size, utf8 })) => (from.to_string(), size, utf8),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(mail("MAIL FROM:<> SIZE=12 BODY=8BITMIME"), (String::new(), 12, false));
        assert_eq!(mail("mail from: <a@b> body=7bit  SMTPUTF8"), ("a@b".to_owned(), 0, true));
        assert_eq!(mail("MAIL FROM:<ä@b> SMTPUTF8"), ("ä@b".to_owned(), 0, true));
        assert_eq!(mail("MAIL FROM:<a> SIZE=99999999999999999999").1, u64::MAX);
        assert!(matches!(parse("RCPT TO:<ann>"), Ok(Command::Rcpt(_))));
    }

    #[test]
    fn what_is_refused_and_how() {
        for (line, reply) in [
            ("", Reply::UNKNOWN_COMMAND),
            ("FROB x", Reply::UNKNOWN_COMMAND),
            (" DATA", Reply::UNKNOWN_COMMAND),
            ("LHLO", Reply::SYNTAX),
            ("LHLO a b", Reply::SYNTAX),
            ("LHLO a\tb", Reply::SYNTAX),
            ("DATA x", Reply::SYNTAX),
            ("MAIL", Reply::SYNTAX),
            ("MAIL TO:<a>", Reply::SYNTAX),
            ("MAIL FROM:a@b", Reply::BAD_ADDRESS),
            ("MAIL FROM:<a@b>x", Reply::BAD_ADDRESS),
            ("MAIL FROM:<ä@b>", Reply::NEEDS_SMTPUTF8),
            ("MAIL FROM:<a> SIZE=x", Reply::SYNTAX),
            ("MAIL FROM:<a> SIZE=", Reply::SYNTAX),
            ("MAIL FROM:<a> SIZE=+1", Reply::SYNTAX),
            ("MAIL FROM:<a> BODY=BINARYMIME", Reply::BAD_PARAMETER),
            ("MAIL FROM:<a> SMTPUTF8=1", Reply::BAD_PARAMETER),
            ("MAIL FROM:<a> AUTH=<>", Reply::BAD_PARAMETER),
            ("RCPT TO:<>", Reply::BAD_ADDRESS),
            ("RCPT TO:<a> NOTIFY=NEVER", Reply::BAD_PARAMETER),
            ("BDAT", Reply::BAD_CHUNK),
            ("BDAT -1", Reply::BAD_CHUNK),
            ("BDAT +1", Reply::BAD_CHUNK),
            ("BDAT 1 LAST x", Reply::BAD_CHUNK),
            ("BDAT 99999999999999999999999", Reply::BAD_CHUNK),
            ("AUTH PLAIN", Reply::NOT_SUPPORTED),
        ] {
            assert_eq!(parse(line), Err(reply), "{line}");
        }
        assert_eq!(Command::parse(b"MAIL FROM:<\xff>"), Err(Reply::SYNTAX));
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_parser(line in prop::collection::vec(any::<u8>(), 0..60), keyword in "(MAIL FROM:|RCPT TO:|BDAT |LHLO )?") {
            let _ = Command::parse(&[keyword.as_bytes(), &line].concat());
        }
    }
}
