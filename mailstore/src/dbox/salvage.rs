//! A damaged `u.<uid>` file made anew from what of it can be told: where the body begins, where it ends, and what the
//! lines behind it say (`docs/formats/dbox.md`, "sdbox rebuild").
//!
//! # Invariants
//!
//! 1. The damaged file stays as `culver.damaged.<file>.<n>`; the new one takes its place by one rename, when it is durable.
//! 2. No byte of the body that is there is dropped, and none is made up.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mailfs::{File, FileSystem, OpenMode, TEMP_PREFIX};
use mailindex::engine::aside;
use mailtypes::Guid;

use super::{
    DboxError, FileHeader, MessageHeader, Metadata, MetadataKey,
    header::{MAGIC_POST, MAGIC_PRE},
};

/// Looked at for the headers.
const HEAD_LEN: usize = FileHeader::LEN_MAX + FileHeader::MESSAGE_HEADER_LEN_MAX as usize;

/// Copied at once.
const COPY_LEN: usize = 256 << 10;

/// Bytes of the file header that every program writes since 2009.
const FILE_HEADER_LEN: usize = 16;

/// Where what is in a file.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    body: std::ops::Range<u64>,
    metadata: Metadata,
    /// Nothing of it is to be guessed.
    is_whole: bool,
}

/// Makes the file anew, durably; gives the name of the damaged one. Fails where nothing of a message is left, and leaves
/// everything as it is then. Reads the file once and writes it once.
pub(crate) fn salvage(fs: &dyn FileSystem, path: &Path) -> Result<PathBuf, DboxError> {
    let file = fs.open(path, OpenMode::Read)?;
    let there = file.metadata()?;
    let mut found = find(&*file, there.len)?;
    let size = virtual_size(&*file, &found.body)?;
    if found.is_whole && found.metadata.virtual_size() == Some(size) {
        return Err(DboxError::damaged(0, "nothing is wrong with it that could be put right"));
    }
    let modified = there.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    complete(fs, &mut found.metadata, size, modified);
    let temp = write(fs, path, there.mode, &*file, &found, modified)?;
    let placed = aside::link(fs, path).and_then(|kept| fs.rename(&temp, path).map(|()| kept));
    let kept = match placed {
        Ok(kept) => kept,
        Err(e) => {
            // What stays bears a name that is cleaned up.
            let _ = fs.unlink(&temp);
            return Err(e.into());
        }
    };
    if let Some(dir) = path.parent() {
        fs.sync_dir(dir)?;
    }
    tracing::warn!(path = %path.display(), kept = %kept.display(), "a damaged message was made anew");
    Ok(kept)
}

/// Gives the lines that a message must have and that are lost.
pub(crate) fn complete(fs: &dyn FileSystem, metadata: &mut Metadata, size: u64, modified: u64) {
    // Of a compressed body, or one whose attachments lie elsewhere, the size is not that of what is here.
    let is_plain = metadata.physical_size().is_none() && metadata.value(MetadataKey::ATTACHMENTS).is_none();
    if is_plain && metadata.virtual_size() != Some(size) {
        metadata.set(MetadataKey::VIRTUAL_SIZE, format!("{size:x}").as_bytes());
    }
    if metadata.received().is_none() {
        metadata.set(MetadataKey::RECEIVED, format!("{modified:x}").as_bytes());
    }
    if metadata.guid().is_none() {
        let mut guid = Guid::ZERO;
        fs.random(&mut guid.0);
        metadata.set(MetadataKey::GUID, guid.to_string().as_bytes());
    }
}

