//! The first words of a message (RFC 8970), as Dovecot 2.3 chooses and caches them (`body.snippet`,
//! `docs/formats/cache.md`).
//!
//! Of the first text part, the first 200 characters with white space packed; lines that begin with `>` are left out,
//! unless there is nothing else. HTML becomes text ([`crate::html_text`]). Bytes in a row that are no text are one U+FFFD.

use crate::content::Content;
use crate::decode::{TextDecoder, TransferEncoding};
use crate::html_text::HtmlText;
use crate::part::{PartFlags, PartIndex};
use crate::structure::Structure;

/// Most characters of a preview.
pub const PREVIEW_LEN_MAX: usize = 200;

impl Structure {
    /// The part that a preview is made of: the first text; of `multipart/alternative` the plain text, else the last HTML,
    /// else the last text among its direct parts. Messages within the message are not looked into.
    #[must_use]
    pub fn preview_part(&self) -> Option<PartIndex> {
        let tree = self.tree();
        // Depth first without recursion: what is next lies on top.
        let mut open = vec![PartIndex::ROOT];
        while let Some(index) = open.pop() {
            let content = self.content(index);
            if is_text(content) {
                return Some(index);
            }
            if !tree.part(index).flags.has(PartFlags::MULTIPART) {
                continue;
            }
            if content.is_type("multipart", "alternative") {
                if let Some(best) = self.best_alternative(index) {
                    return Some(best);
                }
                continue;
            }
            let from = open.len();
            open.extend(tree.children(index));
            if let Some(children) = open.get_mut(from..) {
                children.reverse();
            }
        }
        None
    }

    fn best_alternative(&self, parent: PartIndex) -> Option<PartIndex> {
        let (mut best, mut is_html) = (None, false);
        for index in self.tree().children(parent) {
            let content = self.content(index);
            if content.media_type.is_none() || content.is_type("text", "plain") {
                return Some(index);
            }
            let html = content.is_type("text", "html");
            if html || is_text(content) && !is_html {
                best = Some(index);
                is_html |= html;
            }
        }
        best
    }
}

fn is_text(content: &Content) -> bool {
    match &content.media_type {
        None => true,
        Some((main, sub)) => main.eq_ignore_ascii_case(b"text") && !sub.is_empty(),
    }
}

/// Makes a preview of a part's body as it is read.
#[derive(Clone, Debug)]
pub struct PreviewText {
    decoder: TextDecoder,
    html: Option<HtmlText>,
    lines: Lines,
    /// The last character stands for bytes that are none.
    is_replaced: bool,
}

impl PreviewText {
    /// For a part with this header ([`Content::of_header`]). `None` if its transfer encoding is not known: it has no
    /// preview.
    #[must_use]
    pub fn new(content: &Content) -> Option<Self> {
        TransferEncoding::of(content.transfer_encoding.as_deref())?;
        let html = content.is_type("text", "html").then(HtmlText::new);
        Some(Self { decoder: TextDecoder::new(content), html, lines: Lines::new(), is_replaced: false })
    }

    /// Takes the next bytes of the body, `last` if there are no more. Says whether more can change the preview.
    pub fn push(&mut self, read: &[u8], last: bool) -> bool {
        let Self { decoder, html, lines, is_replaced } = self;
        decoder.push(read, last, |text| {
            for c in text.chars() {
                if lines.is_full() {
                    break;
                }
                let was_replaced = std::mem::replace(is_replaced, c == char::REPLACEMENT_CHARACTER);
                if was_replaced && *is_replaced {
                    continue;
                }
                match html {
                    Some(html) => html.push(c, &mut |c| lines.push(c)),
                    None => lines.push(c),
                }
            }
        });
        !lines.is_full() && !last
    }

    /// The preview; empty where there is no text.
    #[must_use]
    pub fn finish(self) -> String {
        self.lines.finish()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Begins,
    Normal,
    Quoted,
}

#[derive(Clone, Debug)]
struct Lines {
    line: Line,
    normal: Packed,
    quoted: Packed,
    /// White space was read and not yet written.
    space: bool,
}

impl Lines {
    fn new() -> Self {
        // The mark of a quotation is one character too.
        Self {
            line: Line::Begins,
            normal: Packed { text: String::new(), left: PREVIEW_LEN_MAX },
            quoted: Packed { text: String::new(), left: PREVIEW_LEN_MAX - 1 },
            space: false,
        }
    }

    fn is_full(&self) -> bool {
        self.normal.left == 0
    }

    fn push(&mut self, c: char) {
        if self.line == Line::Begins {
            if c == '>' {
                self.line = Line::Quoted;
                return;
            }
            self.line = Line::Normal;
        }
        let packed = if self.line == Line::Quoted { &mut self.quoted } else { &mut self.normal };
        packed.push(c, &mut self.space);
        if c == '\n' {
            self.line = Line::Begins;
        }
    }

