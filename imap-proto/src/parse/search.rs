//! SEARCH. The one production that recurses; `Limits::search_depth_max` bounds it.

use mailtypes::{CalendarDate, Flag, ModSeq, SearchKey};

use super::{
    cursor::{Cursor, Parsed},
    message::keyword,
};
use crate::{ErrorKind, Limits, Search, SearchReturn, date, error::Fault};

/// `search`
pub(super) fn search(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Search> {
    cursor.space()?;
    let mut returns = None;
    if next_word_is(cursor, b"RETURN") {
        cursor.word()?;
        cursor.space()?;
        returns = Some(search_return(cursor, limits)?);
        cursor.space()?;
    }
    let charset = next_word_is(cursor, b"CHARSET");
    if charset {
        cursor.word()?;
        cursor.space()?;
        let name = cursor.astring()?;
        if ![&b"US-ASCII"[..], b"UTF-8"].iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(Fault { kind: ErrorKind::BadCharset, text: "Unknown charset." });
        }
        cursor.space()?;
    }
    let mut keys = Keys { limits, left: limits.search_keys_max };
    let key = keys.all_of(cursor, 0)?;
    Ok(Search { uid, returns, charset, key })
}

fn next_word_is(cursor: &Cursor<'_>, word: &[u8]) -> bool {
    let mut ahead = *cursor;
    ahead.word().is_ok_and(|next| next.as_bytes() == word)
}

/// `(` `search-return-opt`s `)` (RFC 4731)
fn search_return(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<SearchReturn> {
    let mut returns = SearchReturn::default();
    cursor.list(limits.list_items_max, |cursor| {
        match cursor.word()?.as_bytes() {
            b"MIN" => returns.min = true,
            b"MAX" => returns.max = true,
            b"ALL" => returns.all = true,
            b"COUNT" => returns.count = true,
            b"SAVE" => returns.save = true,
            _ => return Err(Fault::syntax("Unknown SEARCH return option.")),
        }
        Ok(())
    })?;
    returns.all |= returns == SearchReturn::default();
    Ok(returns)
}

/// What is left to be taken while keys are read.
struct Keys<'l> {
    limits: &'l Limits,
    left: usize,
}

impl Keys<'_> {
    /// `search-key` *(SP `search-key`): all of them. One alone is itself.
    fn all_of(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        let first = self.key(cursor, depth)?;
        let mut all = Vec::new();
        while cursor.eat(b' ') {
            // Spaces before the end of the command or of the list are forgiven.
            cursor.skip_spaces();
            if matches!(cursor.peek(), None | Some(b')' | b'\r' | b'\n')) {
                break;
            }
            all.push(self.key(cursor, depth)?);
        }
        if all.is_empty() {
            return Ok(first);
        }
        all.insert(0, first);
        Ok(SearchKey::And(all))
    }

    /// `search-key`
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        if depth > self.limits.search_depth_max {
            return Err(Fault::limit("Search nested too deeply."));
        }
        self.left = self.left.checked_sub(1).ok_or(Fault::limit("Too many search keys."))?;
        match cursor.peek() {
            Some(b'(') => {
                cursor.eat(b'(');
                cursor.skip_spaces();
                let keys = self.all_of(cursor, depth + 1)?;
                cursor.expect(b')', "Search list without an end.")?;
                return Ok(keys);
            }
            Some(b'*' | b'0'..=b'9') => return Ok(SearchKey::Sequence(cursor.sequence_set(self.limits)?)),
            _ => {}
        }
        let word = cursor.word().map_err(|_| Fault::syntax("Expected a search key."))?;
        match word.as_bytes() {
            b"NOT" => {
                cursor.space()?;
                Ok(not(self.key(cursor, depth + 1)?))
            }
            b"OR" => {
                cursor.space()?;
                let first = self.key(cursor, depth + 1)?;
                cursor.space()?;
                Ok(SearchKey::Or(Box::new(first), Box::new(self.key(cursor, depth + 1)?)))
            }
            b"UID" => {
                cursor.space()?;
                Ok(SearchKey::Uid(cursor.sequence_set(self.limits)?))
            }
            name => match bare_key(name) {
                Some(key) => Ok(key),
                None => key_with_argument(name, cursor),
            },
        }
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// The keys without arguments.
fn bare_key(name: &[u8]) -> Option<SearchKey> {
    let is = |flag| Some(SearchKey::Flag(flag));
    let is_not = |flag| Some(not(SearchKey::Flag(flag)));
    match name {
        b"ALL" => Some(SearchKey::All),
        b"ANSWERED" => is(Flag::Answered),
        b"DELETED" => is(Flag::Deleted),
        b"DRAFT" => is(Flag::Draft),
        b"FLAGGED" => is(Flag::Flagged),
        b"SEEN" => is(Flag::Seen),
        b"UNANSWERED" => is_not(Flag::Answered),
        b"UNDELETED" => is_not(Flag::Deleted),
        b"UNDRAFT" => is_not(Flag::Draft),
        b"UNFLAGGED" => is_not(Flag::Flagged),
        b"UNSEEN" => is_not(Flag::Seen),
        b"RECENT" => Some(SearchKey::Recent),
        b"OLD" => Some(not(SearchKey::Recent)),
        b"NEW" => Some(SearchKey::And(vec![SearchKey::Recent, not(SearchKey::Flag(Flag::Seen))])),
        _ => None,
    }
}

