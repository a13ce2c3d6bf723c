//! Paths of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3), and local users without a domain, which only LMTP has.

use std::fmt;

/// What stands between `<` and `>`, source route left out.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Address {
    /// Without quotes; empty in the null path.
    pub(crate) local: String,
    pub(crate) domain: Option<String>,
}

impl Address {
    /// Parses a path at the beginning of `text`; gives what follows it.
    pub(crate) fn parse(text: &str) -> Option<(Self, &str)> {
        let rest = skip_source_route(text.strip_prefix('<')?)?;
        if let Some(rest) = rest.strip_prefix('>') {
            return Some((Self::default(), rest));
        }
        let (local, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_local(quoted)?,
            None => {
                let (local, rest) = rest.split_at(rest.find(|c| !is_atom(c) && c != '.').unwrap_or(rest.len()));
                (local.to_owned(), rest)
            }
        };
        if local.is_empty() {
            return None;
        }
        let (domain, rest) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (domain, rest) = domain(rest)?;
                (Some(domain.to_owned()), rest)
            }
            None => (None, rest),
        };
        Some((Self { local, domain }, rest.strip_prefix('>')?))
    }

    /// The null path.
    pub(crate) fn is_null(&self) -> bool {
        self.local.is_empty()
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.as_deref().is_none_or(str::is_ascii)
    }

    /// As the user's name is looked up: without quotes.
    pub(crate) fn plain(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{}@{domain}", self.local),
            None => self.local.clone(),
        }
    }

    /// Without the detail behind the first of the delimiters, and the detail. `None` if there is none.
    pub(crate) fn split_detail(&self, delimiters: &str) -> Option<(Self, &str)> {
        let at = self.local.find(|c| delimiters.contains(c)).filter(|&at| at > 0)?;
        let (user, detail) = self.local.split_at(at);
        let detail = detail.get(detail.chars().next()?.len_utf8()..)?;
        Some((Self { local: user.to_owned(), domain: self.domain.clone() }, detail))
    }
}

/// As in a path, quoted where that is needed.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_dot_string = self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom));
        match is_dot_string || self.is_null() {
            true => f.write_str(&self.local)?,
            false => write!(f, "\"{}\"", self.local.replace('\\', "\\\\").replace('"', "\\\""))?,
        }
        self.domain.as_ref().map_or(Ok(()), |domain| write!(f, "@{domain}"))
    }
}

fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// `@a,@b:` before the address means nothing any more.
fn skip_source_route(text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    let (route, rest) = text.split_once(':')?;
    let is_route =
        route.split(',').all(|hop| hop.strip_prefix('@').and_then(domain).is_some_and(|(_, rest)| rest.is_empty()));
    is_route.then_some(rest)
}

fn quoted_local(text: &str) -> Option<(String, &str)> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((local, text.get(at + 1..)?)),
            '\\' => local.push(chars.next().map(|(_, c)| c).filter(|c| !c.is_control())?),
            c if c.is_control() => return None,
            c => local.push(c),
        }
    }
    None
}

/// A domain or an address literal at the beginning of `text`, and what follows it.
pub(crate) fn domain(text: &str) -> Option<(&str, &str)> {
    let len = match text.strip_prefix('[') {
        Some(literal) => {
            let len = literal.find(|c: char| !c.is_ascii_graphic() || "[]\\<>".contains(c))?;
            literal.get(len..)?.starts_with(']').then_some(len + 2)?
        }
        None => {
            let is_label =
                |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || (!c.is_ascii() && !c.is_control());
            text.find(|c| !is_label(c)).unwrap_or(text.len())
        }
    };
    let (domain, rest) = text.split_at_checked(len)?;
    (!domain.is_empty() && !domain.starts_with('.')).then_some((domain, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<(String, String)> {
        Address::parse(text).map(|(address, rest)| (address.to_string(), rest.to_owned()))
    }

    #[test]
    fn paths_that_are() {
        for (text, expected) in [
            ("<>", ""),
            ("<ann>", "ann"),
            ("<ann@d.example> SIZE=1", "ann@d.example"),
            ("<@a,@b.c:ann@d>", "ann@d"),
            ("<\"an\\n x\"@d>", "\"ann x\"@d"),
            ("<\"a\\\"b\\\\\"@d>", "\"a\\\"b\\\\\"@d"),
            ("<\"plain\"@d>", "plain@d"),
            ("<a..b@d>", "\"a..b\"@d"),
            ("<ann+../../x>", "\"ann+../../x\""),
            ("<ann@[127.0.0.1]>", "ann@[127.0.0.1]"),
            ("<jörg@exämple>", "jörg@exämple"),
        ] {
            assert_eq!(parsed(text).map(|(address, _)| address).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(parsed("<ann@d> X=1"), Some(("ann@d".to_owned(), " X=1".to_owned())));
    }

    #[test]
    fn paths_that_are_none() {
        for text in [
            "",
            "ann",
            "<ann",
            "<ann@>",
            "<@d>",
            "<@a:>x",
            "<ann d>",
            "<\"ann@d>",
            "<ann@d e>",
            "<ann@.d>",
            "<a\rb>",
            "<a,b>",
            "<ann@[1>",
            "<a\"b>",
            "<\"a\nb\">",
            "<a@b@c>",
            "<<a>>",
        ] {
            assert!(parsed(text).is_none_or(|(address, _)| address.is_empty()), "{text}");
        }
        assert_eq!(parsed("<\"\"@d>"), None);
    }

    #[test]
    fn details() {
        let split = |text: &str, delimiters| {
            let (address, _) = Address::parse(text).unwrap();
            address.split_detail(delimiters).map(|(user, detail)| (user.plain(), detail.to_owned()))
        };
        let some = |user: &str, detail: &str| Some((user.to_owned(), detail.to_owned()));
        assert_eq!(split("<ann+x+y@d>", "+"), some("ann@d", "x+y"));
        assert_eq!(split("<ann-x+y>", "+-"), some("ann", "x+y"));
        assert_eq!(split("<ann+>", "+"), some("ann", ""));
        assert_eq!(split("<+x>", "+"), None);
        assert_eq!(split("<ann>", "+"), None);
        assert_eq!(split("<ann+x>", ""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_none(text in "<?[a.@\"\\\\ +:,\\[\\]ä\r>]{0,20}>?") {
            if let Some((address, _)) = Address::parse(&text) {
                let again = format!("<{address}>");
                prop_assert_eq!(Address::parse(&again).map(|(address, _)| address), Some(address));
            }
        }
    }
}
