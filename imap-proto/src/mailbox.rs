//! Mailbox names and patterns as clients write them: in modified UTF-7 (RFC 3501 §5.1.3).

use std::fmt;

use mailtypes::{InvalidMailboxName, MailboxName, mutf7};

/// A `mailbox` argument: the bytes of its astring, not yet decoded, so that a name that cannot be is the session's to
/// answer (NO, not BAD).
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Mailbox(Vec<u8>);

/// Why a `mailbox` names none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidMailbox {
    /// Not modified UTF-7.
    #[error("mailbox name is not valid modified UTF-7: {0}")]
    Encoding(#[from] mutf7::InvalidMutf7),
    /// A level of it has the character that separates levels in stores.
    #[error("a level of a mailbox name cannot have {} in it", MailboxName::SEPARATOR)]
    Separator,
    /// A name that no mailbox can have.
    #[error(transparent)]
    Name(#[from] InvalidMailboxName),
}

impl Mailbox {
    /// From the bytes of an astring.
    pub fn from_wire(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as the client wrote them.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The mailbox's name, whose levels the client separates by this character; `inbox` in any case is `INBOX`.
    pub fn name(&self, separator: char) -> Result<MailboxName, InvalidMailbox> {
        name_of(&self.0, separator)
    }

    /// The name to create, and whether a separator followed it: the client means to create mailboxes below it
    /// (RFC 9051 §6.3.4).
    pub fn name_to_create(&self, separator: char) -> Result<(MailboxName, bool), InvalidMailbox> {
        let mut encoded = [0; 4];
        match self.0.strip_suffix(separator.encode_utf8(&mut encoded).as_bytes()) {
            Some(parent) => Ok((name_of(parent, separator)?, true)),
            None => Ok((self.name(separator)?, false)),
        }
    }
}

fn name_of(bytes: &[u8], separator: char) -> Result<MailboxName, InvalidMailbox> {
    let text = mutf7::decode(bytes)?;
    let text = with_own_separator(text, separator).ok_or(InvalidMailbox::Separator)?;
    Ok(MailboxName::new(&text)?)
}

/// A client's name or pattern with the separator that names have. `None` if a level has that in it.
fn with_own_separator(text: String, separator: char) -> Option<String> {
    match separator {
        MailboxName::SEPARATOR => Some(text),
        _ if text.contains(MailboxName::SEPARATOR) => None,
        separator => Some(text.replace(separator, MailboxName::SEPARATOR.encode_utf8(&mut [0; 4]))),
    }
}

impl From<&MailboxName> for Mailbox {
    fn from(name: &MailboxName) -> Self {
        Self(mutf7::encode(name.as_str()).into_bytes())
    }
}

/// A LIST or LSUB argument: a reference or a `list-mailbox`, in which `*` and `%` are wildcards. May be empty.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct ListMailbox(Vec<u8>);

impl ListMailbox {
    /// From the bytes of a `list-mailbox` or string.
    pub fn from_wire(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as the client wrote them.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing was given: as a pattern, the client asks for the hierarchy separator.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pattern in UTF-8, wildcards in place, its levels separated as in [`MailboxName`] where the client has
    /// `separator`. `None` for a pattern that can match no mailbox.
    pub fn pattern(&self, separator: char) -> Option<String> {
        with_own_separator(mutf7::decode(&self.0).ok()?, separator)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for ListMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_late_and_say_what_is_wrong() {
        let name = |wire: &[u8]| Mailbox::from_wire(wire).name('/').map(|name| name.to_string());
        assert_eq!(name(b"iNbOx"), Ok("INBOX".into()));
        assert_eq!(name(b"Entw&APw-rfe/x"), Ok("Entwürfe/x".into()));
        assert!(matches!(name(b"a&"), Err(InvalidMailbox::Encoding(_))));
        assert!(matches!(name("ü".as_bytes()), Err(InvalidMailbox::Encoding(_))));
        assert!(matches!(name(b"../x"), Err(InvalidMailbox::Name(_))));
        assert!(matches!(name(b""), Err(InvalidMailbox::Name(_))));
    }

    #[test]
    fn another_separator_on_the_wire() {
        let mailbox = Mailbox::from_wire(&b"a.b"[..]);
        assert_eq!(mailbox.name('.').map(|name| name.to_string()), Ok("a/b".into()));
        assert_eq!(mailbox.name('/').map(|name| name.to_string()), Ok("a.b".into()));
        assert_eq!(Mailbox::from_wire(&b"a/b"[..]).name('.'), Err(InvalidMailbox::Separator));
        let create = Mailbox::from_wire(&b"a.b."[..]).name_to_create('.');
        assert_eq!(create.map(|(name, below)| (name.to_string(), below)), Ok(("a/b".into(), true)));
        let pattern = |wire: &[u8]| ListMailbox::from_wire(wire).pattern('.');
        assert_eq!(pattern(b"a.%"), Some("a/%".into()));
        assert_eq!(pattern(b"a/%"), None);
    }

    #[test]
    fn a_trailing_separator_declares_a_parent() {
        let create =
            |wire: &[u8]| Mailbox::from_wire(wire).name_to_create('/').map(|(name, below)| (name.to_string(), below));
        assert_eq!(create(b"owatagusiam/"), Ok(("owatagusiam".into(), true)));
        assert_eq!(create(b"owatagusiam"), Ok(("owatagusiam".into(), false)));
        assert!(create(b"/").is_err());
    }
}
