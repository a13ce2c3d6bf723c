//! HTML as running text, for previews: what Dovecot 2.3 makes of it, character by character as it comes.
//!
//! - A tag is a space; comments are nothing; what stands in `<script>` and `<style>` is left out.
//! - `<blockquote>` begins a line that is marked with `>`, and its end begins a line again.
//! - Entities are those of HTML 4 and `&apos;`, with their semicolon. Unknown ones are left out; an ampersand that begins
//!   none is left out alone.
//!
//! Whatever comes, memory is a few bytes and each character is looked at ten times at most.

use std::collections::VecDeque;

/// Longest entity, its semicolon included.
const ENTITY_LEN_MAX: usize = 10;

/// Longest tag name that is told from others.
const TAG_NAME_LEN_MAX: usize = 12;

/// Reads HTML, writes text.
#[derive(Clone, Debug)]
pub(crate) struct HtmlText {
    state: State,
    /// Characters that are to be looked at again.
    again: VecDeque<char>,
    blockquotes: u32,
    /// No space is needed before what comes next.
    after_space: bool,
}

#[derive(Clone, Debug)]
enum State {
    Text,
    /// Behind an ampersand.
    Entity(String),
    /// Behind a `<`: the name as far as it is told; whether it is all there; the quote that is open.
    Tag {
        name: String,
        name_ended: bool,
        quote: Option<char>,
    },
    /// How much of `-->` was just read.
    Comment(u8),
    /// How much of `]]>` was just read.
    Cdata(u8),
    /// Within an element that is left out: what ends it, and how much of that was just read.
    Ignored {
        end: &'static str,
        read: usize,
    },
}

impl HtmlText {
    pub(crate) fn new() -> Self {
        Self { state: State::Text, again: VecDeque::new(), blockquotes: 0, after_space: true }
    }

    /// Reads one character and hands on the text.
    pub(crate) fn push(&mut self, c: char, out: &mut impl FnMut(char)) {
        self.again.push_back(c);
        while let Some(c) = self.again.pop_front() {
            self.step(c, out);
        }
    }

    fn step(&mut self, c: char, out: &mut impl FnMut(char)) {
        self.state = match std::mem::replace(&mut self.state, State::Text) {
            State::Text => match c {
                '<' => State::Tag { name: String::new(), name_ended: false, quote: None },
                '&' => State::Entity(String::new()),
                _ => {
                    self.write(c, out);
                    State::Text
                }
            },
            State::Entity(name) => self.entity(name, c, out),
            State::Tag { name, name_ended, quote } => self.tag(name, name_ended, quote, c, out),
            State::Comment(read) => match (read, c) {
                (0 | 1, '-') => State::Comment(read + 1),
                (2, '>') => State::Text,
                _ => State::Comment(0),
            },
            State::Cdata(read) => self.cdata(read, c, out),
            State::Ignored { end, read } => {
                let matches = end.as_bytes().get(read).is_some_and(|&byte| c.eq_ignore_ascii_case(&char::from(byte)));
                match (matches, read + 1 == end.len()) {
                    (true, true) => {
                        self.space(out);
                        State::Text
                    }
                    (true, false) => State::Ignored { end, read: read + 1 },
                    (false, _) => State::Ignored { end, read: usize::from(c == '<') },
                }
            }
        };
    }

    fn entity(&mut self, mut name: String, c: char, out: &mut impl FnMut(char)) -> State {
        if c == ';' {
            if let Some(c) = decode_entity(&name) {
                self.write(c, out);
            }
            return State::Text;
        }
        name.push(c);
        if !is_space(c) && name.chars().count() < ENTITY_LEN_MAX {
            return State::Entity(name);
        }
        name.chars().rev().for_each(|c| self.again.push_front(c));
        State::Text
    }