    fn finish(self) -> String {
        match (self.normal.text, self.quoted.text) {
            (normal, _) if !normal.is_empty() => normal,
            (_, quoted) if !quoted.is_empty() => format!(">{quoted}"),
            _ => String::new(),
        }
    }
}

#[derive(Clone, Debug)]
struct Packed {
    text: String,
    /// Characters that there is room for.
    left: usize,
}

impl Packed {
    fn push(&mut self, c: char, space: &mut bool) {
        match c {
            '\0' | '\u{feff}' => {}
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => *space |= !self.text.is_empty(),
            _ => {
                // White space counts even where it is behind a quotation and not shown.
                let spaces = usize::from(std::mem::take(space));
                if self.left <= spaces {
                    self.left = 0;
                    return;
                }
                if spaces > 0 && !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push(c);
                self.left -= spaces + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(message: impl AsRef<[u8]>) -> String {
        let message = message.as_ref();
        let structure = Structure::of(message);
        let Some(part) = structure.preview_part() else { return String::new() };
        let part = structure.tree().part(part);
        let bytes = |from: u64, to: u64| &message[from as usize..to as usize];
        let content = Content::of_header(bytes(part.header_offset, part.body_offset()));
        let Some(mut text) = PreviewText::new(&content) else { return String::new() };
        text.push(bytes(part.body_offset(), part.end_offset()), true);
        text.finish()
    }

    /// Each was seen so with Dovecot 2.3.19.
    #[test]
    fn previews() {
        let html = "Content-Type: text/html\n\n";
        let alternative = |first: &str, second: &str| {
            format!("Content-Type: multipart/alternative; boundary=b\n\n--b\n{first}\n--b\n{second}\n--b--\n")
        };
        let (plain, enriched) = ("Content-Type: text/plain\n\nplain", "Content-Type: text/enriched\n\nenriched");
        for (message, expected) in [
            ("\nline one\nline two\n".to_owned(), "line one line two"),
            ("\n> quoted\n> more\nreply text\n> again\nlast\n".to_owned(), "reply text last"),
            ("\n>only quoted\n>two\n".to_owned(), ">only quoted two"),
            ("\n>>a\n>>> b\n".to_owned(), ">>a >> b"),
            ("\n   > indented\ntext\n".to_owned(), "> indented text"),
            ("\n>\n>\n".to_owned(), ""),
            ("\nx   y\t\tz\n\n\n  w  \n".to_owned(), "x y z w"),
            ("Content-Transfer-Encoding: x-none\n\nx".to_owned(), ""),
            ("Content-Type: text\n\nx".to_owned(), ""),
            ("Content-Type: message/rfc822\n\nSubject: x\n\ny".to_owned(), ""),
            ("Content-Type: text/calendar\n\nBEGIN".to_owned(), "BEGIN"),
            (
                format!("{html}<p>before</p><blockquote>q1<blockquote>q2</blockquote>q3</blockquote> after"),
                "before after",
            ),
            (format!("{html}<blockquote>all <b>x</b></blockquote>"), ">all x"),
            (format!("{html}<blockquote>q1\nq2</blockquote>"), "q2"),
            (format!("{html}<p>a</p>>b<br>>c"), "a >b >c"),
            (alternative(&format!("{html}x"), plain), "plain"),
            (alternative(enriched, &format!("{html}x")), "x"),
            (alternative(&format!("{html}x"), enriched), "x"),
            (alternative(&format!("{html}x"), &format!("{html}y")), "y"),
            (alternative("Content-Type: multipart/mixed; boundary=c\n\n--c\n\nz\n--c--", enriched), "enriched"),
        ] {
            assert_eq!(preview(&message), expected, "{message}");
        }
    }

    #[test]
    fn bytes_that_are_no_text() {
        assert_eq!(
            preview(b"\nlatin1: \xe4\xf6\xfc\xdf\nsignal \xff \xff"),
            "latin1: \u{fffd} signal \u{fffd} \u{fffd}"
        );
    }

    #[test]
    fn two_hundred_characters() {
        for (message, expected) in [
            (format!("\n{}", "a".repeat(500)), "a".repeat(200)),
            (format!("\n{}", "ä".repeat(500)), "ä".repeat(200)),
            (format!("\n> {}", "q".repeat(500)), format!(">{}", "q".repeat(199))),
            (format!("\n{} z", "y".repeat(199)), "y".repeat(199)),
            (format!("\n{}", "x ".repeat(150)), "x ".repeat(100).trim_end().to_owned()),
            (format!("\n> q\n{}", "y".repeat(500)), "y".repeat(199)),
            (format!("\n\n  {}", "y".repeat(500)), "y".repeat(200)),
            (format!("\n{}late", "> q\n".repeat(30_000)), "late".to_owned()),
        ] {
            assert_eq!(preview(&message), expected);
        }
    }
}
