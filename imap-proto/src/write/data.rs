//! Data that is neither a status nor a message's (RFC 9051 §7.2 to §7.5.1).

use mailtypes::{Flags, Keyword, MailboxName, ModSeq, SeqNum, UidSet, mutf7};

use super::strings::{flag_list, mailbox, nstring, number, object_id, quoted, string, uid_set};
use crate::{SpecialUse, StatusItem, StatusValue, Tag};

/// A mailbox's attribute in a LIST answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListAttribute {
    /// `\Noselect`
    NoSelect,
    /// `\Noinferiors`
    NoInferiors,
    /// `\Marked`
    Marked,
    /// `\Unmarked`
    Unmarked,
    /// `\HasChildren` (RFC 3348)
    HasChildren,
    /// `\HasNoChildren` (RFC 3348)
    HasNoChildren,
    /// `\NonExistent` (RFC 5258)
    NonExistent,
    /// `\Subscribed` (RFC 5258)
    Subscribed,
    /// `\Remote` (RFC 5258)
    Remote,
    /// `\All` (RFC 6154)
    All,
    /// `\Archive` (RFC 6154)
    Archive,
    /// `\Drafts` (RFC 6154)
    Drafts,
    /// `\Flagged` (RFC 6154)
    Flagged,
    /// `\Junk` (RFC 6154)
    Junk,
    /// `\Sent` (RFC 6154)
    Sent,
    /// `\Trash` (RFC 6154)
    Trash,
    /// `\Important` (RFC 8457)
    Important,
}

impl ListAttribute {
    /// The name, with its backslash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSelect => "\\Noselect",
            Self::NoInferiors => "\\Noinferiors",
            Self::Marked => "\\Marked",
            Self::Unmarked => "\\Unmarked",
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::NonExistent => "\\NonExistent",
            Self::Subscribed => "\\Subscribed",
            Self::Remote => "\\Remote",
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
            Self::Important => "\\Important",
        }
    }
}

impl From<SpecialUse> for ListAttribute {
    fn from(named: SpecialUse) -> Self {
        match named {
            SpecialUse::All => Self::All,
            SpecialUse::Archive => Self::Archive,
            SpecialUse::Drafts => Self::Drafts,
            SpecialUse::Flagged => Self::Flagged,
            SpecialUse::Junk => Self::Junk,
            SpecialUse::Sent => Self::Sent,
            SpecialUse::Trash => Self::Trash,
            SpecialUse::Important => Self::Important,
        }
    }
}

/// Writes `* CAPABILITY list`, its words separated by spaces.
pub fn capability(out: &mut Vec<u8>, list: &str) {
    out.extend_from_slice(b"* CAPABILITY ");
    out.extend_from_slice(list.as_bytes());
    end(out);
}

/// Writes `* ENABLED` with what was enabled.
pub fn enabled(out: &mut Vec<u8>, capabilities: &[&str]) {
    out.extend_from_slice(b"* ENABLED");
    for capability in capabilities {
        out.push(b' ');
        out.extend_from_slice(capability.as_bytes());
    }
    end(out);
}

/// Writes `* ID`; no fields are NIL.
pub fn id(out: &mut Vec<u8>, fields: &[(&str, Option<&str>)]) {
    out.extend_from_slice(b"* ID ");
    if fields.is_empty() {
        out.extend_from_slice(b"NIL");
    }
    for (i, (field, value)) in fields.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        string(out, field.as_bytes());
        out.push(b' ');
        nstring(out, value.map(str::as_bytes));
    }
    if !fields.is_empty() {
        out.push(b')');
    }
    end(out);
}

