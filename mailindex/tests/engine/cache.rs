//! The cache: what is put in comes out, for another process too; damage costs nothing but the values.

use std::{path::Path, sync::Arc};

use crate::common::*;
use mailfs::{FileSystem, FileSystemExt, OpenMode, RealDisk, sim::SimDisk};
use mailindex::engine::{CacheValues, Env, MailboxIndex};

fn on_both(test: impl Fn(Arc<dyn FileSystem>, &Path)) {
    let sim = SimDisk::new().as_file_system();
    let dir = Path::new("/box");
    sim.create_dir(dir, 0o700).unwrap();
    test(sim, dir);
    let real = tempfile::tempdir().unwrap();
    test(Arc::new(RealDisk::new()), real.path());
}

fn values(n: u32) -> CacheValues {
    let mut values = CacheValues::default();
    values.put("size.virtual", u64::from(n).to_le_bytes());
    values.put("hdr.subject", format!("\x01\0\0\0\0\0\0\0Subject: {n}\n").into_bytes());
    values.put("hdr.x-mine", Vec::new());
    values.put("imap.envelope", b"never".to_vec());
    values.put("no.such.field", b"never".to_vec());
    values
}

fn append_cached(index: &Arc<MailboxIndex>) -> u32 {
    let n = index.state().next_uid().value();
    finish(enqueue(index, move |at| {
        let uid = at.next_uid()?;
        at.transaction().append(uid, mailtypes::Flags::NONE);
        at.cache(uid, values(n));
        Ok(())
    }))
    .unwrap();
    n
}

fn get(index: &Arc<MailboxIndex>, n: u32, field: &str) -> Option<Vec<u8>> {
    let state = index.refresh().unwrap();
    let mut reader = index.cache_reader(&state, &["size.virtual", field]);
    let record = state.record_of(uid(n)).unwrap();
    reader.read(&record).get(field).map(<[u8]>::to_vec)
}

#[test]
fn values_come_out_as_they_were_put_in() {
    on_both(|fs, dir| {
        let (a, b) = (Env::new(fs.clone(), manual()), Env::new(fs, manual()));
        let (first, second) = (create(&a, dir), open(&b, dir).unwrap());
        for _ in 0..50 {
            append_cached(&first);
            append_cached(&{
                second.refresh().unwrap();
                second.clone()
            });
            first.refresh().unwrap();
        }
        for index in [&first, &second] {
            let state = index.refresh().unwrap();
            let mut reader =
                index.cache_reader(&state, &["hdr.Subject", "size.virtual", "hdr.X-Mine", "imap.envelope"]);
            for record in state.records_from(0) {
                let n = record.uid().value();
                let found = reader.read(&record);
                assert_eq!(found.get("size.virtual").unwrap(), u64::from(n).to_le_bytes(), "of {n}");
                assert!(found.get("hdr.subject").unwrap().ends_with(format!("Subject: {n}\n").as_bytes()));
                assert_eq!(found.get("hdr.x-mine"), Some(&[][..]), "known to be absent");
                assert_eq!(found.get("imap.envelope"), None, "forbidden by its decision");
            }
        }
    });
}

#[test]
fn fills_are_written_at_the_end_of_a_command() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        let n = append_cached(&index);
        let bare = save(&index, "no values").unwrap();
        let mut more = CacheValues::default();
        more.put("imap.body", b"text".to_vec());
        for uid_n in [n, bare] {
            index.queue_fill(uid(uid_n), more.clone());
        }
        index.queue_fill(uid(99), more);
        assert_eq!(get(&index, n, "imap.body"), None);
        index.flush_fills().unwrap();
        let other = open(&Env::new(fs, manual()), dir).unwrap();
        for index in [&index, &other] {
            assert_eq!(get(index, n, "imap.body").unwrap(), b"text");
            assert_eq!(get(index, bare, "imap.body").unwrap(), b"text");
            assert!(get(index, n, "hdr.subject").is_some(), "the older record is still found");
        }
    });
}

#[test]
fn a_damaged_or_shortened_file_is_replaced() {
    on_both(|fs, dir| {
        for harm in ["garbage", "short", "gone"] {
            let index = create(&Env::new(fs.clone(), manual()), dir);
            let n = append_cached(&index);
            drop(index);
            let path = dir.join("dovecot.index.cache");
            let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
            let len = file.len().unwrap();
            match harm {
                "garbage" => file.write_at(&[0xff; 64], len - 64).unwrap(),
                "short" => file.set_len(len - 100).unwrap(),
                _ => fs.unlink(&path).unwrap(),
            }
            let index = open(&Env::new(fs.clone(), manual()), dir).unwrap();
            assert_eq!(get(&index, n, "hdr.subject"), None, "{harm}");
            let next = append_cached(&index);
            assert_eq!(get(&index, next, "size.virtual").unwrap(), u64::from(next).to_le_bytes(), "{harm}");
            assert_eq!(get(&index, n, "size.virtual"), None, "{harm}: values of another message");
        }
        assert!(fs.read_all(&dir.join("dovecot.index.cache"), 1 << 20).unwrap().len() > 32);
    });
}

