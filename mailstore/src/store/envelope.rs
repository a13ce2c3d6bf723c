//! Who wrote to whom about what, as text for people.

use std::fmt;

use mailmime::{Address, Envelope, decode_header_text};
use mailtypes::InternalDate;

/// The fields of a message's header that say who wrote to whom about what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageEnvelope {
    envelope: Envelope,
}

/// Somebody whom a message is from or goes to. Its `Display` is for people: it quotes nothing.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Correspondent {
    /// The name, decoded; empty if there is none.
    pub name: String,
    /// The address, `ann@example.org`.
    pub address: String,
}

impl MessageEnvelope {
    pub(super) fn of_header(lines: &[u8]) -> Self {
        Self { envelope: Envelope::from_header(lines) }
    }

    /// The subject, decoded; empty if there is none.
    pub fn subject(&self) -> String {
        self.envelope.subject.as_deref().map(decode_header_text).unwrap_or_default()
    }

    /// Who wrote it; mostly one.
    pub fn from(&self) -> Vec<Correspondent> {
        correspondents(&self.envelope.from)
    }

    /// Whom it goes to; the members of groups stand there like others.
    pub fn to(&self) -> Vec<Correspondent> {
        correspondents(&self.envelope.to)
    }

    /// Whom it goes to besides.
    pub fn cc(&self) -> Vec<Correspondent> {
        correspondents(&self.envelope.cc)
    }

    /// Whom to answer: those of Reply-To, else those who wrote it.
    pub fn reply_to(&self) -> Vec<Correspondent> {
        let Envelope { reply_to, from, .. } = &self.envelope;
        correspondents(if reply_to.is_empty() { from } else { reply_to })
    }

    /// When it was written, as its writer says. `None` where there is no valid date.
    pub fn date(&self) -> Option<InternalDate> {
        let date = mailmime::parse_date(self.envelope.date.as_deref()?)?;
        Some(InternalDate { unix: date.unix_seconds, zone: i16::try_from(date.zone_minutes).unwrap_or(0) })
    }

    /// Its Message-ID, as it stands there; empty if there is none.
    pub fn message_id(&self) -> String {
        let id = self.envelope.message_id.as_deref().unwrap_or_default();
        String::from_utf8_lossy(id.trim_ascii()).into_owned()
    }

    /// All fields, as they stand in the message.
    pub fn fields(&self) -> &Envelope {
        &self.envelope
    }
}

/// Those with an address: the begin and the end of a group have none.
fn correspondents(list: &[Address]) -> Vec<Correspondent> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let one = |address: &Address| {
        let (mailbox, domain) = (address.mailbox.as_deref()?, address.domain.as_deref()?);
        let name = address.name.as_deref().map(decode_header_text).unwrap_or_default();
        Some(Correspondent { name, address: format!("{}@{}", text(mailbox), text(domain)) })
    };
    list.iter().filter_map(one).collect()
}

impl fmt::Display for Correspondent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address } = self;
        if name.is_empty() { f.write_str(address) } else { write!(f, "{name} <{address}>") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &[Correspondent]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_are_decoded() {
        let envelope = MessageEnvelope::of_header(
            b"Date: Thu, 29 Nov 2001 22:33:52 +0130\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\
              From: =?iso-8859-1?q?J=FCrgen?= <j@example.org>\nTo: friends: ann@example.org, Bob <b@example.org>;\n\
              Cc: c@example.org\nMessage-ID:  <1@x> \n",
        );
        assert_eq!(envelope.subject(), "Grüße");
        assert_eq!(shown(&envelope.from()), ["Jürgen <j@example.org>"]);
        assert_eq!(shown(&envelope.to()), ["ann@example.org", "Bob <b@example.org>"]);
        assert_eq!(shown(&envelope.cc()), ["c@example.org"]);
        assert_eq!(envelope.reply_to(), envelope.from());
        assert_eq!(envelope.date(), Some(InternalDate { unix: 1_007_067_832, zone: 90 }));
        assert_eq!(envelope.message_id(), "<1@x>");
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let envelope = MessageEnvelope::of_header(b"Date: soon\nReply-To: r@example.org\n");
        assert_eq!((envelope.subject(), envelope.message_id()), (String::new(), String::new()));
        assert_eq!((envelope.from(), envelope.date()), (Vec::new(), None));
        assert_eq!(shown(&envelope.reply_to()), ["r@example.org"]);
    }
}
