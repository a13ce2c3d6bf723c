//! Unique ids (RFC 1939 §7) in Dovecot's formats, so that a client that moves from one to the other sees no mail twice.
//!
//! An id has 1 to 70 characters from `!` to `~`. A format is text with variables: `%u` the UID, `%v` the UIDVALIDITY,
//! `%g` the message's GUID, `%f` the name of its file (Maildir only), `%%` a percent sign. Between `%` and the letter may stand a width, which a leading `0` fills
//! with zeros and which cuts what is longer, and the modifiers `X` (a number in hexadecimal), `L` and `U` (lower and upper case).

use mailtypes::{Uid, UidValidity};

/// How unique ids are made of a message's identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UidlFormat {
    pieces: Vec<Piece>,
}

/// Why a format cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UidlFormatError {
    /// A variable that is not known.
    #[error("%{0} is not a variable of a unique id: there are %u, %v, %g, %f and %%")]
    UnknownVariable(char),
    /// `%m`, which Dovecot has for mbox.
    #[error("%m needs mbox; unique ids that a conversion saved are used without it")]
    OnlyMbox,
    /// A `%` with nothing behind it.
    #[error("the format ends within a variable")]
    Unfinished,
    /// A width beyond [`UidlFormat::LEN_MAX`].
    #[error("a width is at most {}", UidlFormat::LEN_MAX)]
    Width,
    /// Neither UID nor GUID nor file name is in it: all messages would be the same.
    #[error("a unique id needs %u, %g or %f")]
    NotUnique,
    /// A character that no unique id may have.
    #[error("a unique id cannot have {0:?}: only characters from ! to ~")]
    Character(char),
    /// Ids would be longer than a client need take.
    #[error("unique ids of up to {0} characters; RFC 1939 allows 70")]
    TooLong(usize),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Variable { value: Value, width: Option<usize>, zeros: bool, hex: bool, case: Case },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Value {
    Uid,
    UidValidity,
    Guid,
    FileName,
}

/// What ids are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) uid: Uid,
    pub(crate) uid_validity: UidValidity,
    /// As text.
    pub(crate) guid: &'a str,
    pub(crate) file_name: &'a str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Case {
    AsIs,
    Lower,
    Upper,
}

/// What to do where two messages have the same id.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UidlDuplicates {
    /// Both have it.
    #[default]
    Allow,
    /// The second gets `-2` behind it, the third `-3`, and so on.
    Rename,
}

impl Default for UidlFormat {
    /// Dovecot's: `%08Xu%08Xv`.
    fn default() -> Self {
        let number = |value| Piece::Variable { value, width: Some(8), zeros: true, hex: true, case: Case::AsIs };
        Self { pieces: vec![number(Value::Uid), number(Value::UidValidity)] }
    }
}

impl UidlFormat {
    /// Longest id (RFC 1939 §7).
    pub const LEN_MAX: usize = 70;

    /// Reads a format as `pop3_uidl_format` has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(format: &str) -> Result<Self, UidlFormatError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match variable(&mut chars)? {
                    Some(variable) => {
                        pieces.extend((!text.is_empty()).then(|| Piece::Text(std::mem::take(&mut text))));
                        pieces.push(variable);
                    }
                    None => text.push('%'),
                },
                '!'..='~' => text.push(c),
                _ => return Err(UidlFormatError::Character(c)),
            }
        }
        pieces.extend((!text.is_empty()).then_some(Piece::Text(text)));
        let format = Self { pieces };
        if !format.has(Value::Uid) && !format.needs_guid() && !format.needs_file_name() {
            return Err(UidlFormatError::NotUnique);
        }
        let longest = format.pieces.iter().map(Piece::len_max).sum();
        if longest > Self::LEN_MAX { Err(UidlFormatError::TooLong(longest)) } else { Ok(format) }
    }

    fn has(&self, wanted: Value) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable { value, .. } if *value == wanted))
    }

    /// Whether ids need the messages' GUIDs.
    pub(crate) fn needs_guid(&self) -> bool {
        self.has(Value::Guid)
    }

    /// Whether ids need the names of the messages' files.
    pub(crate) fn needs_file_name(&self) -> bool {
        self.has(Value::FileName)
    }

    /// Whether two messages can have the same id.
    pub(crate) fn may_repeat(&self) -> bool {
        let has_whole_uid = self.pieces.iter().any(|piece| match piece {
            Piece::Variable { value: Value::Uid, width, zeros, hex, .. } => {
                let longest = if *hex { 8 } else { 10 };
                *zeros || width.is_none_or(|width| width >= longest)
            }
            _ => false,
        });
        !has_whole_uid
    }

    /// Puts a message's id at the end of the output.
    pub(crate) fn write(&self, identity: Identity<'_>, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable { value, width, zeros, hex, case } => {
                    let number = |number: u32| if *hex { format!("{number:x}") } else { number.to_string() };
                    let mut text = match value {
                        Value::Uid => number(identity.uid.value()),
                        Value::UidValidity => number(identity.uid_validity.value()),
                        Value::Guid => identity.guid.to_owned(),
                        Value::FileName => identity.file_name.to_owned(),
                    };
                    match case {
                        Case::AsIs => {}
                        Case::Lower => text.make_ascii_lowercase(),
                        Case::Upper => text.make_ascii_uppercase(),
                    }
                    push_padded(out, &text, *width, *zeros);
                }
            }
        }
    }
}

