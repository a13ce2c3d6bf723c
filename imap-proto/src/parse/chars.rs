//! Classes of bytes (RFC 9051 §9).

const ATOM: u8 = 1;
const ASTRING: u8 = 2;
const LIST: u8 = 4;
const TAG: u8 = 8;

/// The classes of each byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b' ' + 1;
    while byte < 0x7f {
        classes[byte as usize] = match byte {
            b'(' | b')' | b'{' | b'"' | b'\\' => 0,
            b'%' | b'*' => LIST,
            b']' => ASTRING | LIST | TAG,
            b'+' => ATOM | ASTRING | LIST,
            _ => ATOM | ASTRING | LIST | TAG,
        };
        byte += 1;
    }
    classes
};

const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// `ATOM-CHAR`
pub(crate) const fn is_atom_char(byte: u8) -> bool {
    is(byte, ATOM)
}

/// `ASTRING-CHAR`
pub(crate) const fn is_astring_char(byte: u8) -> bool {
    is(byte, ASTRING)
}

/// `list-char`
pub(crate) const fn is_list_char(byte: u8) -> bool {
    is(byte, LIST)
}

/// A byte of a `tag`.
pub(crate) const fn is_tag_char(byte: u8) -> bool {
    is(byte, TAG)
}

/// A byte that may stand in a quoted string, as itself or escaped. Bytes of 0x80 and up are taken as Dovecot does,
/// whatever was enabled.
pub(crate) const fn is_quotable(byte: u8) -> bool {
    !matches!(byte, 0 | b'\r' | b'\n')
}