/// Writes `* NAMESPACE`: the prefixes of the user's own namespaces, of other users' and of shared ones (RFC 2342), with `/`
/// between their levels.
pub fn namespace(out: &mut Vec<u8>, prefixes: [&[&str]; 3], separator: char) {
    out.extend_from_slice(b"* NAMESPACE");
    for group in prefixes {
        out.push(b' ');
        if group.is_empty() {
            out.extend_from_slice(b"NIL");
            continue;
        }
        out.push(b'(');
        for prefix in group {
            out.push(b'(');
            levels(out, prefix, separator);
            out.push(b' ');
            quoted(out, separator.encode_utf8(&mut [0; 4]).as_bytes());
            out.push(b')');
        }
        out.push(b')');
    }
    end(out);
}

/// Writes a name or the beginning of one, with `/` between its levels, as clients see it.
fn levels(out: &mut Vec<u8>, name: &str, separator: char) {
    let levels: Vec<String> = name.split(MailboxName::SEPARATOR).map(mutf7::encode).collect();
    string(out, levels.join(separator.encode_utf8(&mut [0; 4])).as_bytes());
}

/// Writes `* LIST`, the name's levels separated so.
pub fn list(out: &mut Vec<u8>, attributes: &[ListAttribute], separator: Option<char>, name: &MailboxName) {
    list_line(out, b"* LIST (", attributes, separator, name);
    end(out);
}

/// Writes what answers an empty pattern: the separator, and the root of the name that was the reference (RFC 3501 §6.3.8),
/// with `/` between its levels.
pub fn list_root(out: &mut Vec<u8>, separator: char, root: &str) {
    out.extend_from_slice(b"* LIST (");
    out.extend_from_slice(ListAttribute::NoSelect.name().as_bytes());
    out.extend_from_slice(b") ");
    quoted(out, separator.encode_utf8(&mut [0; 4]).as_bytes());
    out.push(b' ');
    levels(out, root, separator);
    end(out);
}

/// Writes `* LIST` of a mailbox with `CHILDINFO`: some of the mailboxes below it are subscribed, and not all of them are
/// told (RFC 5258 §3.5).
pub fn list_with_child_info(
    out: &mut Vec<u8>,
    attributes: &[ListAttribute],
    separator: Option<char>,
    name: &MailboxName,
) {
    list_line(out, b"* LIST (", attributes, separator, name);
    out.extend_from_slice(b" (CHILDINFO (\"SUBSCRIBED\"))");
    end(out);
}

/// Writes `* LSUB`.
pub fn lsub(out: &mut Vec<u8>, attributes: &[ListAttribute], separator: Option<char>, name: &MailboxName) {
    list_line(out, b"* LSUB (", attributes, separator, name);
    end(out);
}

fn list_line(
    out: &mut Vec<u8>,
    head: &[u8],
    attributes: &[ListAttribute],
    separator: Option<char>,
    name: &MailboxName,
) {
    out.extend_from_slice(head);
    for (i, attribute) in attributes.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.name().as_bytes());
    }
    out.extend_from_slice(b") ");
    match separator {
        Some(separator) => quoted(out, separator.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    mailbox(out, name, separator.unwrap_or(MailboxName::SEPARATOR));
}

/// Writes `* STATUS` with the items and their values.
pub fn status(
    out: &mut Vec<u8>,
    name: &MailboxName,
    separator: char,
    items: impl IntoIterator<Item = (StatusItem, StatusValue)>,
) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name, separator);
    out.extend_from_slice(b" (");
    for (i, (item, value)) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        match value {
            StatusValue::Number(n) => number(out, n),
            StatusValue::Id(id) => {
                out.push(b'(');
                object_id(out, id);
                out.push(b')');
            }
        }
    }
    out.push(b')');
    end(out);
}

/// Writes `* FLAGS`.
pub fn flags<'k>(out: &mut Vec<u8>, flags: Flags, keywords: impl IntoIterator<Item = &'k Keyword>) {
    out.extend_from_slice(b"* FLAGS ");
    flag_list(out, flags, keywords);
    end(out);
}

/// Writes `* n EXISTS`.
pub fn exists(out: &mut Vec<u8>, count: u32) {
    counted(out, count, b" EXISTS");
}

/// Writes `* n RECENT`.
pub fn recent(out: &mut Vec<u8>, count: u32) {
    counted(out, count, b" RECENT");
}