/// A width with zeros fills up, one without cuts off, as in Dovecot.
fn push_padded(out: &mut String, text: &str, width: Option<usize>, zeros: bool) {
    match width {
        Some(width) if zeros => {
            out.extend(std::iter::repeat_n('0', width.saturating_sub(text.len())));
            out.push_str(text);
        }
        Some(width) => out.push_str(text.get(..width).unwrap_or(text)),
        None => out.push_str(text),
    }
}

/// The variable behind a `%`; `None` for a percent sign.
fn variable(chars: &mut std::str::Chars<'_>) -> Result<Option<Piece>, UidlFormatError> {
    let (mut width, mut zeros, mut hex, mut case) = (None, false, false, Case::AsIs);
    loop {
        let c = chars.next().ok_or(UidlFormatError::Unfinished)?;
        let value = match c {
            '%' => return Ok(None),
            '0' if width.is_none() => {
                zeros = true;
                continue;
            }
            '0'..='9' => {
                let wider = width.unwrap_or(0) * 10 + (c as usize - '0' as usize);
                if wider > UidlFormat::LEN_MAX {
                    return Err(UidlFormatError::Width);
                }
                width = Some(wider);
                continue;
            }
            'X' => {
                hex = true;
                continue;
            }
            'L' => {
                case = Case::Lower;
                continue;
            }
            'U' => {
                case = Case::Upper;
                continue;
            }
            'u' => Value::Uid,
            'v' => Value::UidValidity,
            'g' => Value::Guid,
            'f' => Value::FileName,
            'm' => return Err(UidlFormatError::OnlyMbox),
            _ => return Err(UidlFormatError::UnknownVariable(c)),
        };
        return Ok(Some(Piece::Variable { value, width, zeros, hex, case }));
    }
}

impl Piece {
    fn len_max(&self) -> usize {
        let (natural, width, zeros) = match self {
            Self::Text(text) => return text.len(),
            // Whatever a Maildir file is called: ids beyond the limit are cut off.
            Self::Variable { value: Value::Guid | Value::FileName, width, zeros, .. } => (32, width, zeros),
            Self::Variable { hex: true, width, zeros, .. } => (8, width, zeros),
            Self::Variable { width, zeros, .. } => (10, width, zeros),
        };
        match (*width, *zeros) {
            (Some(width), true) => natural.max(width),
            (Some(width), false) => natural.min(width),
            (None, _) => natural,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(format: &str) -> String {
        let mut id = String::new();
        let identity = Identity {
            uid: Uid::new(17).unwrap(),
            uid_validity: UidValidity::new(1_795_342_872).unwrap(),
            guid: "1136650e19c2026ba008000083ecc375",
            file_name: "1700000000.M1P2.host,S=17",
        };
        UidlFormat::parse(format).unwrap().write(identity, &mut id);
        id
    }

    /// As a Dovecot 2.3.19 answered for message 17 with each of these.
    #[test]
    fn formats_as_dovecot_writes_them() {
        for (format, expected) in [
            ("%08Xu%08Xv", "000000116b02c218"),
            ("%u", "17"),
            ("%Xu", "11"),
            ("%4u", "17"),
            ("%010u", "0000000017"),
            ("%02Xu.%v", "11.1795342872"),
            ("%g", "1136650e19c2026ba008000083ecc375"),
            ("%Ug", "1136650E19C2026BA008000083ECC375"),
            ("%16g", "1136650e19c2026b"),
            ("%5g.%u", "11366.17"),
            ("%08XUu", "00000011"),
            ("%u-%%", "17-%"),
            ("%03g", "1136650e19c2026ba008000083ecc375"),
            ("%f", "1700000000.M1P2.host,S=17"),
        ] {
            assert_eq!(id(format), expected, "{format}");
        }
        assert_eq!(UidlFormat::parse("%08Xu%08Xv"), Ok(UidlFormat::default()));
    }

    #[test]
    fn formats_that_cannot_be() {
        use UidlFormatError as E;
        for (format, error) in [
            ("", E::NotUnique),
            ("%v", E::NotUnique),
            ("%m", E::OnlyMbox),
            ("%q", E::UnknownVariable('q')),
            ("%-5u", E::UnknownVariable('-')),
            ("%u %v", E::Character(' ')),
            ("%u\u{e4}", E::Character('\u{e4}')),
            ("%u%", E::Unfinished),
            ("%08", E::Unfinished),
            ("%71u", E::Width),
            ("%99999999999999999999999u", E::Width),
            ("%g%g%g", E::TooLong(96)),
        ] {
            assert_eq!(UidlFormat::parse(format), Err(error), "{format}");
        }
    }

    #[test]
    fn which_ids_can_repeat() {
        let may_repeat = |format| UidlFormat::parse(format).unwrap().may_repeat();
        for format in ["%g", "%5g", "%4u", "%4Xu", "%16g.%v"] {
            assert!(may_repeat(format), "{format}");
        }
        for format in ["%u", "%08Xu%08Xv", "%8Xu", "%g.%u", "%04u", "%10u"] {
            assert!(!may_repeat(format), "{format}");
        }
    }
}
