//! COMPRESS=DEFLATE: little that becomes much, and much that becomes nothing.

use std::io::{Read, Write};

use anyhow::ensure;
use flate2::{Compression, FlushCompress, read::DeflateDecoder};

use super::{
    Case, Scale, Victim,
    victim::{eve_raw, nothing, push},
};

pub(super) const CASES: &[Case] =
    &[Case { name: "compress-bombs", growth_max_mib: [96, 192], settings: &[], prepare: nothing, attack: bombs }];

const MIB: usize = 1024 * 1024;

/// A deflate stream of `head` and then `piece` over and over, ended by a sync flush.
fn deflated(head: &[u8], piece: &[u8], count: usize) -> anyhow::Result<Vec<u8>> {
    let mut compress = flate2::Compress::new(Compression::best(), false);
    let (mut out, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    for number in 0..=count {
        let (mut rest, flush) = match number {
            0 => (head, FlushCompress::None),
            _ => (piece, if number == count { FlushCompress::Sync } else { FlushCompress::None }),
        };
        loop {
            let (taken, made) = (compress.total_in(), compress.total_out());
            compress.compress(rest, &mut buffer, flush)?;
            let (taken, made) = ((compress.total_in() - taken) as usize, (compress.total_out() - made) as usize);
            out.extend_from_slice(&buffer[..made]);
            rest = &rest[taken..];
            if rest.is_empty() && made < buffer.len() {
                break;
            }
        }
    }
    Ok(out)
}

fn bombs(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let mib = scale.of(64, 1024);
    let zeros = deflated(b"", &vec![0; MIB], mib)?;
    let line = deflated(b"a SEARCH TEXT ", &vec![b'a'; MIB], mib)?;
    let literal = deflated(b"a APPEND INBOX {50000000+}\r\n", &vec![0; MIB], mib)?;
    let noops = deflated(b"", &b"a NOOP\r\n".repeat(MIB / 8), scale.of(4, 64))?;
    // A stored block of no bytes, as of a sync flush, over and over.
    let flushes = [0, 0, 0, 0xff, 0xff].repeat(scale.of(1, 10) * MIB / 5);
    let mut held = Vec::new();
    let clients = scale.of(2, 10);
    for _ in 0..clients {
        for bomb in [&zeros, &line, &literal, &noops, &flushes] {
            let mut stream = eve_raw(victim.imap(), &["SELECT INBOX", "COMPRESS DEFLATE"])?;
            push(&mut stream, bomb)?;
            held.push(stream);
        }
        victim.serve_once()?;
    }
    // Whoever sent nothing but empty flushes has done no harm, and is answered.
    let mut stream = eve_raw(victim.imap(), &["COMPRESS DEFLATE"])?;
    stream.write_all(&[0, 0, 0, 0xff, 0xff].repeat(1000))?;
    stream.write_all(&deflated(b"b NOOP\r\n", b"c LOGOUT\r\n", 1)?)?;
    let mut said = Vec::new();
    // The server may end the connection without ending the stream.
    let _ = DeflateDecoder::new(stream).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains("b OK") && said.contains("c OK"), "after empty flushes: {said:?}");
    Ok(format!(
        "{} sessions: {mib} MiB of zeros and of one line from {} KiB, a literal and {} MiB of NOOPs from {} KiB, {} MiB of empty blocks",
        held.len(),
        zeros.len() / 1024,
        scale.of(4, 64),
        noops.len() / 1024,
        flushes.len() / MIB
    ))
}