/// Writes `* seq EXPUNGE`.
pub fn expunge(out: &mut Vec<u8>, seq: SeqNum) {
    counted(out, seq.value(), b" EXPUNGE");
}

/// When messages vanished.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vanished {
    /// Before the client selected the mailbox; sequence numbers stay.
    Earlier,
    /// Now: as EXPUNGE tells it.
    Now,
}

/// Writes `* VANISHED` (RFC 7162 §3.2.10); no UIDs write nothing.
pub fn vanished(out: &mut Vec<u8>, when: Vanished, uids: &UidSet) {
    if uids.is_empty() {
        return;
    }
    out.extend_from_slice(match when {
        Vanished::Earlier => b"* VANISHED (EARLIER) ",
        Vanished::Now => b"* VANISHED ",
    });
    uid_set(out, uids);
    end(out);
}

fn counted(out: &mut Vec<u8>, n: u32, what: &[u8]) {
    out.extend_from_slice(b"* ");
    number(out, n);
    out.extend_from_slice(what);
    end(out);
}

/// Writes `* SEARCH` with what was found, UIDs or sequence numbers, and the largest mod-sequence among them if the
/// search asked by mod-sequence (RFC 7162 §3.1.5).
pub fn search(out: &mut Vec<u8>, found: impl IntoIterator<Item = u32>, mod_seq: Option<ModSeq>) {
    out.extend_from_slice(b"* SEARCH");
    for n in found {
        out.push(b' ');
        number(out, n);
    }
    if let Some(mod_seq) = mod_seq {
        out.extend_from_slice(b" (MODSEQ ");
        number(out, mod_seq.value());
        out.push(b')');
    }
    end(out);
}

/// What an ESEARCH answer tells; numbers are UIDs or sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct EsearchResult<'a> {
    /// Whether they are UIDs.
    pub uid: bool,
    /// The smallest.
    pub min: Option<u32>,
    /// The largest.
    pub max: Option<u32>,
    /// All of them; an empty set is not written.
    pub all: Option<&'a UidSet>,
    /// All of them in the order of a SORT (RFC 5267 §3), instead of `all`; none are not written.
    pub sorted: Option<&'a [u32]>,
    /// How many.
    pub count: Option<u32>,
    /// The largest mod-sequence among them.
    pub mod_seq: Option<ModSeq>,
}

/// Writes `* ESEARCH` (RFC 4731).
pub fn esearch(out: &mut Vec<u8>, tag: &Tag, result: &EsearchResult<'_>) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    string(out, tag.as_str().as_bytes());
    out.push(b')');
    if result.uid {
        out.extend_from_slice(b" UID");
    }
    let mut named = |name: &[u8], n: Option<u64>| {
        if let Some(n) = n {
            out.extend_from_slice(name);
            number(out, n);
        }
    };
    named(b" MIN ", result.min.map(u64::from));
    named(b" MAX ", result.max.map(u64::from));
    named(b" COUNT ", result.count.map(u64::from));
    named(b" MODSEQ ", result.mod_seq.map(ModSeq::value));
    if let Some(all) = result.all.filter(|all| !all.is_empty()) {
        out.extend_from_slice(b" ALL ");
        uid_set(out, all);
    }
    if let Some(sorted) = result.sorted.filter(|sorted| !sorted.is_empty()) {
        out.extend_from_slice(b" ALL ");
        sequence(out, sorted);
    }
    end(out);
}

