//! File names of messages (`docs/formats/maildir.md`, "File names").
//!
//! A name is a base, which is the message's identity, and an info part from the first `:` on, which tells its flags.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use mailtypes::{Flag, Flags};

/// What stands before the flags.
const FLAGS_MARK: &[u8] = b":2,";

/// Letters of system flags, in the order of ASCII.
const FLAG_LETTERS: [(u8, Flag); 5] =
    [(b'D', Flag::Draft), (b'F', Flag::Flagged), (b'R', Flag::Answered), (b'S', Flag::Seen), (b'T', Flag::Deleted)];

/// Keywords by letter: bit 0 is `a`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Letters(pub(super) u32);

impl Letters {
    /// How many there are.
    pub(super) const COUNT: usize = 26;

    pub(super) const ALL: Self = Self((1 << Self::COUNT) - 1);

    pub(super) fn contains(self, n: usize) -> bool {
        n < Self::COUNT && self.0 & (1 << n) != 0
    }

    pub(super) fn insert(&mut self, n: usize) {
        if n < Self::COUNT {
            self.0 |= 1 << n;
        }
    }

    /// The numbers of the letters, ascending.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::COUNT).filter(move |n| self.contains(*n))
    }
}

/// What a name says of its message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct NameFlags {
    pub(super) flags: Flags,
    pub(super) letters: Letters,
}

impl NameFlags {
    pub(super) const ALL: Self = Self { flags: Flags::ALL, letters: Letters::ALL };

    /// Both.
    pub(super) fn union(self, other: Self) -> Self {
        Self { flags: self.flags | other.flags, letters: Letters(self.letters.0 | other.letters.0) }
    }
}

/// A name's base and info.
pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    name.split_at(memchr::memchr(b':', name).unwrap_or(name.len()))
}

/// The parts of an info: up to and with `:2,`, the flags, and what comes behind a further comma.
fn parts(info: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let at = memchr::memmem::find(info, FLAGS_MARK)? + FLAGS_MARK.len();
    let (head, rest) = info.split_at_checked(at)?;
    let (flags, tail) = rest.split_at(memchr::memchr(b',', rest).unwrap_or(rest.len()));
    Some((head, flags, tail))
}

/// The flags that an info tells.
pub(super) fn flags_of(info: &[u8]) -> NameFlags {
    let mut found = NameFlags::default();
    let Some((_, letters, _)) = parts(info) else { return found };
    for letter in letters {
        match letter {
            b'a'..=b'z' => found.letters.insert(usize::from(letter - b'a')),
            _ => {
                let flag = FLAG_LETTERS.iter().find(|(known, _)| known == letter);
                found.flags = flag.map_or(found.flags, |(_, flag)| found.flags | Flags::from(*flag));
            }
        }
    }
    found
}

/// The letters of flags.
pub(super) fn letters_of(flags: Flags) -> String {
    FLAG_LETTERS.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(letter, _)| char::from(*letter)).collect()
}

/// An info with other flags: letters that are not ours, and what stands behind them, stay.
pub(super) fn with_flags(info: &[u8], to: NameFlags) -> Vec<u8> {
    let (head, old, tail) = match parts(info) {
        Some((head, old, tail)) => (head.to_vec(), old, tail),
        None => ([info, FLAGS_MARK].concat(), &[][..], &[][..]),
    };
    let is_ours = |letter: &u8| letter.is_ascii_lowercase() || FLAG_LETTERS.iter().any(|(known, _)| known == letter);
    let mut letters: Vec<u8> = old.iter().copied().filter(|letter| !is_ours(letter)).collect();
    letters.extend(FLAG_LETTERS.iter().filter(|(_, flag)| to.flags.contains(*flag)).map(|(letter, _)| letter));
    letters.extend(to.letters.iter().map(|n| b'a' + n as u8));
    letters.sort_unstable();
    letters.dedup();
    [&head, &letters[..], tail].concat()
}

