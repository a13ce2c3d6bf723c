//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2) as Dovecot prints them: names and values as spelled in the message,
//! sizes with CRLF line ends, the defaults of RFC 2045 filled in.

use crate::content::{Content, Param};
use crate::envelope::Envelope;
use crate::part::{PartFlags, PartIndex, PartTree};
use crate::quote::{write_nstring, write_nstring_unfolded, write_string};
use crate::structure::Structure;

/// The charset of a text that does not name one.
pub(crate) const DEFAULT_CHARSET: &[u8] = b"us-ascii";

/// What stands for the parts of a multipart that has none.
const NO_PARTS: &[u8] = br#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0"#;

impl PartTree {
    /// Appends BODY, without the outer parentheses, of a message that the cache calls
    /// [`crate::CacheFlags::PLAIN_7BIT`]: for those Dovecot caches no text but makes it from the sizes.
    pub fn write_plain_body_inner(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""text" "plain" ("charset" "us-ascii") NIL NIL "7bit""#);
        write_number(out, self.root().body.virtual_len);
        write_number(out, u64::from(self.root().body.lines));
    }

    /// Appends BODYSTRUCTURE likewise.
    pub fn write_plain_bodystructure_inner(&self, out: &mut Vec<u8>) {
        self.write_plain_body_inner(out);
        out.extend_from_slice(b" NIL NIL NIL NIL");
    }
}

impl Structure {
    /// Appends ENVELOPE, in its parentheses.
    pub fn write_envelope(&self, out: &mut Vec<u8>) {
        self.write_envelope_of(out, PartIndex::ROOT);
    }

    /// Appends BODY, in its parentheses.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        self.write_part(out, PartIndex::ROOT, false);
    }

    /// Appends BODYSTRUCTURE, in its parentheses.
    pub fn write_bodystructure(&self, out: &mut Vec<u8>) {
        self.write_part(out, PartIndex::ROOT, true);
    }

    /// Appends ENVELOPE without the outer parentheses: the cache's `imap.envelope`.
    pub fn write_envelope_inner(&self, out: &mut Vec<u8>) {
        match self.envelope() {
            Some(envelope) => envelope.write_inner(out),
            None => Envelope::default().write_inner(out),
        }
    }

    /// Appends BODY without the outer parentheses: the cache's `imap.body`.
    pub fn write_body_inner(&self, out: &mut Vec<u8>) {
        self.write_part_inner(out, PartIndex::ROOT, false);
    }

    /// Appends BODYSTRUCTURE without the outer parentheses: the cache's `imap.bodystructure`.
    pub fn write_bodystructure_inner(&self, out: &mut Vec<u8>) {
        self.write_part_inner(out, PartIndex::ROOT, true);
    }

    fn write_envelope_of(&self, out: &mut Vec<u8>, part: PartIndex) {
        match self.envelope_of(part) {
            Some(envelope) => envelope.write(out),
            None => Envelope::default().write(out),
        }
    }

    /// Recursive, a level of the stack for each level of nesting, which the scan bounds.
    fn write_part(&self, out: &mut Vec<u8>, part: PartIndex, extended: bool) {
        out.push(b'(');
        self.write_part_inner(out, part, extended);
        out.push(b')');
    }

    fn write_part_inner(&self, out: &mut Vec<u8>, part: PartIndex, extended: bool) {
        if self.tree().part(part).flags.has(PartFlags::MULTIPART) {
            self.write_multipart(out, part, extended);
        } else {
            self.write_single(out, part, extended);
        }
    }

    fn write_multipart(&self, out: &mut Vec<u8>, part: PartIndex, extended: bool) {
        let content = self.content(part);
        let mut children = self.tree().children(part).peekable();
        if children.peek().is_none() {
            out.extend_from_slice(NO_PARTS);
            out.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
        }
        for child in children {
            self.write_part(out, child, extended);
        }
        out.push(b' ');
        write_string(out, content.media_type.as_ref().map_or(b"", |(_, sub)| sub));
        if extended {
            out.push(b' ');
            write_params(out, &content.params, false);
            write_extension(out, content);
        }
    }

    fn write_single(&self, out: &mut Vec<u8>, index: PartIndex, extended: bool) {
        let part = self.tree().part(index);
        let content = self.content(index);
        let is_message = part.flags.has(PartFlags::MESSAGE_RFC822);
        let mut is_text = false;
        if is_message {
            out.extend_from_slice(br#""message" "rfc822""#);
        } else if self.is_cut_off(index) {
            out.extend_from_slice(br#""application" "octet-stream""#);
        } else if let Some((main, sub)) = &content.media_type {
            is_text = content.main_type_is("text");
            write_string(out, main);
            out.push(b' ');
            write_string(out, sub);
        } else {
            is_text = true;
            out.extend_from_slice(br#""text" "plain""#);
        }
        out.push(b' ');
        write_params(out, &content.params, is_text);
        for text in [&content.id, &content.description] {
            out.push(b' ');
            write_nstring_unfolded(out, text.as_deref());
        }
        out.push(b' ');
        write_string(out, content.transfer_encoding.as_deref().unwrap_or(b"7bit"));
        write_number(out, part.body.virtual_len);
        if is_text {
            write_number(out, u64::from(part.body.lines));
        } else if is_message {
            for child in self.tree().children(index) {
                out.push(b' ');
                self.write_envelope_of(out, child);
                out.push(b' ');
                self.write_part(out, child, extended);
            }
            write_number(out, u64::from(part.body.lines));
        }
        if extended {
            out.push(b' ');
            write_nstring_unfolded(out, content.md5.as_deref());
            write_extension(out, content);
        }
    }

    /// A part that its header says to hold others, but that was not taken apart: a limit was met.
    fn is_cut_off(&self, index: PartIndex) -> bool {
        let content = self.content(index);
        if content.media_type.is_some() {
            return content.is_type("message", "rfc822") || content.main_type_is("multipart");
        }
        let parent = self.tree().parent(index).map(|parent| self.tree().part(parent));
        parent.is_some_and(|parent| parent.flags.has(PartFlags::MULTIPART_DIGEST))
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(format!(" {number}").as_bytes());
}

fn write_params(out: &mut Vec<u8>, params: &[Param], with_charset: bool) {
    let add_charset = with_charset && !params.iter().any(|param| param.name.eq_ignore_ascii_case(b"charset"));
    if params.is_empty() && !add_charset {
        return out.extend_from_slice(b"NIL");
    }
    let default = (&b"charset"[..], DEFAULT_CHARSET);
    let params = params.iter().map(|param| (param.name.as_slice(), param.value.as_slice()));
    let mut separator = b'(';
    for (name, value) in params.chain(add_charset.then_some(default)) {
        out.push(separator);
        write_string(out, name);
        out.push(b' ');
        write_string(out, value);
        separator = b' ';
    }
    out.push(b')');
}

/// Disposition, language and location, which single parts and multiparts have in common.
fn write_extension(out: &mut Vec<u8>, content: &Content) {
    match &content.disposition {
        None => out.extend_from_slice(b" NIL"),
        Some(disposition) => {
            out.extend_from_slice(b" (");
            write_string(out, &disposition.kind);
            out.push(b' ');
            write_params(out, &disposition.params, false);
            out.push(b')');
        }
    }
    out.push(b' ');
    match content.language.split_first() {
        None => write_nstring(out, None),
        Some((first, others)) => {
            out.push(b'(');
            write_string(out, first);
            for tag in others {
                out.push(b' ');
                write_string(out, tag);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    write_nstring_unfolded(out, content.location.as_deref());
}
