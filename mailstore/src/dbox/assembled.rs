//! A message whose attachments are stored outside of its file, read as if they were not (`docs/formats/dbox.md`, Detached
//! attachments).

use std::path::{Component, Path, PathBuf};

use mailfs::{FileHandle, FileSystem, OpenMode};

use super::{Attachment, DboxError, PlainBody};

/// Longest line of base64 that is made again.
const LINE_LEN_MAX: u32 = 64 << 10;

/// Bytes of a decoded attachment that are encoded at once, about.
const DECODED_LEN: u64 = 24 << 10;

/// Attachments of one message that are opened: each costs a file descriptor as long as the message is open.
const COUNT_MAX: usize = 100;

/// Where the parts of a message lie.
#[derive(Debug)]
pub(crate) struct Assembled {
    len: u64,
    /// Bytes of the part of it that lies in the message's file.
    body_len: u64,
    parts: Vec<Part>,
}

/// A part that lies in a file of its own.
#[derive(Debug)]
struct Part {
    /// Where it begins in the whole message.
    start: u64,
    /// Its length there.
    len: u64,
    /// How much of what stands before it lies outside of the message's file.
    outside_before: u64,
    file: FileHandle,
    lines: Option<Lines>,
}

/// How base64 was broken into lines.
#[derive(Clone, Copy, Debug)]
struct Lines {
    len: u64,
    end: &'static [u8],
}

impl Lines {
    /// Bytes of a whole line with its end.
    fn whole(self) -> u64 {
        self.len + self.end.len() as u64
    }

    /// Decoded bytes of a whole line.
    fn decoded(self) -> u64 {
        self.len / 4 * 3
    }

    /// Length of all lines together; the last one has no end.
    fn encoded_len(self, decoded: u64) -> Option<u64> {
        let characters = decoded.div_ceil(3).checked_mul(4)?;
        let breaks = characters.saturating_sub(1) / self.len;
        breaks.checked_mul(self.end.len() as u64)?.checked_add(characters)
    }
}

/// Where an attachment's file lies; `None` for a path that leads out of the folder.
pub(crate) fn attachment_path(folder: &Path, attachment: &Attachment, suffix: &str) -> Option<PathBuf> {
    let path = Path::new(std::str::from_utf8(&attachment.path).ok()?);
    let stays = path.components().all(|component| matches!(component, Component::Normal(_)));
    stays.then(|| folder.join(format!("{}{suffix}", path.display())))
}

/// Where Dovecot's `sis` keeps each content under its hash, beside the names that messages have for it.
const HASHES_DIR: &str = "hashes";

/// Removes a message's name for an attachment, and the content with the last name. `common`: as the message's metadata
/// have it.
pub(crate) fn remove_attachment(fs: &dyn FileSystem, common: &Path, own: &Path) -> mailfs::Result<()> {
    fs.unlink(own)?;
    let hash = common.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').next());
    let (Some(hash), Some(dir)) = (hash, common.parent()) else { return Ok(()) };
    let content = dir.join(HASHES_DIR).join(hash);
    match fs.metadata(&content)? {
        Some(there) if there.links == 1 => fs.unlink(&content),
        _ => Ok(()),
    }
}

impl Assembled {
    /// Opens the attachments. What sdbox adds to the names of their files is the `suffix`.
    pub(crate) fn open(
        fs: &dyn FileSystem,
        folder: &Path,
        list: &[Attachment],
        suffix: &str,
        body: &PlainBody,
    ) -> Result<Self, DboxError> {
        let body_len = body.len()?;
        if list.len() > COUNT_MAX {
            return Err(DboxError::damaged(body_len, "more attachments than one message can have"));
        }
        let mut outside = 0u64;
        let mut parts = Vec::with_capacity(list.len());
        for attachment in list {
            let damaged = |what| DboxError::damaged(attachment.start, what);
            let path = attachment_path(folder, attachment, suffix);
            let path = path.ok_or_else(|| damaged("the path of an attachment leads elsewhere"))?;
            let file = fs.open(&path, OpenMode::Read)?;
            let lines = lines_of(attachment).ok_or_else(|| damaged("lines of base64 longer than any can be"))?;
            let there = file.len()?;
            if lines.map_or(Some(there), |lines| lines.encoded_len(there)) != Some(attachment.len) {
                return Err(damaged("an attachment's file is not as long as it was"));
            }
            if attachment.start - outside.min(attachment.start) > body_len {
                return Err(damaged("an attachment lies behind the end of the message"));
            }
            let (start, len) = (attachment.start, attachment.len);
            parts.push(Part { start, len, outside_before: outside, file, lines });
            outside = outside.checked_add(len).ok_or_else(|| damaged("attachments longer than any message"))?;
        }
        let len = body_len.checked_add(outside);
        let len = len.ok_or_else(|| DboxError::damaged(0, "a message longer than any"))?;
        Ok(Self { len, body_len, parts })
    }

