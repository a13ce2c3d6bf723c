//! ENVELOPE (RFC 9051 §7.5.2): the fields of a message header that IMAP gives parsed.
//!
//! It can be made from the message's header or from the cached `hdr.*` fields (`docs/formats/cache.md`): the order of
//! different fields does not matter. Address fields that stand there twice are joined; of the others the last counts.

use crate::address::{Address, parse_address_list};
use crate::header::{Fields, unfold_value};
use crate::limits::{Budget, Limits};
use crate::param::replace_nuls;
use crate::quote::{write_nstring, write_nstring_unfolded, write_string_for_humans};

/// The parsed fields. Texts are raw: folded perhaps, not decoded (RFC 2047).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Envelope {
    /// Date, as it stands there.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<Address>,
    /// Sender; printed as `from` if empty.
    pub sender: Vec<Address>,
    /// Reply-To; printed as `from` if empty.
    pub reply_to: Vec<Address>,
    /// To.
    pub to: Vec<Address>,
    /// Cc.
    pub cc: Vec<Address>,
    /// Bcc.
    pub bcc: Vec<Address>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// The header fields that an envelope is made of, in its order and in the spelling Dovecot caches them under.
    pub const FIELDS: [&'static str; 10] =
        ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"];

    /// From fields as (name, raw value), the raw value being all behind the colon, folded or not, with or without
    /// the line end. Other fields are passed over. At most [`Limits::CONTENT_LEN_MAX`] bytes are kept.
    pub fn from_fields<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut envelope = Self::default();
        let mut budget = Budget::new(Limits::CONTENT_LEN_MAX);
        for (name, raw_value) in fields {
            envelope.read_field(name, &unfold_value(raw_value), &mut budget);
        }
        envelope
    }

    /// From a header, or from header lines put together from the cache, an empty line at the end or not.
    #[must_use]
    pub fn from_header(header: &[u8]) -> Self {
        Self::from_fields(Fields::new(header).map(|field| (field.name_to_nul(), field.raw_value)))
    }

    /// Takes in one field; `value` as [`unfold_value`] gives it.
    pub(crate) fn read_field(&mut self, name: &[u8], value: &[u8], budget: &mut Budget) {
        let Some(field) = Self::FIELDS.iter().find(|field| name.eq_ignore_ascii_case(field.as_bytes())) else { return };
        match *field {
            "Date" => set_text(&mut self.date, value, budget),
            "Subject" => set_text(&mut self.subject, value, budget),
            "In-Reply-To" => set_text(&mut self.in_reply_to, value, budget),
            "Message-ID" => set_text(&mut self.message_id, value, budget),
            "From" => add_addresses(&mut self.from, value, budget),
            "Sender" => add_addresses(&mut self.sender, value, budget),
            "Reply-To" => add_addresses(&mut self.reply_to, value, budget),
            "To" => add_addresses(&mut self.to, value, budget),
            "Cc" => add_addresses(&mut self.cc, value, budget),
            _ => add_addresses(&mut self.bcc, value, budget),
        }
    }

    /// Appends the envelope in its parentheses, as in a FETCH response.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'(');
        self.write_inner(out);
        out.push(b')');
    }

    /// Appends the envelope without the outer parentheses, as the cache's `imap.envelope` has it.
    pub fn write_inner(&self, out: &mut Vec<u8>) {
        write_nstring_unfolded(out, self.date.as_deref());
        out.push(b' ');
        match &self.subject {
            None => out.extend_from_slice(b"NIL"),
            Some(subject) => write_string_for_humans(out, subject),
        }
        let from = out.len();
        out.push(b' ');
        write_addresses(out, &self.from);
        let from = from..out.len();
        for list in [&self.sender, &self.reply_to] {
            if list.is_empty() {
                out.extend_from_within(from.clone());
            } else {
                out.push(b' ');
                write_addresses(out, list);
            }
        }
        for list in [&self.to, &self.cc, &self.bcc] {
            out.push(b' ');
            write_addresses(out, list);
        }
        for text in [&self.in_reply_to, &self.message_id] {
            out.push(b' ');
            write_nstring_unfolded(out, text.as_deref());
        }
    }
}

fn set_text(text: &mut Option<Vec<u8>>, value: &[u8], budget: &mut Budget) {
    if budget.charge(value.len()) {
        *text = Some(replace_nuls(value));
    }
}

/// Entries kept of one address field. A mail to more people than this is no mail.
const ADDRESS_COUNT_MAX: usize = 65_536;

fn add_addresses(list: &mut Vec<Address>, value: &[u8], budget: &mut Budget) {
    let addresses = parse_address_list(value, ADDRESS_COUNT_MAX);
    if budget.charge(addresses.iter().map(Address::memory_len).sum()) {
        list.extend(addresses);
    }
}

fn write_addresses(out: &mut Vec<u8>, list: &[Address]) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        match &address.name {
            None => out.extend_from_slice(b"NIL"),
            Some(name) => write_string_for_humans(out, name),
        }
        for text in [&address.route, &address.mailbox, &address.domain] {
            out.push(b' ');
            write_nstring(out, text.as_deref());
        }
        out.push(b')');
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let fields: [(&[u8], &[u8]); 3] = [(b"from", b" a@b\n"), (b"SENDER", b"\n"), (b"To", b" x:\n y@z;\n")];
        let mut out = Vec::new();
        Envelope::from_fields(fields).write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) \
             ((NIL NIL \"x\" NIL)(NIL NIL \"y\" \"z\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn last_text_counts_and_addresses_join() {
        let envelope = Envelope::from_header(b"Subject: a\nCc: a@b\nSubject: b\nCC: c@d\n\nCc: body@x\n");
        assert_eq!(envelope.subject.as_deref(), Some(&b"b"[..]));
        assert_eq!(envelope.cc.len(), 2);
    }
}
