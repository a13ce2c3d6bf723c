//! `culver.mbox.undo`: what an unfinished change of an mbox overwrote (`docs/formats/mbox.md`, Undo file).

use std::{fmt, path::Path};

use mailfs::{FileSystem, OpenMode};

use super::Sink;
use crate::{
    mbox::undo::{HEAD_LEN, MAGIC, RANGE_HEAD_LEN, REDO_MAGIC, SUM_LEN, sum_of},
    traits::Result,
};

/// Prints the head, and each stretch of the mbox that is saved. Reads the file from its beginning to its end for the sum.
pub(super) fn dump(fs: &dyn FileSystem, path: &Path, out: &mut Sink<'_>) -> Result<fmt::Result> {
    let file = fs.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len == 0 {
        return Ok(out.item("end", 0, &[("change", "none is under way".into())]));
    }
    let mut head = [0; HEAD_LEN];
    let data_len = len.saturating_sub(SUM_LEN as u64);
    let is_one = file.read_at(&mut head, 0)? == HEAD_LEN && (head.starts_with(MAGIC) || head.starts_with(REDO_MAGIC));
    if !is_one || data_len < HEAD_LEN as u64 {
        return Ok(out.problem(0, "no undo file, or one that was not finished: it stands for no change"));
    }
    let mut sum = [0; SUM_LEN];
    file.read_at(&mut sum, data_len)?;
    let is_whole = *sum_of(&file, data_len)? == sum;
    let (mut stretches, mut at) = (Vec::new(), HEAD_LEN as u64);
    for _ in 0..u32_at(&head, 12) {
        let mut stretch = [0; RANGE_HEAD_LEN];
        if at >= data_len || file.read_at(&mut stretch, at)? < RANGE_HEAD_LEN {
            break;
        }
        let (start, stretch_len) = (u64_at(&stretch, 0), u64_at(&stretch, 8));
        stretches.push((at, start, stretch_len));
        let Some(next) = at.checked_add(RANGE_HEAD_LEN as u64 + stretch_len) else { break };
        at = next;
    }
    Ok(tell(&head, &stretches, is_whole.then_some(data_len), at, out))
}

/// `sum_at`: where the sum is, if it agrees. `end`: where the last stretch ends.
fn tell(
    head: &[u8; HEAD_LEN],
    stretches: &[(u64, u64, u64)],
    sum_at: Option<u64>,
    end: u64,
    out: &mut Sink<'_>,
) -> fmt::Result {
    let count = u32_at(head, 12);
    out.item(
        "head",
        0,
        &[
            ("brought_to_its_end", head.starts_with(REDO_MAGIC).into()),
            ("in_force_with_uid", u32_at(head, 8).into()),
            ("ranges", count.into()),
            ("inode", u64_at(head, 16).into()),
            ("old_len", u64_at(head, 24).into()),
            ("new_len", u64_at(head, 32).into()),
        ],
    )?;
    for (at, start, len) in stretches {
        out.item("saved", *at, &[("mbox_offset", (*start).into()), ("len", (*len).into())])?;
    }
    match sum_at {
        Some(at) if at == end && stretches.len() as u64 == u64::from(count) => out.item("sum", at, &[]),
        _ => out.problem(end, "it is not whole, or its sum does not agree: it stands for no change"),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