/// Numbers in their order, runs as ranges.
fn sequence(out: &mut Vec<u8>, numbers: &[u32]) {
    for (i, run) in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if let [first, .., last] = *run {
            number(out, first);
            out.push(b':');
            number(out, last);
        } else if let [only] = *run {
            number(out, only);
        }
    }
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use mailtypes::Uid;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn mailbox_data() {
        let name = MailboxName::new("a b").unwrap();
        let attributes = [ListAttribute::HasNoChildren, ListAttribute::Sent];
        assert_eq!(
            written(|out| list(out, &attributes, Some('/'), &name)),
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"a b\"\r\n"
        );
        assert_eq!(written(|out| list_root(out, '/', "")), "* LIST (\\Noselect) \"/\" \"\"\r\n");
        assert_eq!(written(|out| lsub(out, &[], Some('\\'), &name)), "* LSUB () \"\\\\\" \"a b\"\r\n");
        let number = StatusValue::Number;
        let items = [(StatusItem::Messages, number(231)), (StatusItem::UidNext, number(44292))];
        assert_eq!(written(|out| status(out, &name, '/', items)), "* STATUS \"a b\" (MESSAGES 231 UIDNEXT 44292)\r\n");
        assert_eq!(
            written(|out| list_with_child_info(out, &[ListAttribute::NonExistent], Some('/'), &name)),
            "* LIST (\\NonExistent) \"/\" \"a b\" (CHILDINFO (\"SUBSCRIBED\"))\r\n"
        );
        let mailbox_id = StatusValue::Id(mailtypes::Guid([0x0f; 16]));
        assert_eq!(
            written(|out| status(out, &name, '/', [(StatusItem::MailboxId, mailbox_id)])),
            "* STATUS \"a b\" (MAILBOXID (0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f))\r\n"
        );
        assert_eq!(written(|out| namespace(out, [&[""], &[], &[]], '/')), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
        let three: [&[&str]; 3] = [&["", "Ärger/"], &[], &["Public/"]];
        assert_eq!(
            written(|out| namespace(out, three, '.')),
            "* NAMESPACE ((\"\" \".\")(\"&AMQ-rger.\" \".\")) NIL ((\"Public.\" \".\"))\r\n"
        );
        assert_eq!(written(|out| exists(out, 172)), "* 172 EXISTS\r\n");
        assert_eq!(
            written(|out| id(out, &[("name", Some("Culver")), ("os", None)])),
            "* ID (\"name\" \"Culver\" \"os\" NIL)\r\n"
        );
    }

    #[test]
    fn vanished_messages() {
        let mut uids = UidSet::new();
        for n in [41, 43, 44, 45, 300] {
            uids.insert(Uid::new(n).unwrap());
        }
        assert_eq!(written(|out| vanished(out, Vanished::Earlier, &uids)), "* VANISHED (EARLIER) 41,43:45,300\r\n");
        assert_eq!(written(|out| vanished(out, Vanished::Now, &uids)), "* VANISHED 41,43:45,300\r\n");
        assert_eq!(written(|out| vanished(out, Vanished::Now, &UidSet::new())), "");
    }

    #[test]
    fn sorted_data() {
        let tag = Tag::new(b"A1").unwrap();
        let result = EsearchResult { count: Some(4), sorted: Some(&[3, 1, 2, 9]), ..Default::default() };
        assert_eq!(written(|out| esearch(out, &tag, &result)), "* ESEARCH (TAG \"A1\") COUNT 4 ALL 3,1:2,9\r\n");
    }

    #[test]
    fn search_data() {
        assert_eq!(written(|out| search(out, [2, 84, 882], None)), "* SEARCH 2 84 882\r\n");
        assert_eq!(written(|out| search(out, [], None)), "* SEARCH\r\n");
        assert_eq!(written(|out| search(out, [2], ModSeq::new(917_162_500))), "* SEARCH 2 (MODSEQ 917162500)\r\n");
        let mut all = UidSet::new();
        all.insert_range(Uid::new(4).unwrap()..=Uid::new(18).unwrap());
        let result = EsearchResult { uid: true, min: Some(4), count: Some(15), all: Some(&all), ..Default::default() };
        let tag = Tag::new(b"A285").unwrap();
        assert_eq!(
            written(|out| esearch(out, &tag, &result)),
            "* ESEARCH (TAG \"A285\") UID MIN 4 COUNT 15 ALL 4:18\r\n"
        );
    }
}
