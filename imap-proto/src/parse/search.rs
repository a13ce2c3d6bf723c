//! SEARCH. The one production that recurses; `Limits::search_depth_max` bounds it.

use std::num::NonZeroU32;

use encoding_rs::Encoding;
use mailtypes::{CalendarDate, Flag, ModSeq, SearchKey, SortCriterion, SortKey, ThreadAlgorithm};

use super::{
    cursor::{Cursor, Parsed},
    message::keyword,
};
use crate::{ErrorKind, Limits, Search, SearchReturn, Sort, Thread, date, error::Fault};

/// Longest object id (RFC 8474 §7).
const OBJECT_ID_LEN_MAX: usize = 255;

/// `search`
pub(super) fn search(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Search> {
    cursor.space()?;
    let returns = return_options(cursor, limits)?;
    let named = next_word_is(cursor, b"CHARSET");
    let mut text = Charset::Utf8;
    if named {
        cursor.word()?;
        cursor.space()?;
        text = charset(cursor, returns.is_some_and(|returns| returns.save))?;
        cursor.space()?;
    }
    Ok(Search { uid, returns, charset: named, key: Keys::new(limits, text).all_of(cursor, 0)? })
}

/// `sort` (RFC 5256, RFC 5267)
pub(super) fn sort(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Sort> {
    cursor.space()?;
    let returns = return_options(cursor, limits)?;
    let mut criteria = Vec::new();
    let mut reverse = false;
    cursor.list(limits.list_items_max, |cursor| {
        let word = cursor.word()?;
        if word.as_bytes() == b"REVERSE" && !reverse {
            reverse = true;
            return Ok(());
        }
        let key = SortKey::ALL.into_iter().find(|key| key.name().as_bytes() == word.as_bytes());
        let key = key.ok_or(Fault::syntax("Unknown sort key."))?;
        criteria.push(SortCriterion { key, reverse: std::mem::take(&mut reverse) });
        Ok(())
    })?;
    if criteria.is_empty() || reverse {
        return Err(Fault::syntax("Expected a sort key."));
    }
    Ok(Sort { uid, returns, criteria, key: search_criteria(cursor, returns, limits)? })
}

/// `thread` (RFC 5256)
pub(super) fn thread(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Thread> {
    cursor.space()?;
    let word = cursor.word()?;
    let known = ThreadAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == word.as_bytes());
    let algorithm = known.ok_or(Fault::syntax("Unknown thread algorithm."))?;
    Ok(Thread { uid, algorithm, key: search_criteria(cursor, None, limits)? })
}

/// SP `charset` 1*(SP `search-key`)
fn search_criteria(cursor: &mut Cursor<'_>, returns: Option<SearchReturn>, limits: &Limits) -> Parsed<SearchKey> {
    cursor.space()?;
    let text = charset(cursor, returns.is_some_and(|returns| returns.save))?;
    cursor.space()?;
    Keys::new(limits, text).all_of(cursor, 0)
}

/// How texts are written.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Other(&'static Encoding),
}

impl Charset {
    fn decode(self, bytes: Vec<u8>) -> Parsed<String> {
        const INVALID: Fault = Fault::syntax("Search text is not valid in its charset.");
        match self {
            Self::Utf8 => String::from_utf8(bytes).map_err(|_| INVALID),
            Self::Other(encoding) => {
                let decoded = encoding.decode_without_bom_handling_and_without_replacement(&bytes);
                decoded.map(|text| text.into_owned()).ok_or(INVALID)
            }
        }
    }
}

/// `charset`. US-ASCII is read as UTF-8: what more that has is no valid US-ASCII, and says what is meant.
fn charset(cursor: &mut Cursor<'_>, saves: bool) -> Parsed<Charset> {
    let name = cursor.astring()?;
    if [&b"US-ASCII"[..], b"UTF-8", b"UTF8"].iter().any(|known| known.eq_ignore_ascii_case(&name)) {
        return Ok(Charset::Utf8);
    }
    // Texts that look like commands to whoever reads them bytewise are no charset for a protocol of lines.
    let known = Encoding::for_label(&name).filter(|encoding| encoding.is_ascii_compatible());
    known.map(Charset::Other).ok_or(Fault { kind: ErrorKind::BadCharset { saves }, text: "Unknown charset." })
}

/// [`RETURN` SP `(` `search-return-opt`s `)` SP]
fn return_options(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Option<SearchReturn>> {
    if !next_word_is(cursor, b"RETURN") {
        return Ok(None);
    }
    cursor.word()?;
    cursor.space()?;
    let returns = search_return(cursor, limits)?;
    cursor.space()?;
    Ok(Some(returns))
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
    text: Charset,
    left: usize,
}

impl<'l> Keys<'l> {
    fn new(limits: &'l Limits, text: Charset) -> Self {
        Self { limits, text, left: limits.search_keys_max }
    }

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
            Some(b'$') => {
                cursor.eat(b'$');
                return Ok(SearchKey::SavedResult);
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
                if cursor.eat(b'$') {
                    return Ok(SearchKey::SavedResult);
                }
                Ok(SearchKey::Uid(cursor.sequence_set(self.limits)?))
            }
            name => match bare_key(name) {
                Some(key) => Ok(key),
                None => key_with_argument(name, cursor, self.text),
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
        b"SAVEDATESUPPORTED" => Some(SearchKey::SaveDateSupported),
        b"NEW" => Some(SearchKey::And(vec![SearchKey::Recent, not(SearchKey::Flag(Flag::Seen))])),
        _ => None,
    }
}

/// The keys with arguments that are not keys.
fn key_with_argument(name: &[u8], cursor: &mut Cursor<'_>, charset: Charset) -> Parsed<SearchKey> {
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
        b"SAVEDBEFORE" => SearchKey::SavedBefore(date(cursor)?),
        b"SAVEDON" => SearchKey::SavedOn(date(cursor)?),
        b"SAVEDSINCE" => SearchKey::SavedSince(date(cursor)?),
        b"OLDER" => SearchKey::Older(interval(cursor)?),
        b"YOUNGER" => SearchKey::Younger(interval(cursor)?),
        b"BCC" => SearchKey::Address("Bcc".to_owned(), text(cursor, charset)?),
        b"CC" => SearchKey::Address("Cc".to_owned(), text(cursor, charset)?),
        b"FROM" => SearchKey::Address("From".to_owned(), text(cursor, charset)?),
        b"SUBJECT" => header("Subject", cursor, charset)?,
        b"TO" => SearchKey::Address("To".to_owned(), text(cursor, charset)?),
        b"HEADER" => SearchKey::Header(text(cursor, charset)?, text(cursor, charset)?),
        b"BODY" => SearchKey::Body(text(cursor, charset)?),
        b"TEXT" => SearchKey::Text(text(cursor, charset)?),
        b"MODSEQ" => modseq(cursor)?,
        b"EMAILID" => SearchKey::EmailId(object_id(cursor)?),
        b"THREADID" => SearchKey::ThreadId(object_id(cursor)?),
        _ => return Err(Fault::syntax("Unknown search key.")),
    })
}

fn header(field: &str, cursor: &mut Cursor<'_>, charset: Charset) -> Parsed<SearchKey> {
    Ok(SearchKey::Header(field.to_owned(), text(cursor, charset)?))
}

/// SP `astring`, to UTF-8.
fn text(cursor: &mut Cursor<'_>, charset: Charset) -> Parsed<String> {
    cursor.space()?;
    charset.decode(cursor.astring()?.into_owned())
}

/// SP `nz-number`: seconds (RFC 5032).
fn interval(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    cursor.space()?;
    let seconds = NonZeroU32::new(cursor.number()?);
    seconds.map(NonZeroU32::get).ok_or(Fault::syntax("An interval cannot be 0."))
}

/// SP `objectid` (RFC 8474), as an astring: Dovecot and others quote it.
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    let id = cursor.astring()?;
    let is_id = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if id.is_empty() || id.len() > OBJECT_ID_LEN_MAX || !id.iter().all(is_id) {
        return Err(Fault::syntax("Invalid object id."));
    }
    Ok(id.iter().copied().map(char::from).collect())
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
