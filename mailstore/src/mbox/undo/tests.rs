use mailfs::{
    FileSystemExt,
    sim::{Acks, CrashChoice, CrashRunner, SimDisk},
};

use super::*;

fn start(content: &[u8]) -> (Arc<dyn FileSystem>, FileHandle, Undo) {
    let fs = SimDisk::new().as_file_system();
    fs.write_atomic(Path::new("/mbox"), content, 0o600, false).unwrap();
    let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite).unwrap();
    let undo = Undo::new(&fs, Path::new("/"), true);
    (fs, file, undo)
}

fn content(fs: &Arc<dyn FileSystem>) -> Vec<u8> {
    fs.read_all(Path::new("/mbox"), 1 << 20).unwrap()
}

#[test]
fn a_change_left_half_done_is_taken_back() {
    let (fs, file, undo) = start(b"0123456789");
    let change = Change { old_len: 10, new_len: 13, ranges: vec![2..4, 7..10], ..Change::default() };
    undo.prepare(&file, &change).unwrap();
    file.write_at(b"xx", 2).unwrap();
    file.write_at(b"yyyyyy", 7).unwrap();
    assert!(undo.is_pending().unwrap());
    assert!(undo.recover(&file, |_| None).unwrap());
    assert_eq!(content(&fs), b"0123456789");
    assert!(!undo.is_pending().unwrap() && !undo.recover(&file, |_| Some(Witness::HasNot)).unwrap());
}

#[test]
fn what_came_behind_it_is_kept() {
    for (new_len, then) in [(6, &b"ab56786789"[..]), (13, b"01234567yyyyy")] {
        let (fs, file, undo) = start(b"0123456789");
        let change = Change { old_len: 10, new_len, ranges: vec![0..4, 4..10], ..Change::default() };
        undo.prepare(&file, &change).unwrap();
        file.write_at(then, 0).unwrap();
        let len = file.len().unwrap();
        file.write_at(b"more", len).unwrap();
        assert!(undo.recover(&file, |_| Some(Witness::HasNot)).unwrap());
        assert_eq!(content(&fs), b"0123456789more", "{new_len}");
    }
}

#[test]
fn what_is_finished_or_in_force_stays() {
    let (fs, file, undo) = start(b"0123456789");
    undo.prepare(&file, &Change { old_len: 10, new_len: 6, ranges: vec![0..4, 4..10], ..Change::default() }).unwrap();
    file.write_at(b"456789", 0).unwrap();
    file.set_len(6).unwrap();
    assert!(!undo.recover(&file, |_| Some(Witness::HasNot)).unwrap());
    assert_eq!(content(&fs), b"456789");
    let change = Change { old_len: 6, new_len: 8, ranges: vec![], in_force_with: Uid::new(4), ..Change::default() };
    undo.prepare(&file, &change).unwrap();
    assert!(!undo.recover(&file, |_| None).unwrap() && undo.is_pending().unwrap());
    for in_force in [true, false] {
        let change = Change { old_len: 6, new_len: 8, ranges: vec![], in_force_with: Uid::new(4), ..Change::default() };
        undo.prepare(&file, &change).unwrap();
        file.write_at(b"ab", 6).unwrap();
        let witness = if in_force { Witness::Has } else { Witness::HasNot };
        let undone = undo.recover(&file, |append| Some(witness).filter(|_| append.first.value() == 4));
        assert_eq!(undone.unwrap(), !in_force);
        assert_eq!(content(&fs), if in_force { &b"456789ab"[..] } else { b"456789" });
        file.set_len(6).unwrap();
    }
}

#[test]
fn one_that_is_not_whole_changes_nothing() {
    let (fs, file, undo) = start(b"0123456789");
    let change = Change { old_len: 10, new_len: 10, ranges: vec![0..4, 4..10], ..Change::default() };
    undo.prepare(&file, &change).unwrap();
    let path = Path::new("/").join(UNDO_FILE);
    let whole = fs.read_all(&path, 1 << 20).unwrap();
    file.write_at(b"abc", 0).unwrap();
    for len in 0..whole.len() {
        fs.write_atomic(&path, &whole[..len], 0o600, false).unwrap();
        assert!(!undo.recover(&file, |_| Some(Witness::HasNot)).unwrap());
    }
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        fs.write_atomic(&path, &bad, 0o600, false).unwrap();
        assert!(!undo.recover(&file, |_| Some(Witness::HasNot)).unwrap(), "{at}");
    }
    assert_eq!(content(&fs), b"abc3456789");
    fs.write_atomic(&path, &whole, 0o600, false).unwrap();
    assert!(undo.recover(&file, |_| Some(Witness::HasNot)).unwrap());
    assert_eq!(content(&fs), b"0123456789");
}

