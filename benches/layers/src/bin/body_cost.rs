//! What saving and reading bodies costs with LF or CRLF line ends on disk; run under `time` or `strace -c`:
//! `layers-body-cost FOLDER lf|crlf save|read|large`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::{error::Error, path::Path, sync::Arc, time::Instant};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    Batch, MailStorage, SaveMeta, Section, ViewAs,
    dbox::BodyLineEnds,
    mailtypes::{Flags, MailboxName},
    sdbox::{SdboxOptions, SdboxStorage},
};

/// Messages, and the length of each one's text; then the few large ones.
const SMALL: (usize, usize) = (5000, 20 << 10);
const BIG: (usize, usize) = (4, 5 << 20);
const LARGE_LEN: usize = 60 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, line_ends, what] = args.as_slice() else { return Err("FOLDER lf|crlf save|read|large".into()) };
    let line_ends = if line_ends == "crlf" { BodyLineEnds::CrLf } else { BodyLineEnds::Lf };
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() });
    let options = SdboxOptions { line_ends, ..SdboxOptions::default() };
    let storage = SdboxStorage::create(&env, Path::new(folder), options)?;
    let inbox = storage.mailbox(&MailboxName::inbox())?;
    let begun = Instant::now();
    let mut bytes = 0;
    match what.as_str() {
        "save" => {
            for (count, len) in [SMALL, BIG] {
                let message = message(len);
                for _ in 0..count / BIG.0 {
                    let mut batch = Batch::new();
                    for _ in 0..BIG.0 {
                        let mut save = inbox.begin_save(SaveMeta::default(), None)?;
                        message.chunks(64 << 10).try_for_each(|piece| save.write(piece))?;
                        bytes += message.len();
                        batch = batch.save(save.finish()?, Flags::NONE, Vec::new());
                    }
                    inbox.submit(batch)?.wait()?;
                }
            }
        }
        "large" => {
            let piece = message(64 << 10);
            let mut save = inbox.begin_save(SaveMeta::default(), None)?;
            while bytes < LARGE_LEN {
                save.write(&piece)?;
                bytes += piece.len();
            }
            inbox.submit(Batch::new().save(save.finish()?, Flags::NONE, Vec::new()))?.wait()?;
        }
        _ => {
            let view = inbox.view(&ViewAs::default())?;
            let mut buf = vec![0; 128 << 10];
            for uid in view.uids().iter() {
                let (mut body, mut offset) = (view.body(uid)?, 0);
                while offset < body.size() {
                    let read = body.read_at(Section::WHOLE, offset, &mut buf)?;
                    offset += read as u64;
                    bytes += read;
                    if read == 0 {
                        return Err("a body ends early".into());
                    }
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what} {line_ends:?}: {bytes} bytes in {seconds:.3} s");
    Ok(())
}

fn message(len: usize) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\nSubject: cost\r\n\r\n".to_vec();
    for n in 0.. {
        if message.len() >= len {
            break;
        }
        let line = "The quick brown fox jumps over the lazy dog, and again it does so in the evening.";
        message.extend_from_slice(line.get(..40 + n * 7 % 40).unwrap_or(line).as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}
