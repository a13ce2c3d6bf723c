//! Other programs of the host on the same mbox at the same time, each with a lock of its own kind: a shell with `flock`, a
//! shell with a dotlock, and Python's `mailbox`, which takes a record lock and a dotlock, and puts a new file in the place
//! of the old one when it removes a message. Nothing is lost or doubled, and UIDs stay.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command},
    sync::Arc,
};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Batch, FlagAction, FlagChange, MailStorage, Store,
    mbox::{MboxLock, MboxLocks, MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Uid};

/// Messages that each of the others delivers.
const COUNT: u32 = 30;

const WITH_FLOCK: &str = r#"
for n in $(seq 0 $(($2 - 1))); do
    flock "$1" sh -c 'printf "From a@b Thu Nov 29 22:33:52 2001\nSubject: flock-$2\nMessage-ID: <flock-$2>\n\nbody\n\n" >>"$1"' x "$1" $n
done"#;

const WITH_DOTLOCK: &str = r#"
for n in $(seq 0 $(($2 - 1))); do
    until (set -C; : >"$1.lock") 2>/dev/null; do sleep 0.01; done
    printf "From a@b Thu Nov 29 22:33:52 2001\nSubject: dotlock-$n\nMessage-ID: <dotlock-$n>\n\nbody\n\n" >>"$1"
    rm "$1.lock"
done"#;

/// Every third message is removed again.
const WITH_PYTHON: &str = r#"
import mailbox, sys, time
path, count = sys.argv[1], int(sys.argv[2])
def locked(work):
    while True:
        box = mailbox.mbox(path, create=False)
        try:
            box.lock()
        except mailbox.ExternalClashError:
            box.close()
            time.sleep(0.01)
            continue
        work(box)
        box.flush()
        box.unlock()
        box.close()
        return
def add(name):
    message = mailbox.mboxMessage()
    message["Subject"] = name
    message["Message-ID"] = "<%s>" % name
    message.set_payload("body\n")
    locked(lambda box: box.add(message))
def remove(name):
    def work(box):
        for key in [key for key, message in box.items() if message["Subject"] == name]:
            box.remove(key)
    locked(work)
for n in range(count):
    add("python-%d" % n)
    if n % 3 == 0:
        remove("python-%d" % n)
"#;

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: another program on an mbox: no {program}");
    }
    found
}

fn start(program: &str, script: &str, path: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["-c", script]);
    if program == "sh" {
        command.arg("sh");
    }
    command.arg(path).arg(COUNT.to_string()).spawn().unwrap()
}

/// The UID of each message by its subject; each is there once.
fn uids(store: &Store) -> BTreeMap<String, u32> {
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let mut uids = BTreeMap::new();
    for message in view.messages() {
        let message = message.unwrap();
        // Somebody may have removed it meanwhile.
        let Ok(text) = message.read() else { continue };
        let text = String::from_utf8(text).unwrap();
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        let before = uids.insert(subject.to_owned(), message.uid().value());
        assert_eq!(before, None, "{subject} is there twice");
    }
    uids
}

fn look(store: &Store, known: &mut BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let now = uids(store);
    for (subject, uid) in &now {
        let before = *known.entry(subject.clone()).or_insert(*uid);
        assert_eq!(before, *uid, "{subject} has another UID");
    }
    now
}

#[test]
fn nothing_is_lost_beside_delivery_with_flock_and_with_a_dotlock() {
    beside(&[("dotlock", "sh", WITH_DOTLOCK), ("flock", "sh", WITH_FLOCK)], "flock");
}

/// Python takes no lock of the `flock` family, and so must have no program beside it that takes nothing else.
#[test]
fn nothing_is_lost_beside_a_program_that_replaces_the_file() {
    beside(&[("dotlock", "sh", WITH_DOTLOCK), ("python", "python3", WITH_PYTHON)], "python3");
}

fn beside(programs: &[(&str, &str, &str)], needed: &str) {
    if !is_installed(needed) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inbox");
    std::fs::write(&path, b"").unwrap();
    let all = vec![MboxLock::Fcntl, MboxLock::Dotlock, MboxLock::Flock];
    let locks = MboxLocks { read: all.clone(), write: all, ..MboxLocks::default() };
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let options = MboxOptions { locks, ..MboxOptions::default() };
    let storage = MboxStorage::open(&env, dir.path(), &MboxPlaces::default(), options).unwrap();
    let store = Store::of(Arc::new(storage) as Arc<dyn MailStorage>);
    let mut others: Vec<Child> = programs.iter().map(|(_, program, script)| start(program, script, &path)).collect();
    let inbox = store.mailbox("INBOX").unwrap();
    let (mut known, mut own, mut number) = (BTreeMap::new(), BTreeMap::new(), 0);
    let mut is_over = false;
    while !is_over {
        is_over = others.iter_mut().all(|child| child.try_wait().unwrap().is_some());
        let subject = format!("own-{number}");
        number += 1;
        let text = format!("Subject: {subject}\r\nMessage-ID: <{subject}>\r\n\r\nbody\r\n");
        own.insert(subject, inbox.append(Append::new(text.as_bytes())).unwrap().uid.value());
        let now = look(&store, &mut known);
        let uids = [now.values().nth(number % now.len()).copied().and_then(Uid::new).unwrap()].into_iter().collect();
        let change = FlagChange {
            uids,
            action: FlagAction::Add,
            flags: Flag::Flagged.into(),
            keywords: Vec::new(),
            unchanged_since: None,
        };
        inbox.mailbox().submit(Batch::new().flags(change)).unwrap().wait().unwrap();
        if number % 4 == 0 {
            inbox.mailbox().checkpoint().unwrap();
        }
        if number % 5 == 0 {
            let (_, uid) = own.pop_first().unwrap();
            let uids = Uid::new(uid).into_iter().collect();
            inbox.mailbox().submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
        }
    }
    for mut child in others {
        assert!(child.wait().unwrap().success());
    }
    let last = look(&store, &mut known);
    let mut expect: Vec<String> = own.into_keys().collect();
    for (name, program, _) in programs {
        expect.extend((0..COUNT).filter(|n| *program == "sh" || n % 3 != 0).map(|n| format!("{name}-{n}")));
    }
    expect.sort();
    assert_eq!(last.keys().cloned().collect::<Vec<_>>(), expect);
}