/// An append of 5 messages' worth, and one of a few bytes, before which others append less or more than that.
#[test]
fn mail_that_came_before_anything_was_written_is_kept() {
    for due in [&b"From us a\nX-UID: 4\n\nb\n\n"[..], b"ab"] {
        for theirs in [&b"From them x\n\ny\n\n"[..], b"x", &[b'F'; 99]] {
            let (fs, file, undo) = start(b"0123456789");
            let change = Change { old_len: 10, new_len: 10 + due.len() as u64, due: due.to_vec(), ..Change::default() };
            undo.prepare(&file, &change).unwrap();
            file.write_at(theirs, 10).unwrap();
            undo.recover(&file, |_| None).unwrap();
            assert_eq!(content(&fs), [b"0123456789", theirs].concat());
        }
    }
}

#[test]
fn mail_that_came_behind_what_was_begun_is_kept() {
    let due = b"From us a\nX-UID: 4\n\nb\n\n";
    let torn = [&due[..9], &[0; 12], &due[21..]].concat();
    let zeros = vec![0; due.len()];
    for written in [&due[..], &zeros, &torn] {
        for theirs in [&b""[..], b"From them x\n\ny\n\n", &[b'F'; 99]] {
            let (fs, file, undo) = start(b"0123456789");
            let change = Change { old_len: 10, new_len: 10 + due.len() as u64, due: due.to_vec(), ..Change::default() };
            undo.prepare(&file, &change).unwrap();
            file.write_at(&[written, theirs].concat(), 10).unwrap();
            undo.recover(&file, |_| None).unwrap();
            assert_eq!(content(&fs), [b"0123456789", theirs].concat());
            assert!(!undo.is_pending().unwrap());
        }
    }
}

/// Cut at each call, with more mail before the next attempt.
#[test]
fn taking_back_that_is_stopped_is_gone_on_with() {
    for theirs in [b"them1".to_vec(), vec![b'F'; 99]] {
        let expect = [&b"0x23456789"[..], &theirs].concat();
        let report = CrashRunner { choices: CrashChoice::list(8), ..CrashRunner::default() }.run(
            |disk| {
                let fs = disk.as_file_system();
                fs.write_atomic(Path::new("/mbox"), b"0x23456789", 0o600, true).unwrap();
                let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite).unwrap();
                let change = Change {
                    old_len: 10,
                    new_len: 17,
                    ranges: std::iter::once(1..2).collect(),
                    due: b"789ours".to_vec(),
                    in_force_with: None,
                };
                Undo::new(&fs, Path::new("/"), true).prepare(&file, &change).unwrap();
                file.write_at(b"1", 1).unwrap();
                file.write_at(&[&b"789ours"[..], &theirs].concat(), 10).unwrap();
            },
            |fs, _: &Acks<()>| {
                let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite)?;
                Undo::new(&fs, Path::new("/"), true).recover(&file, |_| None)?;
                Ok(())
            },
            |disk, _| {
                let fs = disk.as_file_system();
                let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite)?;
                let undo = Undo::new(&fs, Path::new("/"), true);
                let len = file.len()?;
                file.write_at(b"later", len)?;
                undo.recover(&file, |_| None)?;
                let is_right = content(&fs) == [&expect[..], b"later"].concat() && !undo.is_pending()?;
                if is_right { Ok(()) } else { Err(String::from_utf8_lossy(&content(&fs)).into()) }
            },
        );
        assert!(report.is_sound(), "{report}");
    }
}

/// Two appends of one commit, and the power cut while the undo file of both is made.
#[test]
fn a_change_that_goes_on_is_taken_back_at_every_moment() {
    let change = |new_len| Change { old_len: 10, new_len, due: b"first".to_vec(), ..Change::default() };
    let report = CrashRunner { choices: CrashChoice::list(8), ..CrashRunner::default() }.run(
        |disk| disk.as_file_system().write_atomic(Path::new("/mbox"), b"0123456789", 0o600, true).unwrap(),
        |fs, _: &Acks<()>| {
            let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite)?;
            let undo = Undo::new(&fs, Path::new("/"), true);
            undo.prepare(&file, &change(15))?;
            file.set_len(15)?;
            file.write_at(b"first", 10)?;
            undo.extend(&file, &change(21))?;
            file.set_len(21)?;
            file.write_at(b"second", 15)?;
            Ok(())
        },
        |disk, _| {
            let fs = disk.as_file_system();
            let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite)?;
            Undo::new(&fs, Path::new("/"), true).recover(&file, |_| None)?;
            if content(&fs) == b"0123456789" { Ok(()) } else { Err("not taken back".into()) }
        },
    );
    assert!(report.is_sound(), "{report}");
}

