//! `dovecot-keywords`: which letter stands for which keyword (`docs/formats/maildir.md`).
//!
//! # Invariants
//!
//! 1. A letter that has a keyword keeps it for good: files may carry it.
//! 2. No two letters have one keyword, whatever its case.

use mailtypes::Keyword;

use super::name::Letters;

/// Longest file that is read: far more than 26 of the longest keywords.
pub(super) const FILE_LEN_MAX: u64 = 64 << 10;

/// The keywords of one mailbox by letter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Keywords {
    names: [Option<Keyword>; Letters::COUNT],
}

impl Keywords {
    /// Reads a file. Lines that are none are passed over.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut keywords = Self::default();
        for line in bytes.split(|b| *b == b'\n') {
            let Some((n, name)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else {
                continue;
            };
            let (Ok(n), Ok(name)) = (n.parse::<usize>(), Keyword::new(name)) else { continue };
            if keywords.letter(&name).is_none()
                && let Some(free @ None) = keywords.names.get_mut(n)
            {
                *free = Some(name);
            }
        }
        keywords
    }

    /// Whether a line gives a letter a keyword.
    pub(super) fn is_line(line: &[u8]) -> bool {
        let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
        let Some((n, name)) = line.and_then(|line| line.split_once(' ')) else { return false };
        n.parse::<usize>().is_ok_and(|n| n < Letters::COUNT) && Keyword::new(name).is_ok()
    }

    /// The file's content.
    pub(super) fn encode(&self) -> Vec<u8> {
        let names = self.names.iter().enumerate();
        let lines = names.filter_map(|(n, name)| Some(format!("{n} {}\n", name.as_ref()?.as_str())));
        lines.collect::<String>().into_bytes()
    }

    /// The keyword of a letter.
    pub(super) fn name(&self, letter: usize) -> Option<&Keyword> {
        self.names.get(letter)?.as_ref()
    }

    /// The letter of a keyword, whatever its case.
    pub(super) fn letter(&self, keyword: &Keyword) -> Option<usize> {
        let is_it = |name: &Option<Keyword>| {
            name.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(keyword.as_str()))
        };
        self.names.iter().position(is_it)
    }

    /// Gives a keyword a letter; `None` when all have one. Those that files carry must have one before
    /// ([`MaildirFiles::keep_taken_letters`](super::files::MaildirFiles::keep_taken_letters)).
    pub(super) fn add(&mut self, keyword: &Keyword) -> Option<usize> {
        if let Some(letter) = self.letter(keyword) {
            return Some(letter);
        }
        let letter = self.names.iter().position(Option::is_none)?;
        *self.names.get_mut(letter)? = Some(keyword.clone());
        Some(letter)
    }

    /// Gives a letter the keyword that it had, where neither has another.
    pub(super) fn give_back(&mut self, letter: usize, keyword: &Keyword) {
        if self.letter(keyword).is_none()
            && let Some(free @ None) = self.names.get_mut(letter)
        {
            *free = Some(keyword.clone());
        }
    }

    /// Gives a letter another keyword than it has, which no other letter has.
    pub(super) fn rename(&mut self, letter: usize, keyword: &Keyword) {
        if self.letter(keyword).is_none()
            && let Some(name) = self.names.get_mut(letter)
        {
            *name = Some(keyword.clone());
        }
    }

    /// Gives a letter that files carry, and that has no keyword, one as Dovecot does: with as many `?` as make it another
    /// than those that are there. Tells whether it needed one.
    pub(super) fn invent(&mut self, letter: usize) -> bool {
        let is_free = self.names.get(letter).is_some_and(Option::is_none);
        let mut names = (0..=Letters::COUNT).map(|n| format!("unknown-{letter}{}", "?".repeat(n)));
        let free = names.find_map(|name| Keyword::new(&name).ok().filter(|name| self.letter(name).is_none()));
        match self.names.get_mut(letter).filter(|_| is_free) {
            Some(place) => {
                *place = free;
                place.is_some()
            }
            None => false,
        }
    }

    /// The letters that have a keyword.
    pub(super) fn letters(&self) -> Letters {
        let mut letters = Letters::default();
        (0..Letters::COUNT).filter(|n| self.name(*n).is_some()).for_each(|n| letters.insert(n));
        letters
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyword(name: &str) -> Keyword {
        Keyword::new(name).unwrap()
    }

    #[test]
    fn the_file_of_the_format_page() {
        let bytes = b"0 $Label1\n1 project-x\n13 late0\n";
        let mut keywords = Keywords::parse(bytes);
        assert_eq!(keywords.encode(), bytes);
        assert_eq!(keywords.letter(&keyword("$LABEL1")), Some(0));
        assert_eq!(keywords.add(&keyword("new")), Some(2));
        assert_eq!(keywords.add(&keyword("Late0")), Some(13));
        assert!(keywords.invent(25) && !keywords.invent(25));
        assert_eq!(keywords.name(25).unwrap().as_str(), "unknown-25");
        keywords.add(&keyword("unknown-24"));
        assert!(keywords.invent(24));
        assert_eq!(keywords.name(24).unwrap().as_str(), "unknown-24?");
    }

    #[test]
    fn the_27th_has_no_letter() {
        let mut keywords = Keywords::default();
        for n in 0..26 {
            assert_eq!(keywords.add(&keyword(&format!("k{n}"))), Some(n));
        }
        assert_eq!(keywords.add(&keyword("k26")), None);
    }

    proptest! {
        #[test]
        fn any_file_is_read(bytes in prop::collection::vec(prop::sample::select(b"0123 ab$\n\xff".to_vec()), 0..60)) {
            let keywords = Keywords::parse(&bytes);
            prop_assert_eq!(Keywords::parse(&keywords.encode()), keywords);
        }
    }
}
