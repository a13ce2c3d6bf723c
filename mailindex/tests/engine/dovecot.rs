//! A real Dovecot reads what we write, and we what it writes, in turns on one sdbox mailbox, with tiny logs so that both
//! meet snapshots and rotations all the time. Its log must stay empty.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use crate::common::*;
use mailfs::{RealDisk, sim::SimDisk};
use mailindex::{
    engine::{CacheValues, Env, EnvOptions, MailboxIndex, RebuildMessage, rebuild, recover},
    log::{RawLogHeader, Transaction, complete_end},
    state::RecordFlags,
};
use mailtypes::{Flag, Flags, ModSeq};

/// Whom Dovecot runs as when the tests run as root, whom it refuses.
const MAIL_UID: u32 = 1234;

struct Dovecot {
    home: tempfile::TempDir,
    config: PathBuf,
}

impl Dovecot {
    /// `None`, loudly, where there is none.
    fn new() -> Option<Self> {
        let found = Command::new("doveadm").arg("help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            eprintln!("SKIPPED: no dovecot");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        let probe = fs::metadata(home.path()).unwrap();
        let (uid, gid) = {
            use std::os::unix::fs::MetadataExt;
            if probe.uid() == 0 { (MAIL_UID, MAIL_UID) } else { (probe.uid(), probe.gid()) }
        };
        let config = home.path().join("dovecot.conf");
        let text = format!(
            "mail_location = sdbox:{path}/sdbox\nlog_path = {path}/log\nmail_uid = {uid}\nmail_gid = {gid}\n\
             first_valid_uid = 1\nssl = no\n"
        );
        fs::write(&config, text).unwrap();
        Some(Self { home, config })
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        self.home.path().join("sdbox/mailboxes").join(name).join("dbox-Mails")
    }

    /// Gives everything to the user as whom Dovecot runs.
    fn give(&self) {
        use std::os::unix::fs::MetadataExt;
        if fs::metadata(&self.config).unwrap().uid() != 0 {
            return;
        }
        let mut paths = vec![self.home.path().to_owned()];
        while let Some(path) = paths.pop() {
            if path != self.config {
                chown(&path, Some(MAIL_UID), Some(MAIL_UID)).unwrap();
            }
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    fn run(&self, arguments: &[&str], input: &str) -> String {
        self.give();
        fs::set_permissions(&self.config, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut child = Command::new("doveadm")
            .arg("-c")
            .arg(&self.config)
            .args(arguments)
            .env("HOME", self.home.path())
            .env("USER", "someone")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "doveadm {arguments:?}: {errors}");
        assert_eq!(errors, "", "doveadm {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Flags and mod-sequence of each message, as Dovecot sees them.
    fn list(&self, name: &str) -> BTreeMap<u32, (Flags, u64)> {
        let text = self.run(&["fetch", "uid flags modseq", "mailbox", name, "all"], "");
        let (mut messages, mut uid, mut flags) = (BTreeMap::new(), 0, Flags::NONE);
        for line in text.lines().map(|line| line.trim_matches('\x0c')) {
            match line.split_once(": ") {
                Some(("uid", n)) => uid = n.parse().unwrap(),
                Some(("flags", names)) => {
                    flags = names.split(' ').filter_map(|name| Flag::from_name(name.as_bytes())).collect();
                }
                Some(("modseq", n)) => drop(messages.insert(uid, (flags, n.parse().unwrap()))),
                _ if line == "flags:" => flags = Flags::NONE,
                _ => {}
            }
        }
        messages
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

fn ours(index: &Arc<MailboxIndex>) -> BTreeMap<u32, (Flags, u64)> {
    let state = index.refresh().unwrap();
    let row = |r: mailindex::state::RecordRef<'_>| (r.uid().value(), (r.flags(), ModSeq::value(r.modseq())));
    state.records_from(0).map(row).collect()
}

/// One message as sdbox keeps it (`docs/formats/dbox.md`).
fn dbox(n: u32) -> String {
    let body = format!("Subject: message {n}\n\nbody\n");
    let virtual_size = body.len() + body.matches('\n').count();
    format!(
        "2 M1e C6b0277ab\n\x01\x02N          {:016X}\n{body}\n\x01\x03\nR6b0277ab\nV{virtual_size:x}\nG{n:032x}\n\n",
        body.len()
    )
}

#[test]
fn turn_about() {
    let Some(dovecot) = Dovecot::new() else { return };
    let dir = dovecot.mailbox("Turn");
    fs::create_dir_all(&dir).unwrap();
    let options = EnvOptions { rotate_len_max: 1500, snapshot_log_len_min: 600, ..manual() };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    let index = create(&env, &dir);
    // So that both keep mod-sequences for each message from the start.
    finish(enqueue(&index, |at| {
        at.transaction().enable_modseqs();
        Ok(())
    }))
    .unwrap();
    let mut random = 12345u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..120u32 {
        let uids: Vec<u32> = ours(&index).keys().copied().collect();
        let pick = uids.get(next(uids.len().max(1) as u64) as usize).copied().unwrap_or(1);
        let uid = pick.to_string();
        match next(8) {
            0 | 1 => drop(save(&index, &dbox(round)).unwrap()),
            2 => flag(&index, &set(&[pick]), Flag::ALL[next(5) as usize]).unwrap(),
            3 => expunge(&index, &set(&[pick])).unwrap(),
            4 | 5 => drop(dovecot.run(&["save", "-m", "Turn"], &format!("Subject: {round}\n\nbody\n"))),
            6 => drop(dovecot.run(&["flags", "add", "\\Flagged", "mailbox", "Turn", "uid", &uid], "")),
            _ => drop(dovecot.run(&["expunge", "mailbox", "Turn", "uid", &uid], "")),
        }
        env.drain();
        let theirs = dovecot.list("Turn");
        assert_eq!(ours(&index), theirs, "round {round}; {}", dovecot.log());
    }
    let at = index.log_position().unwrap();
    assert!(at.file_seq > 3, "few rotations: {at:?}");
    let status = dovecot.run(&["mailbox", "status", "uidnext highestmodseq uidvalidity", "Turn"], "");
    let state = index.refresh().unwrap();
    assert!(status.contains(&format!("uidnext={}", state.next_uid())), "{status}");
    assert!(status.contains(&format!("highestmodseq={}", state.highest_modseq())), "{status}");
    assert!(status.contains(&format!("uidvalidity={UID_VALIDITY}")), "{status}");
    for file in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2"] {
        if dir.join(file).exists() {
            assert!(!dovecot.run(&["dump", &dir.join(file).display().to_string()], "").contains("rror"));
        }
    }
    assert_eq!(dovecot.log(), "");
}

#[test]
fn a_rebuilt_index_is_taken() {
    let Some(dovecot) = Dovecot::new() else { return };
    let dir = dovecot.mailbox("Again");
    fs::create_dir_all(&dir).unwrap();
    let env = Env::new(Arc::new(RealDisk::new()), manual());
    let index = create(&env, &dir);
    for n in 1..=5 {
        save(&index, &dbox(n)).unwrap();
    }
    flag(&index, &set(&[2, 4]), Flag::Seen).unwrap();
    let keep = index.state();
    drop(index);
    // Bit rot in the middle of the log, where a transaction begins.
    let log = dir.join("dovecot.index.log");
    let mut bytes = fs::read(&log).unwrap();
    let start = RawLogHeader::parse(&bytes).unwrap().records_start();
    let (at, _) = complete_end(&bytes[start as usize..bytes.len() / 2], start);
    let at = at as usize;
    bytes[at..at + 4].copy_from_slice(&[0x80, 0x80, 0x80, 0x81]);
    fs::write(&log, &bytes).unwrap();
    let env = Env::new(Arc::new(RealDisk::new()), manual());
    let recovered = recover(&env, &dir, PREFIX, store(&env, &dir)).unwrap();
    println!("{:#?}", recovered.reports);
    assert!(recovered.needs_rebuild);
    let messages: Vec<_> = (1..=5).map(|n| RebuildMessage { uid: uid(n), flags: RecordFlags::NONE }).collect();
    rebuild(&env, &dir, PREFIX, &messages, Some(&keep), Transaction::new()).unwrap();
    let index = open(&env, &dir).unwrap();
    assert_eq!(index.state().seen_count(), 2);
    let theirs = dovecot.list("Again");
    assert_eq!(theirs.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(theirs[&2].0.contains(Flag::Seen));
    assert_eq!(save(&index, &dbox(6)).unwrap(), 6);
    assert_eq!(dovecot.list("Again").len(), 6);
    assert_eq!(dovecot.log(), "");
}

/// What a power cut leaves, put right by us, is opened by Dovecot without a word.
#[test]
fn recovered_states_are_opened() {
    let Some(dovecot) = Dovecot::new() else { return };
    let dir = Path::new("/box");
    for k in (3..60).step_by(8) {
        let disk = SimDisk::new();
        let fs = disk.as_file_system();
        fs.create_dir(dir, 0o700).unwrap();
        let env = Env::new(fs, EnvOptions { rotate_len_max: 700, snapshot_log_len_min: 300, ..manual() });
        let index = create(&env, dir);
        disk.sync_all();
        disk.crash_after(k);
        let mut saved = Vec::new();
        for n in 1..20 {
            if let Ok(uid) = save(&index, &dbox(n)) {
                saved.push(uid);
            }
            env.drain();
        }
        drop(index);
        let left = disk.crash(mailfs::sim::CrashChoice::Random(k));
        let fs = left.as_file_system();
        let env = Env::new(Arc::clone(&fs), manual());
        let recovered = recover(&env, dir, PREFIX, store(&env, dir)).unwrap();
        assert!(!recovered.needs_rebuild, "{:?}", recovered.reports);
        let name = format!("Crash{k}");
        let real = dovecot.mailbox(&name);
        fs::create_dir_all(&real).unwrap();
        for entry in fs.read_dir(dir).unwrap() {
            let bytes = mailfs::FileSystemExt::read_all(&*fs, &dir.join(&entry.name), 1 << 20).unwrap();
            fs::write(real.join(entry.name), bytes).unwrap();
        }
        let theirs = dovecot.list(&name);
        for uid in &saved {
            assert!(theirs.contains_key(uid), "{uid} is lost at {k}");
        }
        assert_eq!(dovecot.log(), "", "at {k}");
    }
}

/// Dovecot answers from our cache records, and we find its own.
#[test]
fn the_cache_is_shared() {
    let Some(dovecot) = Dovecot::new() else { return };
    let dir = dovecot.mailbox("Cached");
    fs::create_dir_all(&dir).unwrap();
    let env = Env::new(Arc::new(RealDisk::new()), manual());
    let index = create(&env, &dir);
    save(&index, &dbox(1)).unwrap();
    let mut values = CacheValues::default();
    // Not what the message says, so that it can be told where the answer came from.
    values.put("hdr.subject", b"\x01\0\0\0\0\0\0\0Subject: from the cache\n".to_vec());
    values.put("hdr.x-other", Vec::new());
    index.queue_fill(uid(1), values);
    index.flush_fills().unwrap();
    assert!(dovecot.run(&["fetch", "hdr.subject", "mailbox", "Cached", "all"], "").contains("from the cache"));
    dovecot.run(&["save", "-m", "Cached"], "Subject: theirs\nFrom: x@example.org\n\nbody\n");
    dovecot.run(&["fetch", "hdr.subject hdr.from size.virtual", "mailbox", "Cached", "all"], "");
    let state = index.refresh().unwrap();
    let mut reader = index.cache_reader(&state, &["hdr.subject", "hdr.from"]);
    let theirs = reader.read(&state.record_of(uid(2)).unwrap());
    assert!(theirs.get("hdr.subject").unwrap().ends_with(b"Subject: theirs\n"));
    assert_eq!(dovecot.log(), "");
}
