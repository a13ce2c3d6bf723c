//! Dumps of the index files, which are made of files in any state.

use std::fmt;

use mailindex::dump::{FileKind, Format, detect, dump};

/// Beyond this a dump is not looked at: a snapshot's few bytes may speak of many records.
const DUMP_LEN_MAX: usize = 1 << 20;

/// Takes text up to a length.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > DUMP_LEN_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Any bytes are dumped as any kind of file, as text and as lines of JSON that are each an object.
pub fn index_dump(data: &[u8]) {
    for name in ["dovecot.index", "dovecot.index.log", "dovecot.index.cache", "x"] {
        let _ = detect(name, data);
    }
    for kind in [FileKind::Log, FileKind::Index, FileKind::Cache] {
        let mut text = Bounded(String::new());
        let _ = dump(kind, data, Format::Text, &mut text);
        let mut lines = Bounded(String::new());
        if dump(kind, data, Format::Json, &mut lines).is_err() {
            continue;
        }
        for line in lines.0.lines() {
            let value: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(value.is_ok_and(|value| value.is_object()), "each line is an object: {line}");
        }
    }
}
