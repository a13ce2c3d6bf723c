//! The `Content-*` fields of one part (RFC 2045, 2183, 3282), as far as BODYSTRUCTURE shows them.
//!
//! Of a field that stands there twice the first valid one counts. Values are kept undecoded.

use crate::header::{Field, Fields};
use crate::lex::{Lexer, Next};
use crate::limits::{Budget, Limits};
use crate::param::{parse_params, replace_nuls};

/// Parameters read of one field; more are ignored.
const PARAM_COUNT_MAX: usize = 4096;

/// How much of an overlong media type is kept when memory for the rest of a message's headers is used up.
const TYPE_LEN_KEPT: usize = 64;

/// One `name=value`; RFC 2231 pieces are merged, the name of an encoded one ends with `*`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Param {
    /// As spelled in the message; compare without regard to case.
    pub name: Vec<u8>,
    /// Unquoted, not decoded.
    pub value: Vec<u8>,
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Disposition {
    /// `attachment`, `inline` or anything else, as spelled.
    pub kind: Vec<u8>,
    /// In the order explained at [`Content::params`].
    pub params: Vec<Param>,
}

/// What the header of a part says about its body. All empty if it is no MIME part.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Content {
    /// Type and subtype of Content-Type, as spelled; both empty if the field is there but broken.
    pub media_type: Option<(Vec<u8>, Vec<u8>)>,
    /// Parameters of Content-Type: the plain ones in their order, then the RFC 2231 ones sorted by name.
    pub params: Vec<Param>,
    /// Content-ID.
    pub id: Option<Vec<u8>>,
    /// Content-Description, not decoded.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding, as spelled.
    pub transfer_encoding: Option<Vec<u8>>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// The tags of Content-Language.
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
}

impl Content {
    /// From the header of a part, an empty line at the end or not; see [`ContentReader`].
    #[must_use]
    pub fn of_header(header: &[u8]) -> Self {
        let mut reader = ContentReader::default();
        Fields::new(header).for_each(|field| reader.read(&field));
        reader.finish()
    }

    /// The value of a Content-Type parameter, `name` in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        find_param(&self.params, name)
    }

    /// Whether the type is `main`/`sub`, given in lower case.
    #[must_use]
    pub fn is_type(&self, main: &str, sub: &str) -> bool {
        let same = |a: &[u8], b: &str| a.eq_ignore_ascii_case(b.as_bytes());
        self.media_type.as_ref().is_some_and(|(m, s)| same(m, main) && same(s, sub))
    }

    pub(crate) fn main_type_is(&self, main: &str) -> bool {
        self.media_type.as_ref().is_some_and(|(m, _)| m.eq_ignore_ascii_case(main.as_bytes()))
    }

    /// Takes in one field, `name` without its `Content-`, `value` without line ends at its end. The boundary
    /// parameter is returned if this was the Content-Type that counts and has one.
    pub(crate) fn read_field(&mut self, name: &[u8], value: &[u8], budget: &mut Budget) -> Option<Vec<u8>> {
        if name.eq_ignore_ascii_case(b"type") {
            return if self.media_type.is_none() { self.read_type(value, budget) } else { None };
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.transfer_encoding.is_none() {
                self.transfer_encoding = parse_transfer_encoding(value).filter(|token| budget.charge(token.len()));
            }
        } else if name.eq_ignore_ascii_case(b"disposition") {
            if self.disposition.as_ref().is_none_or(|disposition| disposition.params.is_empty()) {
                self.read_disposition(value, budget);
            }
        } else if name.eq_ignore_ascii_case(b"language") {
            if self.language.is_empty() {
                let tags = parse_language(value);
                if budget.charge(tags.iter().map(|tag| tag.len() + size_of_val(tag)).sum()) {
                    self.language = tags;
                }
            }
        } else if let Some(text) = self.text_field(name)
            && text.is_none()
            && budget.charge(value.len())
        {
            *text = Some(replace_nuls(value));
        }
        None
    }

    fn text_field(&mut self, name: &[u8]) -> Option<&mut Option<Vec<u8>>> {
        match name.to_ascii_lowercase().as_slice() {
            b"id" => Some(&mut self.id),
            b"md5" => Some(&mut self.md5),
            b"description" => Some(&mut self.description),
            b"location" => Some(&mut self.location),
            _ => None,
        }
    }

    fn read_type(&mut self, value: &[u8], budget: &mut Budget) -> Option<Vec<u8>> {
        let (mut main, mut sub, mut params) = parse_type(value);
        let boundary = find_param(&params, "boundary").map(<[u8]>::to_vec);
        if !budget.charge(main.len() + sub.len() + memory_len(&params)) {
            main.truncate(TYPE_LEN_KEPT);
            sub.truncate(TYPE_LEN_KEPT);
            params.clear();
        }
        self.media_type = Some((main, sub));
        self.params = params;
        boundary
    }

    fn read_disposition(&mut self, value: &[u8], budget: &mut Budget) {
        let mut lexer = Lexer::new(value);
        let mut kind = Vec::new();
        if lexer.skip_cfws().is_err() {
            // The token after a broken comment is empty: the comment took everything.
            lexer = Lexer::new(b"");
        }
        if lexer.mime_token(&mut kind).is_ok() {
            let params = parse_params(&mut lexer, PARAM_COUNT_MAX);
            if budget.charge(kind.len() + memory_len(&params)) {
                self.disposition = Some(Disposition { kind, params });
            }
        }
    }
}