/// The keys with arguments that are not keys.
fn key_with_argument(name: &[u8], cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    Ok(match name {
        b"BEFORE" => SearchKey::Before(date(cursor)?),
        b"ON" => SearchKey::On(date(cursor)?),
        b"SINCE" => SearchKey::Since(date(cursor)?),
        b"SENTBEFORE" => SearchKey::SentBefore(date(cursor)?),
        b"SENTON" => SearchKey::SentOn(date(cursor)?),
        b"SENTSINCE" => SearchKey::SentSince(date(cursor)?),
        b"LARGER" => SearchKey::Larger(number(cursor)?),
        b"SMALLER" => SearchKey::Smaller(number(cursor)?),
        b"KEYWORD" => SearchKey::Keyword(flag_keyword(cursor)?),
        b"UNKEYWORD" => not(SearchKey::Keyword(flag_keyword(cursor)?)),
        b"BCC" => header("Bcc", cursor)?,
        b"CC" => header("Cc", cursor)?,
        b"FROM" => header("From", cursor)?,
        b"SUBJECT" => header("Subject", cursor)?,
        b"TO" => header("To", cursor)?,
        b"HEADER" => SearchKey::Header(text(cursor)?, text(cursor)?),
        b"BODY" => SearchKey::Body(text(cursor)?),
        b"TEXT" => SearchKey::Text(text(cursor)?),
        b"MODSEQ" => modseq(cursor)?,
        _ => return Err(Fault::syntax("Unknown search key.")),
    })
}

fn header(field: &str, cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    Ok(SearchKey::Header(field.to_owned(), text(cursor)?))
}

/// SP `astring`, in UTF-8.
fn text(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    String::from_utf8(cursor.astring()?.into_owned()).map_err(|_| Fault::syntax("Search text is not valid UTF-8."))
}

/// SP `date`
fn date(cursor: &mut Cursor<'_>) -> Parsed<CalendarDate> {
    cursor.space()?;
    let text = if cursor.peek() == Some(b'"') { cursor.quoted()? } else { cursor.atom()?.into() };
    date::parse_date(&text).map_err(|_| Fault::syntax("Invalid date."))
}

/// SP `number64`
fn number(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    cursor.space()?;
    cursor.number64()
}

/// SP `flag-keyword`
fn flag_keyword(cursor: &mut Cursor<'_>) -> Parsed<mailtypes::Keyword> {
    cursor.space()?;
    keyword(cursor.take_while(super::chars::is_astring_char))
}

/// `search-modsequence` (RFC 7162 §7). Which entry was changed is not kept, so its name is read and passed over. 0 is
/// what every message has.
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    cursor.space()?;
    if cursor.peek() == Some(b'"') {
        cursor.quoted()?;
        cursor.space()?;
        if !matches!(cursor.word()?.as_bytes(), b"ALL" | b"PRIV" | b"SHARED") {
            return Err(Fault::syntax("Unknown MODSEQ entry type."));
        }
        cursor.space()?;
    }
    Ok(SearchKey::ModSeq(ModSeq::new(cursor.number64()?).unwrap_or(ModSeq::MIN)))
}
