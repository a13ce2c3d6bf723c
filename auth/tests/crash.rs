//! The file of users is changed while the power is cut or calls fail: whoever looks then finds the old file or the new one,
//! and what was promised.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{path::Path, sync::Arc};

use auth::{Password, PasswordFile, Scheme, UserName};
use mailfs::{
    FileSystem, FileSystemExt as _, OpenMode,
    sim::{Acks, BoxError, CrashRunner, FaultRunner, SimDisk},
};

const FILE: &str = "/etc/users";
/// The file before the work, and after each of its steps.
const STATES: [&str; 4] = [
    "# staff\nann:{PLAIN}a:::::: allow_nets=192.0.2.0/24\n",
    "# staff\nann:{PLAIN}a:::::: allow_nets=192.0.2.0/24\nbob:{PLAIN}b\n",
    "# staff\nann:{PLAIN}other:::::: allow_nets=192.0.2.0/24\nbob:{PLAIN}b\n",
    "# staff\nann:{PLAIN}other:::::: allow_nets=192.0.2.0/24\n",
];

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn plain(password: &str) -> Password {
    Password::parse(password, Scheme::Plain).unwrap()
}

fn users(fs: Arc<dyn FileSystem>) -> PasswordFile {
    PasswordFile::on(fs, FILE, Scheme::Plain)
}

fn setup(disk: &SimDisk) {
    let fs = disk.as_file_system();
    fs.create_dir(Path::new("/etc"), 0o755).unwrap();
    fs.write_atomic(Path::new(FILE), STATES[0].as_bytes(), 0o640, true).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
}

/// Adds, changes, removes; each step is promised once its call has returned.
fn work(fs: Arc<dyn FileSystem>, acks: &Acks<usize>) -> Result<(), BoxError> {
    let users = users(fs);
    users.add(&name("bob"), &plain("{PLAIN}b"))?;
    acks.push(1);
    users.set_password(&name("ann"), &plain("{PLAIN}other"))?;
    acks.push(2);
    users.remove(&name("bob"))?;
    acks.push(3);
    Ok(())
}

/// Old or new as a whole, never older than promised; and what was left in the way hinders nobody.
fn check(disk: &SimDisk, acks: &[usize]) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    let text = String::from_utf8(fs.read_all(Path::new(FILE), 4096)?)?;
    let promised = acks.last().copied().unwrap_or(0);
    let state = STATES.iter().position(|state| *state == text).ok_or_else(|| format!("torn: {text:?}"))?;
    if state < promised || state > promised + 1 {
        return Err(format!("state {state} where {promised} was promised").into());
    }
    let mode = fs.open(Path::new(FILE), OpenMode::Read)?.metadata()?.mode & 0o777;
    if mode != 0o640 {
        return Err(format!("the mode became {mode:o}").into());
    }
    let users = users(fs);
    users.add(&name("eve"), &plain("{PLAIN}e"))?;
    match users.names()?.contains(&name("eve")) {
        true => Ok(()),
        false => Err("the next change is not there".into()),
    }
}

#[test]
fn a_power_cut_leaves_the_old_file_or_the_new_one() {
    let report = CrashRunner::default().run(setup, work, check);
    assert!(report.is_sound(), "{report}");
    assert!(report.points > 10 && report.states > 3, "{report}");
}

#[test]
fn so_does_a_call_that_fails() {
    let report = FaultRunner::default().run(setup, work, check);
    assert!(report.is_sound(), "{report}");
    assert!(report.points > 10, "{report}");
}

/// Where there was no file, there is none or a whole one.
#[test]
fn the_first_user_is_there_with_his_password_or_not_at_all() {
    let report = CrashRunner::default().run(
        |disk| disk.as_file_system().create_dir(Path::new("/etc"), 0o755).unwrap(),
        |fs, acks: &Acks<()>| {
            users(fs).add(&name("culver"), &plain("{PLAIN}made"))?;
            acks.push(());
            Ok(())
        },
        |disk, acks| {
            let fs = disk.as_file_system();
            let text = match fs.metadata(Path::new(FILE))? {
                Some(_) => fs.read_all(Path::new(FILE), 4096)?,
                None => Vec::new(),
            };
            match (&*text, acks) {
                (b"culver:{PLAIN}made\n", _) | (b"", []) => Ok(()),
                (text, acks) => Err(format!("{:?} after {acks:?}", String::from_utf8_lossy(text)).into()),
            }
        },
    );
    assert!(report.is_sound(), "{report}");
}
