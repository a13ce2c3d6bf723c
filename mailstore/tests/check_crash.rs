//! Power cuts and failing calls in the middle of repairs: whatever is left, the next repair makes of it what the first would have,
//! and no message is lost on the way.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and say what they went through")]

use std::{path::Path, sync::Arc, time::Duration};

use mailfs::{
    FileSystem, FileSystemExt,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Format, Store, StoreOptions,
    check::{CheckOptions, CheckReport, check_storage},
    maildir::MaildirLayout,
};
use mailtypes::{Flag, Keyword, UidSet};

const ROOT: &str = "/mail";
const MAILDIR: Format = Format::Maildir(MaildirLayout::PlusPlus);
const MESSAGES: usize = 6;

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

fn check(fs: &Arc<dyn FileSystem>, repair: bool) -> Result<CheckReport, BoxError> {
    let what = CheckOptions { repair, deep: true, ..CheckOptions::default() };
    let env = env(fs);
    let report = check_storage(&env, Path::new(ROOT), &StoreOptions::default(), &what, &mut |_| {})?;
    env.flush()?;
    Ok(report)
}

fn fill(fs: &Arc<dyn FileSystem>, format: Format) {
    let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
    let store = Store::create_in(&env(fs), ROOT, &options).unwrap();
    store.subscribe("Work").unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for n in 1..=MESSAGES {
        let text = format!("Subject: message {n}\r\n\r\n{}\r\n", "body ".repeat(n * 10));
        let keyword = Keyword::new(&format!("k{n}")).unwrap();
        inbox.append(Append::new(text.as_bytes()).flag(Flag::Flagged).keyword(keyword)).unwrap();
    }
    for uid in 1..=3 {
        let uid = mailtypes::Uid::new(uid).unwrap();
        inbox.view().unwrap().update_one(uid).add(Flag::Answered).commit().unwrap();
    }
    store.flush().unwrap();
}

fn read(fs: &Arc<dyn FileSystem>, path: &str) -> Vec<u8> {
    fs.read_all(Path::new(path), 1 << 20).unwrap()
}

fn write(fs: &Arc<dyn FileSystem>, path: &str, bytes: &[u8]) {
    fs.write_atomic(Path::new(path), bytes, 0o600, true).unwrap();
}

/// A log with damage in its midst, a message that is gone, one that was cut, one that nobody knows, a wrong size, and
/// subscriptions that nobody can read.
fn damaged_sdbox(disk: &SimDisk) {
    const MAILS: &str = "/mail/mailboxes/INBOX/dbox-Mails";
    let fs = disk.as_file_system();
    fill(&fs, Format::Sdbox);
    let file = |name: &str| format!("{MAILS}/{name}");
    let mut log = read(&fs, &file("dovecot.index.log"));
    let middle = log.windows(2).rposition(|two| two == b"k6").unwrap();
    let damaged = middle / 4 * 4 - 16;
    log[damaged..damaged + 8].fill(0xff);
    write(&fs, &file("dovecot.index.log"), &log);
    let whole = read(&fs, &file("u.4"));
    write(&fs, &file("u.4"), &whole[..whole.len() - 150]);
    write(&fs, &file("u.9"), &read(&fs, &file("u.1")));
    fs.unlink(Path::new(&file("u.3"))).unwrap();
    let mut size = read(&fs, &file("u.2"));
    let at = size.windows(2).rposition(|window| window == b"\nV").unwrap() + 2;
    size[at] = if size[at] == b'1' { b'2' } else { b'1' };
    write(&fs, &file("u.2"), &size);
    write(&fs, "/mail/subscriptions", b"V\t9\n\nWork\n");
    disk.sync_all();
}

