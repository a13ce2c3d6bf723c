//! `dovecot.index.thread`, in which Dovecot keeps which message answers which (`docs/formats/index.md`, The thread index).

use std::fmt;

use serde_json::Value;

use super::Sink;

/// Version 2 and little-endian.
const START: [u8; 4] = [2, 1, 0, 0];

const HEADER_LEN: usize = 16;

/// Bytes of a Message-ID's hash and number.
const STRING_LEN: usize = 8;

/// Prints the header, each block, and in it each message.
pub(super) fn dump(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let Some((header, mut rest)) = bytes.split_at_checked(HEADER_LEN) else {
        out.problem(0, "shorter than its header")?;
        return out.item("end", bytes.len() as u64, &[]);
    };
    let uid_validity = u32_at(header, 4).unwrap_or_default();
    let hex: String = header.iter().skip(8).map(|byte| format!("{byte:02x}")).collect();
    out.item("header", 0, &[("uid_validity", uid_validity.into()), ("unknown", hex.into())])?;
    if !header.starts_with(&START) {
        out.problem(0, "a version that is not known")?;
        rest = &[];
    }
    let (mut at, mut next_uid) = (HEADER_LEN as u64, 1);
    while !rest.is_empty() {
        let Some((len, block)) = block_len(rest) else {
            out.problem(at, "no length of a block")?;
            break;
        };
        let Some((block, behind)) = block.split_at_checked(len) else {
            out.problem(at, "a block that is longer than the file")?;
            break;
        };
        out.item("block", at, &[("len", len.into())])?;
        let Some(next) = dump_block(block, at + 4, next_uid, out)? else { break };
        next_uid = next;
        at += 4 + len as u64;
        rest = behind;
    }
    out.item("end", bytes.len() as u64, &[])
}

/// Tells the UID that the next block counts from; `None` behind something that makes no sense.
fn dump_block(block: &[u8], offset: u64, mut next_uid: u32, out: &mut Sink<'_>) -> Result<Option<u32>, fmt::Error> {
    let mut rest = block;
    let mut last_uid = next_uid.saturating_sub(1);
    while !rest.is_empty() {
        let at = offset + (block.len() - rest.len()) as u64;
        let Some((message, behind)) = Message::read(rest, next_uid) else {
            out.problem(at, "no message")?;
            return Ok(None);
        };
        message.tell(at, out)?;
        // Of two in a block the second counts from the first.
        (next_uid, last_uid, rest) = (message.uid, message.uid, behind);
    }
    Ok(last_uid.checked_add(1))
}

/// A message, and which messages it speaks of.
struct Message<'a> {
    uid: u32,
    count: u32,
    hashes: &'a [u8],
    numbers: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8], from_uid: u32) -> Option<(Self, &'a [u8])> {
        let (more, bytes) = packed(bytes)?;
        let (count, bytes) = packed(bytes)?;
        // Its own Message-ID, and In-Reply-To or References.
        let strings = usize::try_from(if count == 1 { 2 } else { count.max(1) }).ok()?;
        let (strings, behind) = bytes.split_at_checked(strings.checked_mul(STRING_LEN)?)?;
        let (hashes, numbers) = strings.split_at_checked(strings.len() / 2)?;
        Some((Self { uid: from_uid.checked_add(more)?, count, hashes, numbers }, behind))
    }

    fn tell(&self, at: u64, out: &mut Sink<'_>) -> fmt::Result {
        let hashes = self.hashes.as_chunks::<4>().0.iter().map(|hash| u32::from_le_bytes(*hash));
        let numbers = self.numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
        let mut strings = hashes.zip(numbers).map(|(hash, number)| Value::from(format!("{hash:08x}#{number}")));
        let own = strings.next().unwrap_or_default();
        let others: Vec<Value> = strings.collect();
        let mut values = vec![("uid", self.uid.into()), ("message_id", own)];
        if !others.is_empty() {
            values.push((if self.count == 1 { "in_reply_to" } else { "references" }, others.into()));
        }
        out.item("message", at, &values)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Four times seven bits, the highest first, each with its top bit set.
fn block_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    if len.iter().any(|byte| byte & 0x80 == 0) {
        return None;
    }
    Some((len.iter().fold(0, |all, byte| all << 7 | usize::from(byte & 0x7f)), rest))
}

/// Seven bits a byte, the lowest first, the top bit set on all but the last.
fn packed(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value: u32 = 0;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::Format, *};

    fn dumped(bytes: &[u8]) -> String {
        let mut out = String::new();
        dump(bytes, &mut Sink { format: Format::Text, out: &mut out }).unwrap();
        out
    }

    /// Two blocks as Dovecot 2.3.19 wrote them, with UIDs that were expunged before each; what is told is what its own dump
    /// tells.
    #[test]
    fn as_dovecot_wrote_it() {
        let mut file = vec![2, 1, 0, 0, 0x04, 0x81, 0x03, 0x6b, 0xbe, 0xae, 0xa6, 0xb5, 0x22, 0xde, 0x93, 0x8e];
        file.extend([0x80, 0x80, 0x80, 21, 3, 0, 0xac, 0xc5, 0x1b, 0x33, 1, 0, 0, 0]);
        file.extend([0x9e, 2, 0, 0xa2, 0x82, 0x7b, 0xb8, 2, 0, 0, 0]);
        file[19] |= 0x80;
        file.extend([0x80, 0x80, 0x80, 0x80 | 18, 3, 1, 0x2c, 0xd2, 0x7c, 0xc0, 0xac, 0xc5, 0x1b, 0x33]);
        file.extend([3, 0, 0, 0, 1, 0, 0, 0]);
        let text = dumped(&file);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("uid_validity=1795391748"), "{text}");
        assert_eq!(lines[1].trim_start(), "16  block len=21");
        assert_eq!(lines[2].trim_start(), "20  message uid=4 message_id=331bc5ac#1");
        assert_eq!(lines[3].trim_start(), "30  message uid=290 message_id=b87b82a2#2");
        assert_eq!(lines[5].trim_start(), "45  message uid=294 message_id=c07cd22c#3 in_reply_to=[\"331bc5ac#1\"]");
        assert!(!text.contains("problem"), "{text}");
        for cut in 0..file.len() {
            let text = dumped(&file[..cut]);
            let whole = [16, 41].contains(&cut);
            assert_eq!(text.contains("problem"), !whole, "cut at {cut}: {text}");
        }
    }
}