/// Gathers a part's [`Content`] from the fields of its header as they come, in bounded memory. Unlike in
/// [`crate::Structure::content`], what a message says of its body counts even where it does not say that it is MIME: so
/// bodies are decoded.
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    budget: Budget,
}

impl Default for ContentReader {
    fn default() -> Self {
        Self { content: Content::default(), budget: Budget::new(Limits::CONTENT_LEN_MAX) }
    }
}

impl ContentReader {
    /// Takes in the next field, whatever its name.
    pub fn read(&mut self, field: &Field<'_>) {
        if let Some((prefix, name)) = field.name_to_nul().split_at_checked("Content-".len())
            && prefix.eq_ignore_ascii_case(b"Content-")
        {
            self.content.read_field(name, &field.value(), &mut self.budget);
        }
    }

    /// The header ends.
    #[must_use]
    pub fn finish(self) -> Content {
        self.content
    }
}

fn find_param<'a>(params: &'a [Param], name: &str) -> Option<&'a [u8]> {
    let found = params.iter().find(|param| param.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(&found.value)
}

fn memory_len(params: &[Param]) -> usize {
    params.iter().map(|param| size_of::<Param>() + param.name.len() + param.value.len()).sum()
}

/// Type, subtype, parameters. Of a broken value only a lone main type survives, such as `text`.
fn parse_type(value: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<Param>) {
    let mut lexer = Lexer::new(value);
    let (mut main, mut sub) = (Vec::new(), Vec::new());
    match lexer.skip_cfws() {
        Ok(Next::More) => {}
        _ => return (main, sub, Vec::new()),
    }
    match lexer.mime_token(&mut main) {
        Ok(Next::More) => {}
        _ => return (main, sub, Vec::new()),
    }
    if main.is_empty() || lexer.peek() != Some(b'/') {
        return Default::default();
    }
    lexer.bump();
    if lexer.skip_cfws() != Ok(Next::More)
        || lexer.mime_token(&mut sub).is_err()
        || sub.is_empty()
        || !matches!(lexer.peek(), None | Some(b';'))
    {
        return Default::default();
    }
    let params = parse_params(&mut lexer, PARAM_COUNT_MAX);
    (main, sub, params)
}

/// Exactly one token, with comments around it at most.
fn parse_transfer_encoding(value: &[u8]) -> Option<Vec<u8>> {
    let mut lexer = Lexer::new(value);
    let mut token = Vec::new();
    // After a broken comment nothing is left, so the token is empty and refused below.
    let _ = lexer.skip_cfws();
    lexer.mime_token(&mut token).ok()?;
    (lexer.skip_cfws() == Ok(Next::End) && !token.is_empty()).then_some(token)
}

fn parse_language(value: &[u8]) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(value);
    let mut tags = Vec::new();
    let _ = lexer.skip_cfws();
    while tags.len() < PARAM_COUNT_MAX {
        let mut tag = Vec::new();
        if lexer.atom(&mut tag).is_err() {
            break;
        }
        tags.push(tag);
        if lexer.peek() != Some(b',') {
            break;
        }
        lexer.bump();
        let _ = lexer.skip_cfws();
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(value: &str) -> (String, String) {
        let (main, sub, _) = parse_type(value.as_bytes());
        (String::from_utf8(main).unwrap(), String::from_utf8(sub).unwrap())
    }

    #[test]
    fn media_types() {
        assert_eq!(type_of("Text / plain ; charset=x"), ("Text".into(), "plain".into()));
        assert_eq!(type_of("text"), ("text".into(), String::new()));
        assert_eq!(type_of("text/plain charset=x"), (String::new(), String::new()));
        assert_eq!(type_of("text plain"), (String::new(), String::new()));
    }

    #[test]
    fn the_first_valid_field_counts() {
        let mut content = Content::default();
        let mut budget = Budget::new(1000);
        for (name, value) in
            [("Transfer-Encoding", "bad token"), ("transfer-encoding", "8bit"), ("Transfer-Encoding", "base64")]
        {
            content.read_field(name.as_bytes(), value.as_bytes(), &mut budget);
        }
        assert_eq!(content.transfer_encoding.as_deref(), Some(&b"8bit"[..]));
        assert_eq!(content.read_field(b"Type", b"multipart/mixed; Boundary=x", &mut budget), Some(b"x".to_vec()));
        assert_eq!(content.read_field(b"Type", b"multipart/mixed; Boundary=y", &mut budget), None);
        assert_eq!(parse_language(b"en, de (x), fr"), [b"en", b"de", b"fr"]);
    }

    #[test]
    fn without_memory_left_the_structure_stays() {
        let mut content = Content::default();
        let boundary = content.read_field(b"type", b"multipart/mixed; boundary=x", &mut Budget::new(0));
        assert_eq!(boundary, Some(b"x".to_vec()));
        assert!(content.is_type("multipart", "mixed") && content.params.is_empty());
    }
}