    /// Bytes of the whole message as stored.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads from `offset`; fewer bytes than asked for only at the end.
    pub(crate) fn read(&self, body: &PlainBody, offset: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let rest = buf.get_mut(filled..).unwrap_or_default();
            let read = self.read_piece(body, at, rest)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Reads out of one file.
    fn read_piece(&self, body: &PlainBody, at: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let next = self.parts.partition_point(|part| part.start + part.len <= at);
        let (outside, until) = match self.parts.get(next) {
            Some(part) if part.start <= at => return part.read(at - part.start, buf),
            Some(part) => (part.outside_before, part.start),
            None => (self.len - self.body_len, self.len),
        };
        let want = usize::try_from(until.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        body.read(at.saturating_sub(outside), buf.get_mut(..want).unwrap_or_default())
    }
}

fn lines_of(attachment: &Attachment) -> Option<Option<Lines>> {
    let Some(len) = attachment.base64_line_len else { return Some(None) };
    let end: &[u8] = if attachment.base64_crlf { b"\r\n" } else { b"\n" };
    (len <= LINE_LEN_MAX).then_some(Some(Lines { len: u64::from(len), end }))
}

impl Part {
    /// Reads from `at` in the part as it stands in the message.
    fn read(&self, at: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let want = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..want).unwrap_or_default();
        let read = match self.lines {
            None => self.file.read_at(buf, at)?,
            Some(lines) => self.read_lines(lines, at, buf)?,
        };
        if read == 0 && want > 0 {
            return Err(DboxError::damaged(self.start + at, "an attachment was cut while it was read"));
        }
        Ok(read)
    }

    /// Encodes whole lines from the one on that `at` lies in, as many as are encoded at once.
    fn read_lines(&self, lines: Lines, at: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let first = at / lines.whole();
        let skip = usize::try_from(at % lines.whole()).unwrap_or(usize::MAX);
        let wanted = (skip as u64 + buf.len() as u64).div_ceil(lines.whole());
        let count = wanted.min((DECODED_LEN / lines.decoded()).max(1));
        let mut decoded = vec![0; usize::try_from(count * lines.decoded()).unwrap_or(0)];
        let read = self.file.read_at(&mut decoded, first * lines.decoded())?;
        decoded.truncate(read);
        let mut encoded = Vec::with_capacity(usize::try_from(count * lines.whole()).unwrap_or(0));
        for line in decoded.chunks(usize::try_from(lines.decoded()).unwrap_or(1)) {
            encode_base64(line, &mut encoded);
            encoded.extend_from_slice(lines.end);
        }
        let there = encoded.get(skip..).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
        Ok(len)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4.
fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if at <= chunk.len() { letter } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::RealDisk;

    use super::*;
    use crate::dbox::{DboxMessage, DboxWriter, Metadata, Told, WriterOptions};

    fn attachment(start: u64, len: u64, line: Option<u32>, path: &str) -> Attachment {
        Attachment { start, len, base64_line_len: line, base64_crlf: false, path: path.as_bytes().to_vec() }
    }

    fn message(dir: &Path, body: &[u8]) -> PlainBody {
        let fs = RealDisk::new();
        let file = fs.open(&dir.join("u.1"), OpenMode::CreateNew { mode: 0o600 }).unwrap();
        let mut writer = DboxWriter::new(file, 1, WriterOptions::default());
        writer.write(body).unwrap();
        writer.finish(|_| Metadata::default()).unwrap();
        PlainBody::of(DboxMessage::open(&fs, &dir.join("u.1")).unwrap(), |_| Ok(Told::default())).unwrap()
    }

    fn base64(bytes: &[u8], line: usize) -> Vec<u8> {
        let mut all = Vec::new();
        encode_base64(bytes, &mut all);
        all.chunks(line).collect::<Vec<_>>().join(&b"\n"[..])
    }

    #[test]
    fn parts_are_put_where_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
        std::fs::create_dir(dir.path().join("aa")).unwrap();
        std::fs::write(dir.path().join("aa/one-x"), &bytes).unwrap();
        std::fs::write(dir.path().join("two-x"), "plain").unwrap();
        let inside = b"Subject: x\n\nbefore\nbetween\nafter\n";
        let encoded = base64(&bytes, 76);
        let mut whole = b"Subject: x\n\nbefore\n".to_vec();
        let first = attachment(whole.len() as u64, encoded.len() as u64, Some(76), "aa/one");
        whole.extend_from_slice(&encoded);
        whole.extend_from_slice(b"between\n");
        let second = attachment(whole.len() as u64, 5, None, "two");
        whole.extend_from_slice(b"plainafter\n");
        let message = message(dir.path(), inside);
        let list = [first, second];
        let assembled = Assembled::open(&RealDisk::new(), dir.path(), &list, "-x", &message).unwrap();
        assert_eq!(assembled.len(), whole.len() as u64);
        for (from, len) in [(0, whole.len()), (0, 25), (18, 200), (95, 77), (50_000, 60_000), (whole.len() - 13, 99)] {
            let mut read = vec![0; len];
            let count = assembled.read(&message, from as u64, &mut read).unwrap();
            let end = whole.len().min(from + len);
            assert!(read[..count] == whole[from..end], "{len} bytes from {from}");
        }
    }

    #[test]
    fn what_does_not_fit_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("one"), "abc").unwrap();
        let message = message(dir.path(), b"A: b\n\nbody\n");
        let open = |attachment| Assembled::open(&RealDisk::new(), dir.path(), &[attachment], "", &message).map(|_| ());
        assert!(open(attachment(6, 4, Some(76), "one")).is_ok());
        for wrong in [
            attachment(6, 5, Some(76), "one"),
            attachment(6, 4, None, "one"),
            attachment(99, 3, None, "one"),
            attachment(6, 3, None, "../one"),
            attachment(6, 3, None, "/etc/passwd"),
            attachment(6, 4, Some(1 << 30), "one"),
        ] {
            assert!(matches!(open(wrong.clone()), Err(DboxError::Damaged { .. })), "{wrong:?}");
        }
        assert!(matches!(open(attachment(6, 3, None, "gone")), Err(DboxError::Fs(_))));
    }

    #[test]
    fn base64_of_the_rfc() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            let mut out = Vec::new();
            encode_base64(plain.as_bytes(), &mut out);
            assert_eq!(out, encoded.as_bytes());
        }
    }
}
