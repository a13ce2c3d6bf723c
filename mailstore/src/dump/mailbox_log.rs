//! `dovecot.mailbox.log`, which tells replicas what became of mailboxes (`docs/formats/list.md`).

use std::fmt;

use super::Sink;

const RECORD_LEN: usize = 24;

/// Prints the records.
pub(super) fn dump(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let (records, rest) = bytes.as_chunks::<RECORD_LEN>();
    let mut offset = 0;
    for record in records {
        let [kind, _, _, _, rest @ ..] = record;
        let (guid, time) = rest.split_at(16);
        let name = match kind {
            1 => "mailbox deleted",
            2 => "directory deleted",
            3 => "renamed",
            4 => "subscribed",
            5 => "unsubscribed",
            6 => "directory created",
            _ => "",
        };
        let hex: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
        let time = time.first_chunk::<4>().map_or(0, |time| u32::from_be_bytes(*time));
        match name {
            "" => out.problem(offset, &format!("no record is of type {kind}"))?,
            name => {
                out.item("record", offset, &[("type", name.into()), ("guid", hex.into()), ("time", time.into())])?
            }
        }
        offset += RECORD_LEN as u64;
    }
    if !rest.is_empty() {
        out.problem(offset, &format!("the last {} bytes are no whole record", rest.len()))?;
    }
    out.item("end", bytes.len() as u64, &[])
}