/// The number behind `,<key>=` in a base.
pub(super) fn size_in(base: &[u8], key: u8) -> Option<u64> {
    let mark = [b',', key, b'='];
    let at = memchr::memmem::find(base, &mark)? + mark.len();
    let digits = base.get(at..)?;
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(digits.get(..len)?).ok()?.parse().ok()
}

/// A base without the sizes that it tells.
pub(super) fn without_sizes(base: &[u8]) -> Vec<u8> {
    let mut base = base.to_vec();
    for mark in [b",S=", b",W="] {
        if let Some(at) = memchr::memmem::find(&base, mark) {
            let digits = base.iter().skip(at + mark.len()).take_while(|b| b.is_ascii_digit()).count();
            base.drain(at..at + mark.len() + digits);
        }
    }
    base
}

/// What stands before the first field of a base name.
pub(super) fn before_fields(base: &[u8]) -> &[u8] {
    base.split(|&byte| byte == b',').next().unwrap_or(base)
}

/// Files of this name hold a message, or might.
pub(super) fn is_message(name: &[u8]) -> bool {
    let (base, _) = split(name);
    !base.is_empty() && !base.starts_with(b".") && !base.contains(&b'\n')
}

/// What new messages found together are put in order by: the time in the name, then the name.
pub(super) fn arrival_order(base: &[u8]) -> (u64, &[u8]) {
    let len = base.iter().take_while(|b| b.is_ascii_digit()).count();
    let time = base.get(..len).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    (time.unwrap_or(0), base)
}

/// A file's path.
pub(super) fn path_in(dir: &Path, base: &[u8], info: &[u8]) -> PathBuf {
    dir.join(OsStr::from_bytes(&[base, info].concat()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(letters: u32) -> NameFlags {
        NameFlags { flags: Flag::Seen.into(), letters: Letters(letters) }
    }

    #[test]
    fn names_of_the_format_page() {
        let (base, info) = split(b"1795322986.M754223P17387.mail,S=887,W=906:2,RSabd");
        assert_eq!(base, b"1795322986.M754223P17387.mail,S=887,W=906");
        let flags = flags_of(info);
        assert_eq!(flags.flags, Flags::from(Flag::Answered) | Flag::Seen.into());
        assert_eq!(flags.letters.iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((size_in(base, b'S'), size_in(base, b'W'), size_in(base, b'X')), (Some(887), Some(906), None));
        assert_eq!(arrival_order(base).0, 1_795_322_986);
        assert_eq!(without_sizes(base), b"1795322986.M754223P17387.mail");
        assert_eq!(without_sizes(b"a,S=1,X=2,W="), b"a,X=2");
    }

    #[test]
    fn what_is_not_ours_stays() {
        assert_eq!(with_flags(b":2,FPx,more", seen(1)), b":2,PSa,more");
        assert_eq!(with_flags(b"", seen(0)), b":2,S");
        assert_eq!(with_flags(b":1,old", seen(0)), b":1,old:2,S");
        assert_eq!(flags_of(b":1,S"), NameFlags::default());
        assert_eq!(flags_of(b":1,x:2,S"), seen(0));
    }

    proptest! {
        #[test]
        fn flags_are_read_as_written(info in prop::collection::vec(prop::sample::select(b":2,DFPRSTabz9".to_vec()), 0..12),
            bits in 0u8..32, letters in 0u32..1 << 26) {
            let to = NameFlags { flags: Flags::from_bits(bits), letters: Letters(letters) };
            let written = with_flags(&info, to);
            prop_assert_eq!(flags_of(&written), to);
            prop_assert_eq!(with_flags(&written, to), written);
        }

        #[test]
        fn any_name_is_taken_apart(name in prop::collection::vec(any::<u8>(), 0..80)) {
            let (base, info) = split(&name);
            prop_assert_eq!([base, info].concat(), name.clone());
            let _ = (flags_of(info), size_in(base, b'S'), arrival_order(base), is_message(&name));
        }
    }
}