    fn tag(
        &mut self,
        mut name: String,
        mut name_ended: bool,
        quote: Option<char>,
        c: char,
        out: &mut impl FnMut(char),
    ) -> State {
        match (quote, c) {
            (Some(open), _) => {
                return State::Tag { name, name_ended, quote: quote.filter(|_| c != open) };
            }
            (None, '>') => return self.end_of_tag(&name, out),
            (None, '"' | '\'') => return State::Tag { name, name_ended: true, quote: Some(c) },
            (None, _) if is_space(c) => name_ended = true,
            (None, _) if !name_ended => {
                name.push(c.to_ascii_lowercase());
                match name.as_str() {
                    "!--" => return State::Comment(0),
                    "![cdata[" => return State::Cdata(0),
                    // Longer than any that matters: no longer equal to one.
                    _ => name_ended = name.len() >= TAG_NAME_LEN_MAX,
                }
            }
            _ => {}
        }
        State::Tag { name, name_ended, quote: None }
    }

    fn end_of_tag(&mut self, name: &str, out: &mut impl FnMut(char)) -> State {
        match name {
            "script" => return State::Ignored { end: "</script>", read: 0 },
            "style" => return State::Ignored { end: "</style>", read: 0 },
            "blockquote" => {
                self.blockquotes = self.blockquotes.saturating_add(1);
                self.begin_line(out);
            }
            "/blockquote" if self.blockquotes > 0 => {
                self.blockquotes -= 1;
                self.begin_line(out);
            }
            _ => self.space(out),
        }
        State::Text
    }

    fn cdata(&mut self, read: u8, c: char, out: &mut impl FnMut(char)) -> State {
        match (read, c) {
            (2, '>') => return State::Text,
            (2, ']') => {
                self.write(c, out);
                return State::Cdata(2);
            }
            (_, ']') => return State::Cdata(read + 1),
            _ => {}
        }
        (0..read).for_each(|_| self.write(']', out));
        self.write(c, out);
        State::Cdata(0)
    }

    fn begin_line(&mut self, out: &mut impl FnMut(char)) {
        self.write('\n', out);
        if self.blockquotes > 0 {
            self.write('>', out);
            self.write(' ', out);
        }
    }

    fn space(&mut self, out: &mut impl FnMut(char)) {
        if !self.after_space {
            self.write(' ', out);
        }
    }