#[test]
fn a_purge_keeps_what_lives() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        for _ in 0..800 {
            append_cached(&index);
        }
        assert!(!index.purge_cache_if_due().unwrap(), "all of it lives");
        let before = fs.metadata(&dir.join("dovecot.index.cache")).unwrap().unwrap().len;
        let gone: Vec<u32> = (1..=800).filter(|n| n % 3 == 0).collect();
        expunge(&index, &set(&gone)).unwrap();
        assert!(index.purge_cache_if_due().unwrap());
        assert!(!index.purge_cache_if_due().unwrap());
        let after = fs.metadata(&dir.join("dovecot.index.cache")).unwrap().unwrap().len;
        assert!(after < before * 3 / 4, "{before} {after}");
        let other = open(&Env::new(fs, manual()), dir).unwrap();
        for index in [&index, &other] {
            let state = index.refresh().unwrap();
            let mut reader = index.cache_reader(&state, &["size.virtual", "hdr.subject"]);
            for record in state.records_from(0) {
                let n = record.uid().value();
                let found = reader.read(&record);
                assert_eq!(found.get("size.virtual").unwrap(), u64::from(n).to_le_bytes());
                assert!(found.get("hdr.subject").unwrap().ends_with(format!("Subject: {n}\n").as_bytes()));
            }
        }
        let next = append_cached(&index);
        assert_eq!(get(&index, next, "size.virtual").unwrap(), u64::from(next).to_le_bytes());
    });
}

/// Values of many lengths, so that sectors end everywhere in a record.
fn varied(n: u32) -> CacheValues {
    let mut values = CacheValues::default();
    values.put("hdr.subject", format!("\x01\0\0\0\0\0\0\0Subject: {}\n", "x".repeat(n as usize % 97)).into_bytes());
    values.put("size.virtual", (u64::from(n) + 1).to_le_bytes());
    values.put("imap.bodystructure", format!("body {} {n}", "y".repeat(n as usize % 61 * 5)).into_bytes());
    values.put("date.received", (1_400_000_000 + n).to_le_bytes());
    values
}

const VARIED: [&str; 4] = ["hdr.subject", "size.virtual", "imap.bodystructure", "date.received"];

fn append_varied(index: &Arc<MailboxIndex>, count: u32) {
    let start = index.state().next_uid().value();
    let cached = move |at: &mut mailindex::engine::CommitPoint<'_>| {
        for n in start..start + count {
            let uid = at.next_uid()?;
            at.transaction().append(uid, mailtypes::Flags::NONE);
            at.cache(uid, varied(n));
        }
        Ok(())
    };
    finish(enqueue(index, cached)).unwrap();
}

/// How many values are there; all that are must be right.
fn check_varied(index: &Arc<MailboxIndex>, what: &str) -> usize {
    let state = index.refresh().unwrap();
    let mut reader = index.cache_reader(&state, &VARIED);
    let mut there = 0;
    for record in state.records_from(0) {
        let found = reader.read(&record);
        for value in varied(record.uid().value()).iter() {
            match found.get(&value.field) {
                None => {}
                Some(data) if data == value.data => there += 1,
                Some(data) => panic!("{what}: {} {} is {data:?}", record.uid(), value.field),
            }
        }
    }
    there
}

/// The power went before the cache's data was on disk: the file has its length, and zeros in it.
#[test]
fn lost_sectors_are_noticed() {
    const COUNT: u32 = 150;
    let disk = SimDisk::new();
    let fs = disk.as_file_system();
    let dir = Path::new("/box");
    fs.create_dir(dir, 0o700).unwrap();
    let env = Env::new(fs.clone(), manual());
    append_varied(&create(&env, dir), COUNT);
    let cache = dir.join("dovecot.index.cache");
    let len = fs.metadata(&cache).unwrap().unwrap().len;
    let whole = COUNT as usize * VARIED.len();
    let mut noticed = 0;
    for start in (0..len).step_by(512) {
        for end in [len, (start + 512).min(len)] {
            let fs = disk.fork().as_file_system();
            let zeros = vec![0; (end - start) as usize];
            fs.open(&cache, OpenMode::ReadWrite).unwrap().write_at(&zeros, start).unwrap();
            let what = format!("zeros from {start} to {end} of {len}");
            // A writer that comes first must not make it worse than a reader does.
            for writes in [false, true] {
                let index = open(&Env::new(Arc::clone(&fs), manual()), dir).unwrap();
                if writes {
                    append_varied(&index, 1);
                }
                noticed += usize::from(check_varied(&index, &what) < whole);
                append_varied(&index, 1);
                check_varied(&index, &what);
            }
        }
    }
    assert!(noticed as u64 >= len / 512, "{noticed} of {}", len / 512);
    assert!(check_varied(&open(&Env::new(fs, manual()), dir).unwrap(), "whole") + 3 >= whole);
}
