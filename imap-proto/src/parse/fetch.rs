//! FETCH.

use std::num::{NonZeroU32, NonZeroU64};

use super::cursor::{Cursor, Parsed};
use crate::{Fetch, FetchItem, Limits, Partial, Section, SectionText, error::Fault};

/// Longest header field name: that of a line (RFC 5322 §2.1.1).
const HEADER_NAME_LEN_MAX: usize = 998;

/// `fetch`, with the modifiers of RFC 4466.
pub(super) fn fetch(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Fetch> {
    cursor.space()?;
    let set = cursor.message_set(limits)?;
    cursor.space()?;
    let items = items(cursor, limits)?;
    let mut fetch = Fetch { uid, set, items, changed_since: None, vanished: false };
    if cursor.eat(b' ') && cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| fetch_modifier(cursor, &mut fetch))?;
    }
    if fetch.vanished && !(uid && fetch.changed_since.is_some()) {
        return Err(Fault::syntax("VANISHED needs UID FETCH and CHANGEDSINCE."));
    }
    Ok(fetch)
}

/// `fetch-modifier` (RFC 7162 §7)
fn fetch_modifier(cursor: &mut Cursor<'_>, fetch: &mut Fetch) -> Parsed<()> {
    match cursor.word()?.as_bytes() {
        b"CHANGEDSINCE" => {
            cursor.space()?;
            fetch.changed_since = Some(cursor.number64()?);
        }
        b"VANISHED" => fetch.vanished = true,
        _ => return Err(Fault::syntax("Unknown FETCH modifier.")),
    }
    Ok(())
}

/// A macro, a `fetch-att`, or a list of them.
fn items(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Vec<FetchItem>> {
    let mut items = Vec::new();
    if cursor.peek() == Some(b'(') {
        cursor.list(limits.fetch_items_max, |cursor| {
            let word = cursor.dotted_word();
            items.push(fetch_att(word.as_bytes(), cursor, limits)?);
            Ok(())
        })?;
        return if items.is_empty() { Err(Fault::syntax("Expected a FETCH item.")) } else { Ok(items) };
    }
    let word = cursor.dotted_word();
    let named = match word.as_bytes() {
        b"FAST" => 3,
        b"ALL" => 4,
        b"FULL" => 5,
        word => {
            items.push(fetch_att(word, cursor, limits)?);
            return Ok(items);
        }
    };
    let full = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size, FetchItem::Envelope, FetchItem::Body];
    items.extend(full.into_iter().take(named));
    Ok(items)
}

/// `fetch-att`, its name read.
fn fetch_att(word: &[u8], cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<FetchItem> {
    Ok(match word {
        b"UID" => FetchItem::Uid,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"ENVELOPE" => FetchItem::Envelope,
        b"MODSEQ" => FetchItem::ModSeq,
        b"SAVEDATE" => FetchItem::SaveDate,
        b"EMAILID" => FetchItem::EmailId,
        b"THREADID" => FetchItem::ThreadId,
        b"PREVIEW" => FetchItem::Preview { lazy: preview_modifiers(cursor, limits)? },
        b"RFC822" => FetchItem::Rfc822,
        b"RFC822.HEADER" => FetchItem::Rfc822Header,
        b"RFC822.TEXT" => FetchItem::Rfc822Text,
        b"RFC822.SIZE" => FetchItem::Rfc822Size,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"BODY" if cursor.peek() != Some(b'[') => FetchItem::Body,
        b"BODY" | b"BODY.PEEK" => FetchItem::BodySection {
            peek: word.len() > 4,
            section: section(cursor, limits)?,
            partial: partial(cursor)?,
        },
        b"BINARY" | b"BINARY.PEEK" => {
            FetchItem::Binary { peek: word.len() > 6, part: section_binary(cursor, limits)?, partial: partial(cursor)? }
        }
        b"BINARY.SIZE" => FetchItem::BinarySize { part: section_binary(cursor, limits)? },
        _ => return Err(Fault::syntax("Unknown FETCH item.")),
    })
}

/// [SP `(` `preview-mod`s `)`] (RFC 8970): whether there is LAZY.
fn preview_modifiers(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<bool> {
    let mut ahead = *cursor;
    if !(ahead.eat(b' ') && ahead.peek() == Some(b'(')) {
        return Ok(false);
    }
    let mut lazy = false;
    ahead.list(limits.list_items_max, |cursor| match cursor.word()?.as_bytes() {
        b"LAZY" => {
            lazy = true;
            Ok(())
        }
        _ => Err(Fault::syntax("Unknown PREVIEW modifier.")),
    })?;
    if !lazy {
        return Err(Fault::syntax("Expected a PREVIEW modifier."));
    }
    *cursor = ahead;
    Ok(lazy)
}

/// `section`
fn section(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Section> {
    cursor.expect(b'[', "Expected a section.")?;
    let (part, dot) = section_part(cursor, limits)?;
    if cursor.eat(b']') {
        return if dot { Err(Fault::syntax("Invalid section.")) } else { Ok(Section { part, text: None }) };
    }
    if !part.is_empty() && !dot {
        return Err(Fault::syntax("Invalid section."));
    }
    let text = match cursor.dotted_word().as_bytes() {
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" if !part.is_empty() => SectionText::Mime,
        b"HEADER.FIELDS" => SectionText::HeaderFields(header_list(cursor, limits)?),
        b"HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(cursor, limits)?),
        _ => return Err(Fault::syntax("Invalid section.")),
    };
    cursor.expect(b']', "Section without an end.")?;
    Ok(Section { part, text: Some(text) })
}

/// `section-part`, and whether a dot follows it. Empty if there is no number.
fn section_part(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<(Vec<NonZeroU32>, bool)> {
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        if part.len() >= limits.part_path_max {
            return Err(Fault::limit("Part number too deep."));
        }
        part.push(NonZeroU32::new(cursor.number()?).ok_or(Fault::syntax("Part numbers begin with 1."))?);
        if !cursor.eat(b'.') {
            return Ok((part, false));
        }
    }
    let dot = !part.is_empty();
    Ok((part, dot))
}

/// `section-binary` (RFC 3516)
fn section_binary(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Vec<NonZeroU32>> {
    cursor.expect(b'[', "Expected a section.")?;
    match section_part(cursor, limits)? {
        (part, false) if cursor.eat(b']') => Ok(part),
        _ => Err(Fault::syntax("Invalid section.")),
    }
}

/// SP `header-list`
fn header_list(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Vec<String>> {
    cursor.space()?;
    let mut names = Vec::new();
    cursor.list(limits.header_names_max, |cursor| {
        let name = cursor.astring()?;
        if name.is_empty() || !name.iter().all(|b| matches!(b, b' '..=b'~')) {
            return Err(Fault::syntax("Invalid header field name."));
        }
        if name.len() > HEADER_NAME_LEN_MAX {
            return Err(Fault::limit("Header field name too long."));
        }
        names.push(name.iter().copied().map(char::from).collect());
        Ok(())
    })?;
    if names.is_empty() { Err(Fault::syntax("Expected a header field name.")) } else { Ok(names) }
}

/// `partial`, if there is one.
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<Partial>> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let offset = cursor.number64()?;
    cursor.expect(b'.', "Invalid partial.")?;
    let len = NonZeroU64::new(cursor.number64()?).ok_or(Fault::syntax("A partial cannot be empty."))?;
    cursor.expect(b'>', "Invalid partial.")?;
    Ok(Some(Partial { offset, len }))
}
