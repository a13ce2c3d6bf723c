//! MIME parameters (RFC 2045 §5.1) and their continuations (RFC 2231), merged but not decoded.

use crate::content::Param;
use crate::lex::{Broken, Lexer, NUL_REPLACEMENT, Next};

/// One piece of a parameter that RFC 2231 allows to be cut into pieces.
struct Piece {
    name: Vec<u8>,
    index: u32,
    /// The piece is percent-encoded (its name ended with `*`).
    extended: bool,
    value: Vec<u8>,
}

/// Reads `; name=value ...` from the cursor to the end. What is not a parameter is stepped over to the next semicolon.
/// First come the plain ones in their order, then the RFC 2231 ones, sorted by name. At most `count_max` are read.
pub(crate) fn parse_params(lexer: &mut Lexer<'_>, count_max: usize) -> Vec<Param> {
    let replace_nuls = std::mem::replace(&mut lexer.replace_nuls, true);
    let mut params = Vec::new();
    let mut pieces = Vec::new();
    // A name with an asterisk but no number takes over the number of the piece before it: Dovecot's way.
    let mut last_index = 0;
    while !lexer.at_end() && params.len() + pieces.len() < count_max {
        match content_param(lexer) {
            Err(Broken) => lexer.bump(),
            Ok(param) => match split_name(&param.name, &mut last_index) {
                Some((name_len, extended)) => {
                    let name = param.name.get(..name_len).unwrap_or_default().to_vec();
                    pieces.push(Piece { name, index: last_index, extended, value: param.value });
                }
                None => params.push(param),
            },
        }
    }
    lexer.replace_nuls = replace_nuls;
    merge_pieces(pieces, &mut params);
    params
}

fn content_param(lexer: &mut Lexer<'_>) -> Result<Param, Broken> {
    let more = |next| if next == Next::More { Ok(()) } else { Err(Broken) };
    if lexer.peek() != Some(b';') {
        return Err(Broken);
    }
    lexer.bump();
    more(lexer.skip_cfws()?)?;
    let mut name = Vec::new();
    more(lexer.mime_token(&mut name)?)?;
    if lexer.peek() != Some(b'=') {
        return Err(Broken);
    }
    lexer.bump();
    let mut value = Vec::new();
    if lexer.skip_cfws()? == Next::More {
        match lexer.peek() {
            Some(b'"') => {
                lexer.quoted_string(&mut value)?;
            }
            Some(b'=') => value.extend(unquoted_encoded_word(lexer)),
            _ => {
                lexer.mime_token(&mut value)?;
            }
        }
    }
    Ok(Param { name, value })
}

/// `name==?utf-8?b?...?=` is against the rules but in use. The value ends at a NUL.
fn unquoted_encoded_word<'a>(lexer: &mut Lexer<'a>) -> impl Iterator<Item = u8> + use<'a> {
    let word = lexer.take_until(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'));
    word.iter().copied().take_while(|&byte| byte != 0)
}

/// Finds `name*`, `name*3` and `name*3*`: the length of the name proper, and whether the value is percent-encoded.
fn split_name(name: &[u8], index: &mut u32) -> Option<(usize, bool)> {
    let star = memchr::memchr(b'*', name)?;
    let suffix = name.get(star + 1..)?;
    if suffix.is_empty() {
        return Some((star, true));
    }
    let digits = suffix.iter().take_while(|byte| byte.is_ascii_digit());
    *index = digits.clone().fold(0, |n: u32, digit| n.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    match suffix.get(digits.count()..)? {
        b"" => Some((star, false)),
        b"*" => Some((star, true)),
        _ => None,
    }
}

fn merge_pieces(mut pieces: Vec<Piece>, params: &mut Vec<Param>) {
    pieces.sort_by(|a, b| (&a.name, a.index).cmp(&(&b.name, b.index)));
    for run in pieces.chunk_by(|a, b| a.name.eq_ignore_ascii_case(&b.name)) {
        if run.iter().zip(0..).all(|(piece, index)| piece.index == index) {
            params.push(merge_run(run));
        } else {
            params.extend(run.iter().map(|piece| {
                let star = if piece.extended { "*" } else { "" };
                let name = [&piece.name, format!("*{}{star}", piece.index).as_bytes()].concat();
                Param { name, value: piece.value.clone() }
            }));
        }
    }
}

/// Joins the pieces 0, 1, 2... of one parameter; a plain piece among encoded ones is encoded.
fn merge_run(run: &[Piece]) -> Param {
    let extended = run.iter().any(|piece| piece.extended);
    let mut name = run.first().map(|piece| piece.name.clone()).unwrap_or_default();
    let mut value = Vec::new();
    if extended {
        name.push(b'*');
        if run.first().is_some_and(|piece| !piece.extended) {
            value.extend_from_slice(b"''");
        }
    }
    for piece in run {
        if extended && !piece.extended {
            for &byte in &piece.value {
                value.extend_from_slice(if byte == b'%' { b"%25" } else { std::slice::from_ref(&byte) });
            }
        } else {
            value.extend_from_slice(&piece.value);
        }
    }
    Param { name, value }
}

/// `value` with NULs replaced.
pub(crate) fn replace_nuls(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (i, run) in value.split(|&byte| byte == 0).enumerate() {
        if i > 0 {
            out.extend_from_slice(NUL_REPLACEMENT);
        }
        out.extend_from_slice(run);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> String {
        let params = parse_params(&mut Lexer::new(value.as_bytes()), usize::MAX);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        params.iter().map(|param| format!("{}={} ", text(&param.name), text(&param.value))).collect()
    }

    #[test]
    fn plain_and_continued() {
        assert_eq!(parse("; a=b; C=\"d e\""), "a=b C=d e ");
        assert_eq!(parse("; f*1=two; x=y; f*0=\"one \""), "x=y f=one two ");
        assert_eq!(parse("; f*0*=utf-8''a%20; f*1=50%"), "f*=utf-8''a%2050%25 ");
        assert_eq!(parse("; f*1=b; f*3*=d"), "f*1=b f*3*=d ");
        // What is no parameter takes the one behind it along.
        assert_eq!(parse("; junk; lost=x; a=; b==?utf-8?q?x?=; c=d"), "a= b==?utf-8?q?x?= c=d ");
    }
}
