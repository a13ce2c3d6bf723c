//! mbox files: any bytes as one.

use std::path::Path;

use mailfs::{FileSystemExt, sim::SimDisk};
use mailstore::mbox::{FromLine, MboxReader, Quoting, Status, Unquoting};

use crate::cuts::ways;

/// Every byte of an mbox file belongs to one message or one separator; what is quoted comes back as it was.
pub fn mbox(data: &[u8]) {
    file(data);
    if let Some(from) = FromLine::parse(data) {
        let mut written = Vec::new();
        FromLine::write("a@b", from.date.resolve(|_| 0), &mut written);
        let again = FromLine::parse(&written).expect("what is written is read");
        assert_eq!(again.date.resolve(|_| 0), from.date.resolve(|_| 0), "a date survives");
    }
    let status = Status::parse(data);
    assert!(status.header.len() <= data.len(), "a header only loses fields");
    assert!(status.keywords.len() <= Status::KEYWORDS_MAX, "keywords are bounded");
    quoting(data);
}

fn file(data: &[u8]) {
    let disk = SimDisk::new();
    let path = Path::new("/mbox");
    disk.write_atomic(path, data, 0o600, false).expect("a disk in memory");
    let Ok(mut reader) = MboxReader::open(&disk, path) else { return };
    let mut at = 0;
    while let Some(message) = reader.next_message().expect("the disk does not fail") {
        assert_eq!(message.start, at, "messages follow each other");
        assert!(message.end > message.start, "each message moves on");
        assert!(message.body.start >= message.start && message.body.end <= message.end, "a body lies in its message");
        at = message.end;
    }
    assert_eq!(at, data.len() as u64, "all of the file is read");
}

fn quoting(data: &[u8]) {
    for pieces in ways(data) {
        let (mut quoting, mut quoted) = (Quoting::default(), Vec::new());
        pieces.iter().for_each(|piece| quoting.write(piece, &mut quoted));
        quoting.finish(&mut quoted);
        let separates = |line: &[u8]| line.starts_with(b"From ");
        assert!(!quoted.split(|&byte| byte == b'\n').any(separates), "nothing looks like a separator");
        let (mut unquoting, mut back) = (Unquoting::default(), Vec::new());
        unquoting.write(&quoted, &mut back);
        unquoting.finish(&mut back);
        assert_eq!(back, data, "what was quoted comes back");
    }
}