#[test]
fn an_append_that_no_index_tells_of_stays_if_it_is_whole() {
    let whole = b"From a@b Thu Nov 29 22:33:52 2001\nX-UID: 4\nContent-Length: 2\n\nx\n\n";
    let other = String::from_utf8(whole.to_vec()).unwrap().replace("X-UID: 4", "X-UID: 3").into_bytes();
    let torn = [&whole[..whole.len() - 3], &[0; 3]].concat();
    for (written, stays) in [(&whole[..], true), (&other, false), (&torn, false), (&whole[..whole.len() - 2], false)] {
        let before = b"From a@b Thu Nov 29 22:33:52 2001\n\nx\n\n";
        let (fs, file, undo) = start(before);
        let old_len = before.len() as u64;
        let new_len = old_len + whole.len() as u64;
        let due = written[..9].to_vec();
        let change = Change { old_len, new_len, due, in_force_with: Uid::new(4), ranges: vec![] };
        undo.prepare(&file, &change).unwrap();
        file.write_at(written, old_len).unwrap();
        undo.recover(&file, |_| Some(Witness::Silent)).unwrap();
        let expect = [&before[..], if stays { written } else { b"" }].concat();
        assert_eq!(String::from_utf8_lossy(&content(&fs)), String::from_utf8_lossy(&expect));
    }
}

#[test]
fn an_empty_place_goes_also_where_others_have_given_the_uid() {
    for (written, stays) in [(&[0; 6][..], false), (b"ours\0\n", true)] {
        let (fs, file, undo) = start(b"0123456789");
        let change = Change {
            old_len: 10,
            new_len: 16,
            ranges: std::iter::once(2..4).collect(),
            due: b"ours".to_vec(),
            in_force_with: Uid::new(4),
        };
        undo.prepare(&file, &change).unwrap();
        file.write_at(&[written, b"theirs"].concat(), 10).unwrap();
        // The highest UID is theirs by now.
        file.write_at(b"xx", 2).unwrap();
        assert_eq!(undo.recover(&file, |_| Some(Witness::Has)).unwrap(), !stays);
        let kept = if stays { written } else { b"" };
        assert_eq!(content(&fs), [b"01xx456789", kept, b"theirs"].concat());
    }
}

#[test]
fn an_undo_file_whose_folder_gets_another_name_is_emptied() {
    let (fs, file, _) = start(b"0123456789");
    fs.create_dir(Path::new("/old"), 0o700).unwrap();
    let undo = Undo::new(&fs, Path::new("/old"), true);
    undo.prepare(
        &file,
        &Change { old_len: 10, new_len: 10, ranges: std::iter::once(0..4).collect(), ..Change::default() },
    )
    .unwrap();
    file.write_at(b"abcd", 0).unwrap();
    fs.rename(Path::new("/old"), Path::new("/new")).unwrap();
    undo.clear(true).unwrap();
    assert!(!Undo::new(&fs, Path::new("/new"), true).is_pending().unwrap());
}

#[test]
fn what_is_a_link_or_another_name_is_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(mailfs::RealDisk::new());
    let at = |name: &str| dir.path().join(name);
    for name in ["mbox", "precious"] {
        std::fs::write(at(name), b"0123456789").unwrap();
    }
    let file = fs.open(&at("mbox"), OpenMode::ReadWrite).unwrap();
    let links: [fn(&Path, &Path); 2] =
        [|to, link| std::os::unix::fs::symlink(to, link).unwrap(), |to, link| std::fs::hard_link(to, link).unwrap()];
    for make in links {
        let works: [fn(&Undo, &FileHandle); 3] = [
            |undo, file| assert!(!undo.recover(file, |_| Some(Witness::HasNot)).unwrap()),
            |undo, _| undo.clear(true).unwrap(),
            |undo, file| {
                let change =
                    Change { old_len: 10, new_len: 10, ranges: std::iter::once(0..4).collect(), ..Change::default() };
                undo.prepare(file, &change).unwrap();
                undo.clear(false).unwrap();
            },
        ];
        for work in works {
            make(&at("precious"), &at(UNDO_FILE));
            let undo = Undo::new(&fs, dir.path(), true);
            work(&undo, &file);
            assert_eq!(std::fs::read(at("precious")).unwrap(), b"0123456789");
            let _ = std::fs::remove_file(at(UNDO_FILE));
        }
    }
}
