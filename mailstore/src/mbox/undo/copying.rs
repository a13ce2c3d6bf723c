//! Moving stretches of files, in pieces.

use mailfs::FileHandle;

/// Bytes copied at once.
pub(super) const COPY_LEN: usize = 256 << 10;

/// Whether two stretches differ.
pub(super) fn differs(a: &FileHandle, a_at: u64, b: &FileHandle, b_at: u64, len: u64) -> mailfs::Result<bool> {
    let room = usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN);
    let (mut left, mut right, mut done) = (vec![0; room], vec![0; room], 0);
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(room).min(room);
        let (left, right) = (left.get_mut(..want).unwrap_or_default(), right.get_mut(..want).unwrap_or_default());
        let read = (a.read_at(left, a_at + done)?, b.read_at(right, b_at + done)?);
        if read != (want, want) || left != right {
            return Ok(true);
        }
        done += want as u64;
    }
    Ok(false)
}

/// Copies a stretch to a place that is not behind its own, ascending.
pub(in crate::mbox) fn copy(from: &FileHandle, at: u64, to: &FileHandle, to_at: u64, len: u64) -> mailfs::Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(COPY_LEN).min(COPY_LEN);
        let read = from.read_at(buffer.get_mut(..want).unwrap_or_default(), at + done)?;
        if read == 0 {
            break;
        }
        to.write_at(buffer.get(..read).unwrap_or_default(), to_at + done)?;
        done += read as u64;
    }
    Ok(())
}

/// Copies a stretch to a place behind its own, descending.
pub(in crate::mbox) fn copy_up(file: &FileHandle, at: u64, to_at: u64, len: u64) -> mailfs::Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
    let mut left = len;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(COPY_LEN).min(COPY_LEN);
        left -= want as u64;
        let piece = buffer.get_mut(..want).unwrap_or_default();
        let read = file.read_at(piece, at + left)?;
        file.write_at(piece.get(..read).unwrap_or_default(), to_at + left)?;
    }
    Ok(())
}
