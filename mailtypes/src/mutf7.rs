//! Modified UTF-7, IMAP's and Dovecot's way to write mailbox names in ASCII (RFC 3501 §5.1.3).

/// Why a name is not canonical modified UTF-7.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidMutf7 {
    /// A byte outside 0x20 to 0x7e.
    #[error("byte {0:#04x} is not printable ASCII")]
    Byte(u8),
    /// A `&` that is never ended by `-`, or holds something that is not its base64.
    #[error("a shifted section is malformed")]
    Section,
    /// It decodes, but there is one right way to write each name and this is another.
    #[error("the name is not written in its canonical form")]
    NotCanonical,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Writes a name: printable ASCII as itself, `&` as `&-`, the rest as base64 of UTF-16.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u16> = Vec::new();
    let mut units = [0; 2];
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            end_section(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            shifted.extend_from_slice(c.encode_utf16(&mut units));
        }
    }
    end_section(&mut shifted, &mut out);
    out
}

fn end_section(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut held) = (0u32, 0);
    for unit in units.drain(..) {
        bits = bits << 16 | u32::from(unit);
        held += 16;
        while held >= 6 {
            held -= 6;
            out.push(char::from(ALPHABET[(bits >> held & 63) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(ALPHABET[(bits << (6 - held) & 63) as usize]));
    }
    out.push('-');
}

/// Reads a name; only the canonical form is taken, so that no two spellings name one mailbox.
pub fn decode(name: &[u8]) -> Result<String, InvalidMutf7> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'&' => {
                let end = rest.iter().position(|&b| b == b'-').ok_or(InvalidMutf7::Section)?;
                let (section, after) = rest.split_at(end);
                rest = after.get(1..).unwrap_or_default();
                if section.is_empty() { out.push('&') } else { decode_section(section, &mut out)? }
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => return Err(InvalidMutf7::Byte(byte)),
        }
    }
    if encode(&out).as_bytes() != name {
        return Err(InvalidMutf7::NotCanonical);
    }
    Ok(out)
}

fn decode_section(section: &[u8], out: &mut String) -> Result<(), InvalidMutf7> {
    let (mut bits, mut held) = (0u32, 0);
    let mut units = Vec::with_capacity(section.len() * 6 / 16);
    for byte in section {
        let digit = ALPHABET.iter().position(|b| b == byte).ok_or(InvalidMutf7::Section)?;
        bits = bits << 6 | digit as u32;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push((bits >> held) as u16);
            bits &= (1 << held) - 1;
        }
    }
    for c in char::decode_utf16(units) {
        out.push(c.map_err(|_| InvalidMutf7::Section)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names() {
        for (name, written) in [
            ("INBOX", "INBOX"),
            ("Überblick & Co", "&ANw-berblick &- Co"),
            ("日本語/フォルダ", "&ZeVnLIqe-/&MNUwqTDrMMA-"),
            ("New näme", "New n&AOQ-me"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(name), written);
            assert_eq!(decode(written.as_bytes()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        assert_eq!(decode(b"&AGE-"), Err(InvalidMutf7::NotCanonical), "a shifted ASCII letter");
        assert_eq!(decode(b"&ANw"), Err(InvalidMutf7::Section), "never ended");
        assert_eq!(decode(b"&ANw-&ANw-"), Err(InvalidMutf7::NotCanonical), "two sections that could be one");
        assert_eq!(decode(b"&2D0-"), Err(InvalidMutf7::Section), "half a surrogate pair");
        assert_eq!(decode("ü".as_bytes()), Err(InvalidMutf7::Byte(0xc3)));
    }

    proptest! {
        #[test]
        fn every_name_survives(name in ".*") {
            prop_assert_eq!(decode(encode(&name).as_bytes()), Ok(name));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = decode(&bytes) {
                prop_assert_eq!(encode(&name).into_bytes(), bytes);
            }
        }
    }
}