    fn write(&mut self, c: char, out: &mut impl FnMut(char)) {
        self.after_space = is_space(c);
        out(c);
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn decode_entity(name: &str) -> Option<char> {
    let code = match name.strip_prefix('#') {
        Some(hex) if hex.starts_with('x') => u32::from_str_radix(hex.get(1..)?, 16).ok()?,
        Some(decimal) => decimal.parse().ok()?,
        None => {
            let at = ENTITIES.binary_search_by_key(&name, |(name, _)| name).ok()?;
            u32::from(ENTITIES.get(at)?.1)
        }
    };
    char::from_u32(code).filter(|&c| c != '\0')
}

/// HTML 4 §24, and `apos`, by name.
#[rustfmt::skip]
static ENTITIES: &[(&str, u16)] = &[
    ("AElig", 0xc6), ("Aacute", 0xc1), ("Acirc", 0xc2), ("Agrave", 0xc0), ("Alpha", 0x391), ("Aring", 0xc5),
    ("Atilde", 0xc3), ("Auml", 0xc4), ("Beta", 0x392), ("Ccedil", 0xc7), ("Chi", 0x3a7), ("Dagger", 0x2021),
    ("Delta", 0x394), ("ETH", 0xd0), ("Eacute", 0xc9), ("Ecirc", 0xca), ("Egrave", 0xc8), ("Epsilon", 0x395),
    ("Eta", 0x397), ("Euml", 0xcb), ("Gamma", 0x393), ("Iacute", 0xcd), ("Icirc", 0xce), ("Igrave", 0xcc),
    ("Iota", 0x399), ("Iuml", 0xcf), ("Kappa", 0x39a), ("Lambda", 0x39b), ("Mu", 0x39c), ("Ntilde", 0xd1),
    ("Nu", 0x39d), ("OElig", 0x152), ("Oacute", 0xd3), ("Ocirc", 0xd4), ("Ograve", 0xd2), ("Omega", 0x3a9),
    ("Omicron", 0x39f), ("Oslash", 0xd8), ("Otilde", 0xd5), ("Ouml", 0xd6), ("Phi", 0x3a6), ("Pi", 0x3a0),
    ("Prime", 0x2033), ("Psi", 0x3a8), ("Rho", 0x3a1), ("Scaron", 0x160), ("Sigma", 0x3a3), ("THORN", 0xde),
    ("Tau", 0x3a4), ("Theta", 0x398), ("Uacute", 0xda), ("Ucirc", 0xdb), ("Ugrave", 0xd9), ("Upsilon", 0x3a5),
    ("Uuml", 0xdc), ("Xi", 0x39e), ("Yacute", 0xdd), ("Yuml", 0x178), ("Zeta", 0x396), ("aacute", 0xe1),
    ("acirc", 0xe2), ("acute", 0xb4), ("aelig", 0xe6), ("agrave", 0xe0), ("alefsym", 0x2135), ("alpha", 0x3b1),
    ("amp", 0x26), ("and", 0x2227), ("ang", 0x2220), ("apos", 0x27), ("aring", 0xe5), ("asymp", 0x2248),
    ("atilde", 0xe3), ("auml", 0xe4), ("bdquo", 0x201e), ("beta", 0x3b2), ("brvbar", 0xa6), ("bull", 0x2022),
    ("cap", 0x2229), ("ccedil", 0xe7), ("cedil", 0xb8), ("cent", 0xa2), ("chi", 0x3c7), ("circ", 0x2c6),
    ("clubs", 0x2663), ("cong", 0x2245), ("copy", 0xa9), ("crarr", 0x21b5), ("cup", 0x222a), ("curren", 0xa4),
    ("dArr", 0x21d3), ("dagger", 0x2020), ("darr", 0x2193), ("deg", 0xb0), ("delta", 0x3b4), ("diams", 0x2666),
    ("divide", 0xf7), ("eacute", 0xe9), ("ecirc", 0xea), ("egrave", 0xe8), ("empty", 0x2205), ("emsp", 0x2003),
    ("ensp", 0x2002), ("epsilon", 0x3b5), ("equiv", 0x2261), ("eta", 0x3b7), ("eth", 0xf0), ("euml", 0xeb),
    ("euro", 0x20ac), ("exist", 0x2203), ("fnof", 0x192), ("forall", 0x2200), ("frac12", 0xbd), ("frac14", 0xbc),
    ("frac34", 0xbe), ("frasl", 0x2044), ("gamma", 0x3b3), ("ge", 0x2265), ("gt", 0x3e), ("hArr", 0x21d4),
    ("harr", 0x2194), ("hearts", 0x2665), ("hellip", 0x2026), ("iacute", 0xed), ("icirc", 0xee), ("iexcl", 0xa1),
    ("igrave", 0xec), ("image", 0x2111), ("infin", 0x221e), ("int", 0x222b), ("iota", 0x3b9), ("iquest", 0xbf),
    ("isin", 0x2208), ("iuml", 0xef), ("kappa", 0x3ba), ("lArr", 0x21d0), ("lambda", 0x3bb), ("lang", 0x2329),
    ("laquo", 0xab), ("larr", 0x2190), ("lceil", 0x2308), ("ldquo", 0x201c), ("le", 0x2264), ("lfloor", 0x230a),
    ("lowast", 0x2217), ("loz", 0x25ca), ("lrm", 0x200e), ("lsaquo", 0x2039), ("lsquo", 0x2018), ("lt", 0x3c),
    ("macr", 0xaf), ("mdash", 0x2014), ("micro", 0xb5), ("middot", 0xb7), ("minus", 0x2212), ("mu", 0x3bc),
    ("nabla", 0x2207), ("nbsp", 0xa0), ("ndash", 0x2013), ("ne", 0x2260), ("ni", 0x220b), ("not", 0xac),
    ("notin", 0x2209), ("nsub", 0x2284), ("ntilde", 0xf1), ("nu", 0x3bd), ("oacute", 0xf3), ("ocirc", 0xf4),
    ("oelig", 0x153), ("ograve", 0xf2), ("oline", 0x203e), ("omega", 0x3c9), ("omicron", 0x3bf), ("oplus", 0x2295),
    ("or", 0x2228), ("ordf", 0xaa), ("ordm", 0xba), ("oslash", 0xf8), ("otilde", 0xf5), ("otimes", 0x2297),
    ("ouml", 0xf6), ("para", 0xb6), ("part", 0x2202), ("permil", 0x2030), ("perp", 0x22a5), ("phi", 0x3c6),
    ("pi", 0x3c0), ("piv", 0x3d6), ("plusmn", 0xb1), ("pound", 0xa3), ("prime", 0x2032), ("prod", 0x220f),
    ("prop", 0x221d), ("psi", 0x3c8), ("quot", 0x22), ("rArr", 0x21d2), ("radic", 0x221a), ("rang", 0x232a),
    ("raquo", 0xbb), ("rarr", 0x2192), ("rceil", 0x2309), ("rdquo", 0x201d), ("real", 0x211c), ("reg", 0xae),
    ("rfloor", 0x230b), ("rho", 0x3c1), ("rlm", 0x200f), ("rsaquo", 0x203a), ("rsquo", 0x2019), ("sbquo", 0x201a),
    ("scaron", 0x161), ("sdot", 0x22c5), ("sect", 0xa7), ("shy", 0xad), ("sigma", 0x3c3), ("sigmaf", 0x3c2),
    ("sim", 0x223c), ("spades", 0x2660), ("sub", 0x2282), ("sube", 0x2286), ("sum", 0x2211), ("sup", 0x2283),
    ("sup1", 0xb9), ("sup2", 0xb2), ("sup3", 0xb3), ("supe", 0x2287), ("szlig", 0xdf), ("tau", 0x3c4),
    ("there4", 0x2234), ("theta", 0x3b8), ("thetasym", 0x3d1), ("thinsp", 0x2009), ("thorn", 0xfe), ("tilde", 0x2dc),
    ("times", 0xd7), ("trade", 0x2122), ("uArr", 0x21d1), ("uacute", 0xfa), ("uarr", 0x2191), ("ucirc", 0xfb),
    ("ugrave", 0xf9), ("uml", 0xa8), ("upsih", 0x3d2), ("upsilon", 0x3c5), ("uuml", 0xfc), ("weierp", 0x2118),
    ("xi", 0x3be), ("yacute", 0xfd), ("yen", 0xa5), ("yuml", 0xff), ("zeta", 0x3b6), ("zwj", 0x200d),
    ("zwnj", 0x200c),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        let mut out = String::new();
        let mut reader = HtmlText::new();
        html.chars().for_each(|c| reader.push(c, &mut |c| out.push(c)));
        out
    }

    /// Each was seen to come out so with Dovecot 2.3.19, but for runs of spaces.
    #[test]
    fn html_to_text() {
        for (html, expected) in [
            ("<p>Hello <b>bo</b>ld &amp; &eacute;&#228;&unknown;</p>", "Hello bo ld & \u{e9}\u{e4} "),
            ("<title>T</title><style>x{}</style>y<script>if (a<b) {\"</s\"}</script>z", "T y z"),
            ("x<!-- a > b -->y<!---->z<!-->w-->v", "xyzv"),
            ("a<![CDATA[b<c>]]]]>d]]>e", "ab<c>]]d]]>e"),
            ("<a href='x>y'>l</a> e", "l  e"),
            ("a<b c=\"d>e\"f>g", "a g"),
            ("a < not tag > b", "a  b"),
            ("x<blockquote>q<blockquote>r</blockquote>s</blockquote>y", "x\n> q\n> r\n> s\ny"),
            ("</blockquote>x", "x"),
            ("&amp;amp; &apos;&hellip;&Hellip;&#x41;&#X41;&#0;&#xd800;", "&amp; '\u{2026}A"),
            ("&abcdefghi;|&abcdefghij;|", "|abcdefghij;|"),
            ("&a b&-b;c&;d& e &am", "a bcd e "),
            ("<stylex>s</stylex><style>a</style >b</STYLE>c", "s c"),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
    }

    #[test]
    fn entities_are_sorted() {
        assert!(ENTITIES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(decode_entity("zwj"), Some('\u{200d}'));
    }

    #[test]
    fn ampersands_in_a_row_cost_little() {
        assert_eq!(text(&"&".repeat(100_000)), "");
        assert_eq!(text(&"<".repeat(100_000)), "");
    }
}
