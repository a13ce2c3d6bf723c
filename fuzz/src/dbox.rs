//! dbox files: any bytes as one, and messages written and read back.

use std::path::Path;

use mailfs::{FileHandle, FileSystem, FileSystemExt, OpenMode, sim::SimDisk};
use mailmime::Structure;
use mailstore::dbox::{
    BodyLineEnds, DboxMessage, DboxWriter, FileHeader, MessageHeader, Metadata, MetadataKey, NulPolicy, WriterOptions,
    dump, verify,
};

use crate::cuts::{Choices, ways};

fn file_of(data: &[u8]) -> (SimDisk, FileHandle) {
    let disk = SimDisk::new();
    disk.write_atomic(Path::new("/u.1"), data, 0o600, false).expect("a disk in memory");
    let file = disk.open(Path::new("/u.1"), OpenMode::Read).expect("a file that is there");
    (disk, file)
}

/// Any bytes may be a dbox file, or a piece of one.
pub fn dbox_file(data: &[u8]) {
    pieces(data);
    let (_disk, file) = file_of(data);
    let dump = dump(&*file).expect("a dump fails with the disk only");
    assert!(!dump.text.is_empty() || data.is_empty(), "a dump says something");
    let Ok(message) = DboxMessage::read(file) else { return };
    let whole = body(&message, usize::MAX);
    assert_eq!(whole.len() as u64, message.body_len(), "the body is as long as it says");
    assert_eq!(body(&message, 7), whole, "how it is read does not matter");
    let (header, at) = FileHeader::parse(data).expect("a message has a file header before it");
    let start = at + header.message_header_len as usize;
    assert_eq!(data.get(start..start + whole.len()), Some(&*whole), "the body is the file's bytes");
    if let Ok(metadata) = message.metadata() {
        check_metadata(&metadata);
    }
    if let Ok(verified) = verify(message) {
        assert_eq!(verified.stored_len, whole.len() as u64, "all of the body was looked at");
    }
}

fn body(message: &DboxMessage, step: usize) -> Vec<u8> {
    let mut read = Vec::new();
    let mut buf = vec![0; step.min(message.body_len() as usize + 1)];
    while let Ok(len @ 1..) = message.read_body(read.len() as u64, &mut buf) {
        read.extend_from_slice(&buf[..len]);
    }
    read
}

fn pieces(data: &[u8]) {
    if let Ok((header, len)) = FileHeader::parse(data) {
        assert!(len <= FileHeader::LEN_MAX.min(data.len()), "the header lies in the bytes");
        let mut written = Vec::new();
        header.write(&mut written);
        assert_eq!(FileHeader::parse(&written).ok(), Some((header, written.len())), "a file header survives");
    }
    if let Ok(header) = MessageHeader::parse(data, 0) {
        let mut written = Vec::new();
        header.write(&mut written);
        assert_eq!(MessageHeader::parse(&written, 0).ok(), Some(header), "a message header survives");
    }
    if let Ok((metadata, len)) = Metadata::parse(data, 0) {
        let mut written = Vec::new();
        metadata.write(&mut written);
        assert_eq!(written.get(4..), data.get(..len), "metadata survive to the byte");
        check_metadata(&metadata);
    }
}

fn check_metadata(metadata: &Metadata) {
    for (key, _) in metadata.lines() {
        let first = metadata.lines().find(|(other, _)| *other == key).map(|(_, value)| value);
        assert_eq!(metadata.value(key), first, "the first of a key counts");
    }
    let _ = (metadata.received(), metadata.virtual_size(), metadata.physical_size(), metadata.guid());
    let mut end = 0;
    for attachment in metadata.attachments().unwrap_or_default() {
        assert!(attachment.start >= end, "attachments do not overlap");
        end = attachment.start.saturating_add(attachment.len);
    }
}

/// Whatever arrives, however it is cut, is written so that it is read back, line ends apart, and measured right.
pub fn dbox_write(data: &[u8]) {
    let mut choices = Choices::of(data);
    let line_ends = if choices.below(2) == 0 { BodyLineEnds::Lf } else { BodyLineEnds::CrLf };
    let nuls = if choices.below(2) == 0 { NulPolicy::Refuse } else { NulPolicy::Replace };
    let expected = match (data.contains(&0), nuls) {
        (true, NulPolicy::Refuse) => None,
        _ => Some(as_stored(data, line_ends)),
    };
    for chunks in ways(data) {
        let stored = write(&chunks, line_ends, nuls);
        assert!(stored.as_ref().map(|(body, _)| body) == expected.as_ref(), "what arrives is stored");
        let Some((body, structure)) = stored else { continue };
        assert_eq!(structure, Structure::of(&body), "what is stored is what was parsed");
    }
}

/// The message as it is to be stored.
fn as_stored(data: &[u8], line_ends: BodyLineEnds) -> Vec<u8> {
    let mut stored: Vec<u8> = Vec::new();
    for &byte in data {
        if byte == b'\n' {
            match line_ends {
                BodyLineEnds::Lf if stored.last() == Some(&b'\r') => drop(stored.pop()),
                BodyLineEnds::CrLf if stored.last() != Some(&b'\r') => stored.push(b'\r'),
                _ => {}
            }
        }
        stored.push(if byte == 0 { 0x80 } else { byte });
    }
    stored
}

fn write(chunks: &[&[u8]], line_ends: BodyLineEnds, nuls: NulPolicy) -> Option<(Vec<u8>, Structure)> {
    let disk = SimDisk::new();
    let path = Path::new("/u.1");
    let file = disk.open(path, OpenMode::CreateNew { mode: 0o600 }).expect("a new file");
    let mut writer = DboxWriter::new(file, 7, WriterOptions { line_ends, nuls, ..WriterOptions::default() });
    for chunk in chunks {
        writer.write(chunk).ok()?;
    }
    let written = writer
        .finish(|body| {
            let mut metadata = Metadata::default();
            metadata.push(MetadataKey::VIRTUAL_SIZE, format!("{:x}", body.virtual_size).as_bytes());
            metadata
        })
        .expect("a disk in memory does not fail");
    let message = DboxMessage::open(&disk, path).expect("what was written is read");
    let read = body(&message, usize::MAX);
    assert_eq!((message.body_len(), read.len() as u64), (written.body_len, written.body_len), "the size is the size");
    let metadata = message.metadata().expect("the metadata are there");
    assert_eq!(metadata.virtual_size(), Some(written.virtual_size), "metadata are written behind the body");
    let lone = read.iter().zip([b'\0'].iter().chain(&read)).filter(|(b, before)| **b == b'\n' && **before != b'\r');
    assert_eq!(written.virtual_size, (read.len() + lone.count()) as u64, "the size with CRLF is right");
    Some((read, written.structure))
}
