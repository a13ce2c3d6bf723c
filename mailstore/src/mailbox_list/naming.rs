//! How the levels of names are written on disk (`docs/formats/list.md`, Names).

use mailtypes::{MailboxName, mutf7};

/// Behind the escape character: a `/` in a level, which Dovecot writes so where clients see another separator. No name here
/// holds it; it is shown as it is written, and can be used so. An escape character that is itself escaped is shown as it
/// is written too, where the two could be taken for one another.
const SLASH: &str = "2f";

/// How a store writes names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Naming {
    /// As they are, not in modified UTF-7.
    utf8: bool,
    /// What a character that the layout cannot hold is written with, before its two hex digits.
    escape: Option<char>,
    /// What names that are not in modified UTF-7 are shown with: it stands before the two hex digits of each byte that does
    /// not belong there.
    broken: Option<char>,
    /// Between levels.
    separator: char,
}

impl Naming {
    pub(super) fn new(utf8: bool, escape: Option<char>, broken: Option<char>, separator: char) -> Self {
        Self { utf8, escape, broken, separator }
    }

    /// Whether there is a way to write what the layout cannot hold.
    pub(super) fn escapes(&self) -> bool {
        self.escape.is_some()
    }

    /// Between the levels of a name in lists on disk.
    pub(super) fn separator(&self) -> char {
        self.separator
    }

    /// One level of a name as it is written.
    pub(super) fn level(&self, level: &str, is_reserved: impl Fn(&str) -> bool) -> String {
        let escaped = self.escape.map(|escape| self.escaped(level, escape, is_reserved(level)));
        let level = escaped.as_deref().unwrap_or(level);
        if self.utf8 {
            return level.to_owned();
        }
        self.broken.and_then(|broken| unbroken(level, broken)).unwrap_or_else(|| mutf7::encode(level))
    }

    fn escaped(&self, level: &str, escape: char, is_reserved: bool) -> String {
        let mut out = String::with_capacity(level.len());
        for (at, c) in level.char_indices() {
            let begins = at == 0 && (is_reserved || c == '~');
            let is_slash = c == escape && ends_as_slash(level.get(at + escape.len_utf8()..), escape);
            // What has more than one byte is never in the way.
            if c.is_ascii() && !is_slash && (begins || c == escape || c == self.separator) {
                out.push_str(&format!("{escape}{:02x}", c as u32));
            } else {
                out.push(c);
            }
        }
        out
    }

    /// The level that is written so; `None` for what is written as nobody writes it, which no name leads to.
    pub(super) fn read_level(&self, written: &str) -> Option<String> {
        let level = match mutf7::decode(written.as_bytes()) {
            _ if self.utf8 => written.to_owned(),
            Ok(level) => level,
            Err(_) => return self.broken.map(|broken| as_broken(written, broken)),
        };
        Some(match self.escape {
            Some(escape) => unescaped(&level, escape),
            None => level,
        })
    }

    /// The name with these levels on disk, `/` between them; `None` where no name leads to it, such as `inbox`.
    pub(super) fn name_of(&self, storage_name: &str, is_reserved: impl Fn(&str) -> bool) -> Option<MailboxName> {
        let mut levels = Vec::new();
        for written in storage_name.split('/') {
            levels.push(self.read_level(written)?);
        }
        let decoded = levels.join("/");
        let name = MailboxName::new(&decoded).ok().filter(|name| name.as_str() == decoded)?;
        // There is one way to write each name.
        (self.storage_name(&name, '/', is_reserved) == storage_name).then_some(name)
    }

    /// A name as it is written, with `separator` between its levels.
    pub(super) fn storage_name(&self, name: &MailboxName, separator: char, reserved: impl Fn(&str) -> bool) -> String {
        let mut out = String::new();
        for (at, level) in name.levels().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            out.push_str(&self.level(level, &reserved));
        }
        out
    }
}