fn read(file: &dyn File, offset: u64, len: usize) -> Result<Vec<u8>, DboxError> {
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn find(file: &dyn File, len: u64) -> Result<Found, DboxError> {
    let head = read(file, 0, HEAD_LEN.min(usize::try_from(len).unwrap_or(HEAD_LEN)))?;
    let (start, told_len, header_is_whole) = body_start(&head)?;
    let told_end = told_len.and_then(|told| start.checked_add(told)).filter(|end| *end <= len);
    if let Some(end) = told_end {
        let (metadata, is_whole) = metadata_at(file, end, len)?;
        if let Some(metadata) = metadata {
            return Ok(Found { body: start..end, metadata, is_whole: is_whole && header_is_whole });
        }
    }
    if let Some((end, metadata)) = last_metadata(file, start, len)? {
        return Ok(Found { body: start..end, metadata, is_whole: false });
    }
    let end = told_end.unwrap_or(len);
    if end <= start {
        return Err(DboxError::damaged(start.min(len), "nothing of the message is left"));
    }
    Ok(Found { body: start..end, metadata: Metadata::default(), is_whole: false })
}

/// Where the body begins, how long its header says that it is, and whether both headers are sound.
fn body_start(head: &[u8]) -> Result<(u64, Option<u64>, bool), DboxError> {
    let header_at = |at: usize| MessageHeader::parse(head.get(at..).unwrap_or_default(), at as u64);
    if let Ok((file_header, at)) = FileHeader::parse(head) {
        let start = at as u64 + u64::from(file_header.message_header_len);
        let header = header_at(at).ok();
        return Ok((start, header.map(|header| header.body_len), header.is_some()));
    }
    for at in memchr::memmem::find_iter(head, &MAGIC_PRE) {
        if let Ok(header) = header_at(at) {
            return Ok(((at + MessageHeader::LEN) as u64, Some(header.body_len), false));
        }
    }
    // Both are gone, but where they stood may still be seen.
    let usual = FILE_HEADER_LEN + MessageHeader::LEN;
    let start = match head.get(usual - 1) {
        Some(b'\n') => usual,
        _ => head.iter().position(|byte| *byte != 0).filter(|at| *at > 0).unwrap_or(head.len()),
    };
    match start < head.len() {
        true => Ok((start as u64, None, false)),
        false => Err(DboxError::damaged(0, "nothing tells where the message begins")),
    }
}

/// The lines that follow a body, as far as they are there; `None` where none do.
fn metadata_at(file: &dyn File, at: u64, len: u64) -> Result<(Option<Metadata>, bool), DboxError> {
    let there = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
    let bytes = read(file, at, there.min(Metadata::LEN_MAX + MAGIC_POST.len()))?;
    let Some(lines) = bytes.strip_prefix(&MAGIC_POST) else { return Ok((None, false)) };
    Ok(match Metadata::parse(lines, at) {
        Ok((metadata, used)) => (Some(metadata), used == lines.len()),
        Err(_) => (Some(Metadata::parse_rest(lines)), false),
    })
}

/// The last place where lines follow a body, whatever its header says.
fn last_metadata(file: &dyn File, start: u64, len: u64) -> Result<Option<(u64, Metadata)>, DboxError> {
    let from = start.max(len.saturating_sub((Metadata::LEN_MAX + MAGIC_POST.len()) as u64));
    let tail = read(file, from, usize::try_from(len.saturating_sub(from)).unwrap_or(usize::MAX))?;
    let Some(at) = memchr::memmem::rfind(&tail, &MAGIC_POST) else { return Ok(None) };
    let lines = tail.get(at + MAGIC_POST.len()..).unwrap_or_default();
    let metadata = Metadata::parse(lines, from).map_or_else(|_| Metadata::parse_rest(lines), |(metadata, _)| metadata);
    Ok(Some((from + at as u64, metadata)))
}

/// Calls `each` with the bytes of a range, a piece at a time.
fn pieces(
    file: &dyn File,
    range: &std::ops::Range<u64>,
    mut each: impl FnMut(&[u8]) -> Result<(), DboxError>,
) -> Result<(), DboxError> {
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).unwrap_or(COPY_LEN).min(COPY_LEN);
        let bytes = read(file, at, want)?;
        if bytes.is_empty() {
            return Err(DboxError::damaged(at, "the file was cut while it was read"));
        }
        each(&bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// What a body comes to with CRLF line ends, as it is stored.
pub(crate) fn virtual_size(file: &dyn File, body: &std::ops::Range<u64>) -> Result<u64, DboxError> {
    let (mut size, mut last) = (0, 0);
    pieces(file, body, |bytes| {
        let before = |i: usize| i.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(last);
        let lone = memchr::memchr_iter(b'\n', bytes).filter(|&i| before(i) != b'\r').count();
        size += (bytes.len() + lone) as u64;
        last = bytes.last().copied().unwrap_or_default();
        Ok(())
    })?;
    Ok(size)
}

/// Writes the new file under a temporary name, durably.
fn write(
    fs: &dyn FileSystem,
    path: &Path,
    mode: u32,
    from: &dyn File,
    found: &Found,
    created: u64,
) -> Result<PathBuf, DboxError> {
    let mut random = [0; 8];
    fs.random(&mut random);
    let temp = path.with_file_name(format!("{TEMP_PREFIX}{:016x}", u64::from_le_bytes(random)));
    let file = fs.open(&temp, OpenMode::CreateNew { mode })?;
    let written = (|| {
        let mut head = Vec::new();
        FileHeader::new(u32::try_from(created).unwrap_or(u32::MAX)).write(&mut head);
        MessageHeader::new(found.body.end - found.body.start).write(&mut head);
        file.write_at(&head, 0)?;
        let mut at = head.len() as u64;
        pieces(from, &found.body, |bytes| {
            file.write_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        let mut tail = Vec::new();
        found.metadata.write(&mut tail);
        file.write_at(&tail, at)?;
        Ok(file.sync_data()?)
    })();
    match written {
        Ok(()) => Ok(temp),
        Err(e) => {
            let _ = fs.unlink(&temp);
            Err(e)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mailfs::{FileSystemExt, sim::SimDisk};

    use super::*;
    use crate::dbox::DboxMessage;

    const BODY: &[u8] = b"Subject: x\n\none\r\ntwo\n";
    const LINES: &[u8] = b"\n\x01\x03\nR6b0277ab\nV18\nGb1a2ac0aab77026b59260000c17ffdbc\nPuidl\n\n";

    fn whole() -> Vec<u8> {
        let mut file = Vec::new();
        FileHeader::new(0x6b02_77ab).write(&mut file);
        MessageHeader::new(BODY.len() as u64).write(&mut file);
        [&file[..], BODY, LINES].concat()
    }

    /// The body, the lines, and whether the damaged file is kept.
    fn salvaged(bytes: &[u8]) -> Result<(Vec<u8>, Metadata), String> {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        fs.create_dir(Path::new("/m"), 0o700).map_err(|e| e.to_string())?;
        let path = Path::new("/m/u.1");
        fs.write_atomic(path, bytes, 0o600, true).map_err(|e| e.to_string())?;
        let kept = match salvage(&*fs, path) {
            Ok(kept) => kept,
            Err(e) => {
                assert_eq!(fs.read_all(path, 1000).unwrap(), bytes, "left as it is");
                assert_eq!(fs.read_dir(Path::new("/m")).unwrap().len(), 1);
                return Err(e.to_string());
            }
        };
        assert_eq!(kept, Path::new("/m/culver.damaged.u.1.1"));
        assert_eq!(fs.read_all(&kept, 1000).unwrap(), bytes);
        assert_eq!(fs.read_dir(Path::new("/m")).unwrap().len(), 2);
        let message = DboxMessage::open(&*fs, path).unwrap();
        let mut body = vec![0; message.body_len() as usize];
        message.read_body(0, &mut body).unwrap();
        Ok((body, message.metadata().unwrap()))
    }

    #[test]
    fn a_sound_file_is_left_alone() {
        assert!(salvaged(&whole()).unwrap_err().contains("nothing is wrong"));
    }

    #[test]
    fn a_wrong_length_in_the_header_costs_nothing() {
        for digits in [&b"0000000000000010"[..], b"00000000000FFFFF", b"000000000000000g"] {
            let mut file = whole();
            file[16 + 13..16 + 29].copy_from_slice(digits);
            let (body, metadata) = salvaged(&file).unwrap();
            assert_eq!((&body[..], metadata.virtual_size()), (BODY, Some(0x18)));
            assert_eq!(metadata.guid().unwrap().to_string(), "b1a2ac0aab77026b59260000c17ffdbc");
        }
    }

    #[test]
    fn headers_that_are_gone_cost_nothing() {
        for range in [0..1, 0..16, 16..18, 0..40] {
            let mut file = whole();
            file[range].fill(b'?');
            let (body, metadata) = salvaged(&file).unwrap();
            assert_eq!((&body[..], metadata.lines().count()), (BODY, 4));
        }
    }

    #[test]
    fn a_cut_costs_what_is_behind_it() {
        let file = whole();
        let body_start = file.len() - LINES.len() - BODY.len();
        for len in body_start + 1..file.len() {
            let (body, metadata) = salvaged(&file[..len]).unwrap();
            let left = len.saturating_sub(body_start).min(BODY.len());
            assert_eq!(body[..left], BODY[..left], "{len}");
            assert!(metadata.guid().is_some() && metadata.received().is_some());
            let lone = body.iter().enumerate().filter(|(i, b)| **b == b'\n' && (*i == 0 || body[i - 1] != b'\r'));
            assert_eq!(metadata.virtual_size(), Some((body.len() + lone.count()) as u64), "{len}");
        }
        for len in 0..=body_start {
            assert!(salvaged(&file[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn what_was_zeroed_at_the_beginning_leaves_the_rest() {
        let mut file = whole();
        file[..60].fill(0);
        assert_eq!(salvaged(&file).unwrap().0, BODY[60 - 46..]);
        file.fill(0);
        assert!(salvaged(&file).is_err());
    }

    #[test]
    fn a_wrong_size_is_put_right() {
        let mut file = whole();
        let at = memchr::memmem::find(&file, b"V18").unwrap();
        file[at + 2] = b'b';
        let (body, metadata) = salvaged(&file).unwrap();
        assert_eq!((&body[..], metadata.virtual_size()), (BODY, Some(0x18)));
        assert_eq!(metadata.value(MetadataKey::POP3_UIDL), Some(&b"uidl"[..]));
    }

    #[test]
    fn what_is_not_there_is_left_so() {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        fs.create_dir(Path::new("/m"), 0o700).unwrap();
        assert!(salvage(&*fs, Path::new("/m/u.7")).is_err());
        assert!(fs.read_dir(Path::new("/m")).unwrap().is_empty());
    }
}
