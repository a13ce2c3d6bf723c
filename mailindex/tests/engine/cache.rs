//! The cache: what is put in comes out, for another process too; damage costs nothing but the values.

use std::{path::Path, sync::Arc, time::Duration};

use crate::common::*;
use mailfs::{FileSystem, FileSystemExt, OpenMode, RealDisk, sim::SimDisk};
use mailindex::{
    cache::{Decision, Fields, RawCacheHeader},
    engine::{CacheValues, Env, MailboxIndex},
};

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

/// The file's header and fields as they stand on disk.
fn on_disk(fs: &dyn FileSystem, dir: &Path) -> (RawCacheHeader, Fields) {
    let bytes = fs.read_all(&dir.join("dovecot.index.cache"), 1 << 30).unwrap();
    let header = RawCacheHeader::read(&mut &bytes[..]).unwrap();
    let fields = Fields::read(&mut &bytes[..], &header).unwrap();
    (header, fields)
}

fn decision(fs: &dyn FileSystem, dir: &Path, field: &str) -> Decision {
    let (_, fields) = on_disk(fs, dir);
    fields.get(fields.find(field.as_bytes()).unwrap()).unwrap().decision
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Four hundred messages of the first day, and ten of each of the nine after it.
fn aged(fs: &Arc<dyn FileSystem>, dir: &Path) -> Arc<MailboxIndex> {
    fs.create_dir(dir, 0o700).unwrap();
    let index = create(&Env::new(fs.clone(), manual()), dir);
    append_varied(&index, 400);
    for _ in 0..9 {
        fs.sleep(DAY);
        append_varied(&index, 10);
    }
    index
}

/// Reads one field of one message, at a command's end.
fn ask(index: &Arc<MailboxIndex>, n: u32, field: &str) -> Option<Vec<u8>> {
    let state = index.refresh().unwrap();
    let found = index.cache_reader(&state, &[field]).read(&state.record_of(uid(n)).unwrap());
    let value = found.get(field).map(<[u8]>::to_vec);
    index.flush_fills().unwrap();
    value
}

fn purge_after_expunging(index: &Arc<MailboxIndex>, gone: impl Iterator<Item = u32>) {
    expunge(index, &set(&gone.collect::<Vec<_>>())).unwrap();
    index.env().drain();
}

#[test]
fn what_is_asked_for_of_old_mail_is_kept_for_good() {
    let (fs, dir) = (SimDisk::new().as_file_system(), Path::new("/box"));
    let index = aged(&fs, dir);
    assert!(ask(&index, 470, "hdr.subject").is_some());
    assert_eq!(decision(&*fs, dir, "hdr.subject"), Decision::TEMP, "it is of this week");
    let used = |field: &str| {
        let (_, fields) = on_disk(&*fs, dir);
        fields.get(fields.find(field.as_bytes()).unwrap()).unwrap().last_used
    };
    assert!(used("hdr.subject") >= used("date.received") + 8 * 24 * 3600, "and noted as used today");
    let before = used("hdr.subject");
    fs.sleep(DAY / 2);
    assert!(ask(&index, 1, "hdr.subject").is_some());
    assert_eq!(decision(&*fs, dir, "hdr.subject"), Decision::YES);
    assert_eq!(decision(&*fs, dir, "size.virtual"), Decision::TEMP);
    let noted = used("hdr.subject");
    assert!(noted > before);
    fs.sleep(DAY / 2);
    ask(&index, 2, "hdr.subject");
    assert_eq!(used("hdr.subject"), noted, "once a day is enough");
}

#[test]
fn a_purge_drops_what_nobody_asks_for() {
    let (fs, dir) = (SimDisk::new().as_file_system(), Path::new("/box"));
    let index = aged(&fs, dir);
    ask(&index, 2, "size.virtual");
    let seq = on_disk(&*fs, dir).0.file_seq;
    purge_after_expunging(&index, (1..400).filter(|n| n % 2 == 1));
    assert_ne!(on_disk(&*fs, dir).0.file_seq, seq, "a purge was due");
    assert!(ask(&index, 2, "size.virtual").is_some(), "asked for of old mail before");
    assert_eq!(ask(&index, 2, "hdr.subject"), None, "kept for a week only");
    assert!(ask(&index, 480, "hdr.subject").is_some());
    check_varied(&index, "after a purge");
    // A month later, with mail of today: what is unused is not kept for good any more; after two, not at all.
    for (days, expected) in [(31, Decision::TEMP), (31, Decision::NO)] {
        for _ in 0..days {
            fs.sleep(DAY);
        }
        append_varied(&index, 300);
        let newest = index.state().next_uid().value();
        purge_after_expunging(&index, newest - 300..newest - 100);
        assert_eq!(decision(&*fs, dir, "size.virtual"), expected, "after {days} days more");
    }
    assert_eq!(ask(&index, index.state().next_uid().value() - 1, "size.virtual"), None);
}

#[test]
fn expunged_records_are_counted_as_dovecot_counts_them() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        append_varied(&index, 30);
        save(&index, "not cached").unwrap();
        expunge(&index, &set(&[3, 4, 31])).unwrap();
        let (header, _) = on_disk(&*fs, dir);
        assert_eq!((header.record_count.get(), header.deleted_record_count.get()), (28, 2));
        index.env().drain();
        assert_eq!(on_disk(&*fs, dir).0.file_seq, header.file_seq, "too small to be purged");
    });
}

/// A file with five blocks of fields is rewritten, however small: the first, one for `hdr.x-mine`, and these.
#[test]
fn many_blocks_of_fields_are_made_one() {
    on_both(|fs, dir| {
        let index = create(&Env::new(fs.clone(), manual()), dir);
        let n = append_cached(&index);
        for field in ["hdr.x-a", "hdr.x-b", "hdr.x-c"] {
            assert!(!index.purge_cache_if_due().unwrap(), "before {field}");
            let mut values = CacheValues::default();
            values.put(field, Vec::new());
            index.queue_fill(uid(n), values);
            index.flush_fills().unwrap();
        }
        assert!(index.purge_cache_if_due().unwrap());
        assert!(!index.purge_cache_if_due().unwrap());
        assert_eq!(get(&index, n, "hdr.x-c"), Some(Vec::new()));
        assert_eq!(get(&index, n, "size.virtual").unwrap(), u64::from(n).to_le_bytes());
    });
}