/// A list of UIDs with a line that is none, a keyword with a bit flipped, a size that is another, and subscriptions that nobody can read.
fn damaged_maildir(disk: &SimDisk) {
    let fs = disk.as_file_system();
    fill(&fs, MAILDIR);
    let text = String::from_utf8(read(&fs, "/mail/dovecot-uidlist")).unwrap();
    let damaged: String =
        text.lines().map(|line| if line.starts_with("5 ") { "?\n".to_owned() } else { format!("{line}\n") }).collect();
    write(&fs, "/mail/dovecot-uidlist", damaged.as_bytes());
    let keywords = String::from_utf8(read(&fs, "/mail/dovecot-keywords")).unwrap();
    assert!(keywords.contains(" k2\n"), "{keywords}");
    write(&fs, "/mail/dovecot-keywords", keywords.replace(" k2\n", " c2\n").as_bytes());
    let mut names: Vec<_> = fs.read_dir(Path::new("/mail/cur")).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let short = format!("/mail/cur/{}", names[0].to_str().unwrap());
    let bytes = read(&fs, &short);
    write(&fs, &short, &bytes[..bytes.len() - 10]);
    write(&fs, "/mail/subscriptions", b"V\t9\n\nWork\n");
    disk.sync_all();
}

/// UID, flags, keywords, body.
type Shown = Vec<(u32, String, String, Vec<u8>)>;

fn shown(fs: &Arc<dyn FileSystem>) -> Result<Shown, BoxError> {
    let store = Store::open_in(&env(fs), ROOT, &StoreOptions::default())?;
    let view = store.mailbox("INBOX")?.view()?;
    let mut all = Vec::new();
    for message in view.messages() {
        let message = message?;
        let words = (format!("{:?}", message.flags()), format!("{:?}", message.keywords()));
        all.push((message.uid().value(), words.0, words.1, message.read()?));
    }
    Ok(all)
}

/// What a repair without a power cut comes to.
fn expected(prepare: fn(&SimDisk)) -> Shown {
    let disk = SimDisk::new();
    prepare(&disk);
    let fs = disk.as_file_system();
    let report = check(&fs, true).unwrap();
    assert!(report.is_whole() && report.findings.len() >= 3, "{report:#?}");
    assert!(check(&fs, false).unwrap().is_clean());
    shown(&fs).unwrap()
}

fn repaired_after(disk: &SimDisk, expected: &Shown) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    // Locks of the dead are stale by then.
    fs.sleep(Duration::from_secs(120));
    let report = check(&fs, true)?;
    if !report.is_whole() {
        return Err(format!("not whole: {:?}", report.findings).into());
    }
    let after = shown(&fs)?;
    if after != *expected {
        let brief = |shown: &Shown| shown.iter().map(|m| (m.0, m.1.clone(), m.2.clone())).collect::<Vec<_>>();
        return Err(format!("{:?}, not {:?}", brief(&after), brief(expected)).into());
    }
    match check(&fs, false)?.is_clean() {
        true => Ok(()),
        false => Err("it is not clean after its repair".into()),
    }
}

fn survives(prepare: fn(&SimDisk)) {
    let expected = expected(prepare);
    assert!(expected.len() >= MESSAGES - 1, "{}", expected.len());
    let work = |fs: Arc<dyn FileSystem>, _: &Acks<()>| check(&fs, true).map(|_| ());
    let runner = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() };
    let report = runner.run(prepare, work, |disk, _| repaired_after(disk, &expected));
    println!("power cuts: {report}");
    assert!(report.is_sound(), "{report}");
    let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
    let report = runner.run(prepare, work, |disk, _| repaired_after(disk, &expected));
    println!("failing calls: {report}");
    assert!(report.is_sound(), "{report}");
}

#[test]
fn repairs_of_an_sdbox() {
    survives(damaged_sdbox);
}

#[test]
fn repairs_of_a_maildir() {
    survives(damaged_maildir);
}

/// Whatever was damaged before, no UID is another message's afterwards.
#[test]
fn messages_keep_their_uids() {
    for (prepare, uids) in
        [(damaged_sdbox as fn(&SimDisk), &[1, 2, 4, 5, 6, 9][..]), (damaged_maildir, &[1, 2, 3, 4, 6, 7])]
    {
        let expected = expected(prepare);
        let found: UidSet = expected.iter().filter_map(|message| mailtypes::Uid::new(message.0)).collect();
        let wanted: UidSet = uids.iter().filter_map(|uid| mailtypes::Uid::new(*uid)).collect();
        assert_eq!(found, wanted);
    }
}