/// A name that is not in modified UTF-7, as it can be shown.
fn as_broken(written: &str, broken: char) -> String {
    let mut out = String::with_capacity(written.len());
    for byte in written.bytes() {
        match byte {
            b'&' | 0..=0x1f | 0x7f..=0xff => out.push_str(&format!("{broken}{byte:02x}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// What such a name stands for; `None` where it is no such name.
fn unbroken(level: &str, broken: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level;
    while let Some(at) = rest.find(broken) {
        let (before, from) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let after = from.get(broken.len_utf8()..)?;
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let written = String::from_utf8(bytes).ok().filter(|written| written != level)?;
    // What can be said otherwise is.
    (mutf7::decode(written.as_bytes()).is_err() && as_broken(&written, broken) == level).then_some(written)
}

/// Whether what stands behind an escape character could be taken for a `/`, when it was unescaped once or more often.
fn ends_as_slash(behind: Option<&str>, escape: char) -> bool {
    let code = format!("{:02x}", escape as u32);
    let mut rest = behind.unwrap_or_default();
    while let Some(next) = rest.strip_prefix(&*code) {
        rest = next;
    }
    rest.starts_with(SLASH)
}

/// What stands behind an escape character becomes what it stands for, but for what no level can hold.
fn unescaped(level: &str, escape: char) -> String {
    let mut out = String::with_capacity(level.len());
    let mut rest = level;
    while let Some(at) = rest.find(escape) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(escape.len_utf8()..).unwrap_or_default();
        let code = after.get(..2).filter(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        let byte = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let is_shown_so =
            |byte: &u8| *byte == b'/' || char::from(*byte) == escape && ends_as_slash(after.get(2..), escape);
        match byte.filter(|byte| matches!(byte, 0x20..=0x7e) && !is_shown_so(byte)) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(escape);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> bool {
        false
    }

    #[test]
    fn what_cannot_be_written_is_escaped() {
        let naming = Naming::new(false, Some('\\'), None, '.');
        for (level, written) in
            [("a.b", "a\\2eb"), ("~x", "\\7ex"), ("x~", "x~"), ("a\\b", "a\\5cb"), ("ü.", "&APw-\\2e"), ("b", "b")]
        {
            assert_eq!(naming.level(level, none), written);
            assert_eq!(naming.read_level(written).as_deref(), Some(level));
        }
        assert_eq!(naming.level("cur", |level| level == "cur"), "\\63ur");
    }

    #[test]
    fn names_are_read_as_they_are_written_only() {
        let naming = Naming::new(false, Some('\\'), None, '/');
        let name = |written: &str| naming.name_of(written, none).map(|name| name.to_string());
        assert_eq!(name("a/b").as_deref(), Some("a/b"));
        assert_eq!(name("\\61").as_deref(), None, "an a is written as it is");
        assert_eq!(name("a\\2fb").as_deref(), Some("a\\2fb"), "no level holds the separator");
        for other in ["a\\5c2fb", "a\\5c5c2f", "a\\5c5c5c2fb\\2f\\5c2f"] {
            assert_eq!(name(other).as_deref(), Some(other), "it would be taken for another");
        }
        assert_eq!(name("a\\5c\\2fb").as_deref(), Some("a\\\\2fb"));
        assert_eq!(name("inbox"), None);
        assert_eq!(
            Naming::new(true, None, None, '/').name_of("ü/日", none).map(|n| n.to_string()).as_deref(),
            Some("ü/日")
        );
        assert_eq!(Naming::new(false, None, None, '/').name_of("ü", none), None);
    }

    /// As Dovecot 2.3.19 shows them with `BROKENCHAR=^`.
    #[test]
    fn names_in_another_spelling_can_be_shown() {
        let naming = Naming::new(false, None, Some('^'), '/');
        for (written, level) in [("&AGE-", "^26AGE-"), ("ä", "^c3^a4"), ("&x", "^26x"), ("&AOQ-", "ä"), ("a^b", "a^b")]
        {
            assert_eq!(naming.read_level(written).as_deref(), Some(level));
            assert_eq!(naming.level(level, none), written);
        }
    }
}
