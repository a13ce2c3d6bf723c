//! `culver check` as an administrator runs it: what it prints, as text and as JSON, what its code says, and what it brings back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use host::Host;
use serde_json::{Value, json};

impl Host {
    /// A data folder with the users ann and bob, whose mail is an sdbox.
    fn new() -> Self {
        let host = Self::of(&["ann", "bob"]);
        let messages: String = (1..=5)
            .map(|n| {
                format!("From a@b Thu Nov 29 22:33:5{n} 2001\nSubject: message {n}\nStatus: RO\n\nbody of {n}\n\n")
            })
            .collect();
        fs::write(host.path("mbox"), messages).unwrap();
        for user in ["ann", "bob"] {
            host.run(&["import", user, host.path("mbox").to_str().unwrap()]);
        }
        host.run(&["mailbox", "create", "ann", "Work"]);
        host
    }

    fn mails(&self) -> PathBuf {
        self.path("data/mail/ann/mailboxes/INBOX/dbox-Mails")
    }

    /// The code, and what was printed.
    fn check(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(&[&["check"], arguments].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let (code, text) = self.check(&[arguments, &["--json"]].concat());
        (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn fields(&self) -> String {
        self.run(&["fetch", "ann", "INBOX", "--fields", "uid,flags,subject"])
    }
}

fn lose_index(mails: &Path) {
    for entry in fs::read_dir(mails).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn sound_stores_in_every_form() {
    let host = Host::new();
    let of = |user: &str, mailboxes: u32| {
        format!("{user}: nothing wrong; {mailboxes} mailboxes, 5 messages, 0 bytes of bodies read\n")
    };
    assert_eq!(host.check(&[]), (0, of("ann", 2) + &of("bob", 1)));
    assert_eq!(host.check(&["bob"]), (0, of("bob", 1)));
    assert_eq!(host.check(&["ann", "--mailbox", "Work"]).1, of("ann", 1).replace("5 messages", "0 messages"));
    let (code, lines) = host.json(&["ann", "--deep", "--repair"]);
    assert_eq!((code, lines.len()), (0, 1));
    let read = lines[0]["body_bytes"].as_u64().unwrap();
    assert!(read > 100, "{lines:?}");
    let expected = json!({
        "store": "ann", "mailboxes": 2, "messages": 5, "body_bytes": read, "found": 0, "repaired": 0, "left": 0, "noted": 0,
        "untold": 0,
    });
    assert_eq!(lines[0], expected);
}

#[test]
fn what_is_wrong_is_told_then_repaired_then_gone() {
    let host = Host::new();
    fs::remove_file(host.mails().join("u.3")).unwrap();
    let (code, text) = host.check(&["ann"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines.len()), (2, 2), "{text}");
    assert!(lines[0].starts_with("ann: INBOX: ") && lines[0].contains("u.3, UID 3: "), "{text}");
    assert!(lines[0].contains("(repair: "), "{text}");
    assert!(lines[1].starts_with("ann: 1 problems; 2 mailboxes, 5 messages"), "{text}");
    let (code, lines) = host.json(&["ann"]);
    assert_eq!((code, lines.len()), (2, 2));
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["guid", "kind", "mailbox", "offset", "outcome", "path", "plan", "store", "uid", "what"]);
    assert_eq!((&lines[0]["kind"], &lines[0]["outcome"]), (&json!("body-missing"), &json!("found")));
    assert_eq!((&lines[0]["uid"], &lines[0]["mailbox"]), (&json!(3), &json!("INBOX")));
    assert_eq!((&lines[1]["found"], &lines[1]["left"]), (&json!(1), &json!(0)));
    let (code, text) = host.check(&["--repair"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("(repaired: ") && text.contains("ann: 1 problems, all repaired;"), "{text}");
    assert!(text.contains("bob: nothing wrong"), "{text}");
    assert_eq!(host.check(&["ann"]).0, 0);
    assert_eq!(host.fields().lines().count(), 4);
}

/// What cannot be put right is told by the code, whatever else was.
#[test]
fn what_is_left() {
    let host = Host::new();
    let path = host.mails().join("u.2");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"body of 2").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(host.mails().join("u.5")).unwrap();
    let (code, text) = host.check(&["ann", "--repair", "--deep"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("u.2, offset ") && text.contains("checksum") && text.contains("(LEFT)"), "{text}");
    assert!(text.contains("ann: 1 problems repaired, 1 left;"), "{text}");
    let (code, lines) = host.json(&["ann", "--deep"]);
    assert_eq!((code, &lines[0]["kind"]), (2, &json!("body-changed")));
    let guid = lines[0]["guid"].as_str().unwrap().to_owned();
    assert!(guid.len() == 32 && lines[0]["offset"].as_u64().is_some_and(|offset| offset > 0), "{lines:?}");
    assert!(String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(&guid));
}

/// Whoever cannot be looked over is not taken for sound, nor for repaired; the others are looked over.
#[test]
fn what_could_not_be_looked_at() {
    let host = Host::new();
    for arguments in [&["nobody"][..], &["--store", "/nowhere/at/all"], &["ann", "--mailbox", "Nowhere"], &["--deeper"]]
    {
        let output = host.output(&[&["check"], arguments].concat());
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
    fs::remove_dir_all(host.path("data/mail/ann")).unwrap();
    fs::write(host.path("data/mail/ann"), "no folder").unwrap();
    let (code, text) = host.check(&[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("ann: cannot be looked over: ") && text.contains("bob: nothing wrong"), "{text}");
    let (_, lines) = host.json(&[]);
    assert!(lines[0]["error"].is_string() && lines[0]["store"] == "ann", "{lines:?}");
}

/// What users share is looked at with the first of them, by whatever path it is reached, unless each has an index of his own.
#[test]
fn a_namespace_of_all_is_looked_at_once() {
    let host = Host::new();
    let public = host.path("public");
    fs::rename(host.path("data/mail/ann"), &public).unwrap();
    fs::create_dir(host.path("by-users")).unwrap();
    for user in ["ann", "bob"] {
        symlink(&public, host.path("by-users").join(user)).unwrap();
    }
    let data = host.path("data");
    let config = |location: &str| {
        let spaces =
            "[[namespace]]\nprefix = \"\"\ninbox = true\n[[namespace]]\nprefix = \"Public/\"\nkind = \"public\"\n";
        format!("data = \"{}\"\n{spaces}location = \"{location}\"\n", data.display())
    };
    let file = host.path("culver.toml");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
        let output = command.arg("check").args(arguments).arg("--config").arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let above = host.path("").display().to_string();
    for (location, looks) in [
        (format!("sdbox:{}", public.display()), 1),
        (format!("sdbox:{above}by-users/%u"), 1),
        (format!("sdbox:{}:INDEX={above}indexes/%u", public.display()), 2),
    ] {
        fs::write(&file, config(&location)).unwrap();
        let text = check(&[]);
        let summaries = text.lines().filter(|line| line.contains(" Public/: ") && line.contains(" mailboxes, "));
        assert_eq!(summaries.count(), looks, "{location}: {text}");
        assert!(text.contains("bob: nothing wrong"), "{text}");
        // Who has no such mailbox is told, though it was looked for in what all share before.
        let text = check(&["--mailbox", "Nowhere"]);
        assert_eq!(text.matches("bob: cannot be looked over").count(), 1, "{text}");
    }
}

/// Nothing but findings and the summary goes to standard output, and nothing to standard error that is no terminal.
#[test]
fn no_progress_where_nobody_watches() {
    let host = Host::new();
    let output = host.output(&["check", "--deep"]);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

/// On a terminal there is a bar. `script` makes one.
#[test]
fn progress_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return testkit::skip("the bar of a check", "script");
    }
    let host = Host::new();
    let line = format!("{} --data {} check ann --deep", env!("CARGO_BIN_EXE_culver"), host.path("data").display());
    let typescript = host.path("typescript");
    let output = Command::new("script").args(["-qec", &line]).arg(&typescript).output().unwrap();
    assert!(output.status.success());
    let seen = String::from_utf8_lossy(&fs::read(typescript).unwrap()).into_owned();
    assert!(seen.contains("0 problems") && seen.contains('%'), "{seen:?}");
    assert!(seen.contains("ann: nothing wrong"), "{seen:?}");
}

/// Flags, keywords, UIDs and which messages there are come back when every index file of an sdbox is lost.
#[test]
fn an_index_that_is_lost_is_brought_back() {
    let host = Host::new();
    let store = mailstore::Store::open(host.path("data/mail/ann")).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    let view = inbox.view().unwrap();
    let uid = |number: u32| mailstore::mailtypes::Uid::new(number).unwrap();
    let keyword = mailstore::mailtypes::Keyword::new("$Work").unwrap();
    view.update_one(uid(2)).add(mailstore::mailtypes::Flag::Flagged).add_keyword(keyword).commit().unwrap();
    view.expunge(&std::iter::once(uid(4)).collect()).unwrap();
    store.flush().unwrap();
    drop((view, inbox, store));
    let status = || host.run(&["mailbox", "status", "ann", "--json"]);
    let before = (host.fields(), status());
    assert!(before.0.contains("$Work"), "{before:?}");
    lose_index(&host.mails());
    let (code, text) = host.check(&["ann"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("second names"), "what will come back is said: {text}");
    let (code, text) = host.check(&["ann", "--repair"]);
    assert_eq!(code, 1, "{text}");
    assert_eq!((host.fields(), status()), before);
    assert_eq!(host.check(&["ann", "--deep"]).0, 0);
    // Without second names the messages come back, under their UIDs.
    lose_index(&host.mails());
    for entry in fs::read_dir(host.mails()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("culver.kept.") {
            fs::remove_file(path).unwrap();
        }
    }
    let (code, text) = host.check(&["ann", "--repair"]);
    assert_eq!(code, 1, "{text}");
    let uids =
        |fields: &str| fields.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(uids(&host.fields()), uids(&before.0));
}

#[test]
fn a_store_at_a_place() {
    let host = Host::new();
    let root = host.path("data/mail/ann");
    let (code, text) = host.check(&["--store", root.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with(&format!("{}: nothing wrong; 2 mailboxes", root.display())), "{text}");
    // Messages in alternate storage: where the store has noted it, or where the location says.
    let alt = host.path("data/mail/ann.alt");
    host.run(&["--set", "storage.alt=mail/{user}.alt", "altmove", "ann", "INBOX", "UID 2,4"]);
    assert!(alt.join("mailboxes/INBOX/dbox-Mails/u.2").exists());
    assert_eq!(host.check(&["--store", root.to_str().unwrap(), "--deep"]).0, 0);
    let location = format!("sdbox:{}:ALT={}", root.display(), alt.display());
    assert_eq!(host.check(&["--store", &location, "--deep"]).0, 0);
    // It is not there: nothing is repaired, and nothing lost.
    fs::rename(&alt, host.path("elsewhere")).unwrap();
    for place in [root.to_str().unwrap(), &location] {
        let (code, text) = host.check(&["--store", place, "--repair"]);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("nothing is repaired"), "{text}");
    }
    fs::rename(host.path("elsewhere"), &alt).unwrap();
    assert_eq!(host.check(&["--store", &location, "--repair", "--deep"]).0, 0);
    // A link to a store is as good as the store.
    symlink(&root, host.path("link")).unwrap();
    assert_eq!(host.check(&["--store", host.path("link").to_str().unwrap()]).0, 0);
}

/// The journal of a conversion is no mailbox: not for the check, and not for Dovecot.
#[test]
fn a_converted_mbox_has_the_mailboxes_that_were_converted() {
    let host = Host::new();
    let to = host.path("converted");
    let location = format!("mbox:{}", to.display());
    host.run(&["convert", "bob", &location]);
    assert!(!to.join(".culver.convert").exists());
    for place in [to.to_str().unwrap(), &location] {
        let (code, text) = host.check(&["--store", place]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("; 1 mailboxes, 5 messages"), "{text}");
    }
    let again = host.run(&["convert", "bob", &location]);
    assert!(again.contains('0'), "nothing is new: {again}");
    assert!(to.join(".imap/.culver.convert").exists());
}
