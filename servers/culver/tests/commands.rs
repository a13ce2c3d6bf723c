//! The commands that look after mail, run as a user would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use host::Host;
use serde_json::{Value, json};
use testkit::place::{MailUser, Place};

impl Host {
    /// A data folder with the user ann.
    fn new() -> Self {
        Self::of(&["ann"])
    }

    /// What a command that must fail says.
    fn fail(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn with_mail() -> Self {
        let host = Self::new();
        let text = |path: &str, text: &str| {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        text(
            "eml/1.eml",
            "From: Bob <bob@example.org>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nDate: Thu, 29 Nov 2001 22:33:52 +0100\n\nbody of one\n",
        );
        text("eml/2.eml", "From: eve@example.org\nSubject: two words\n\nthe other body\n");
        let printed = host.run(&["import", "ann", host.path("eml").to_str().unwrap()]);
        assert_eq!(printed, "2 imported, 0 there already, 0 failed\n");
        host
    }
}

fn names_below(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs a command with a line on its standard input.
fn with_input(host: &Host, arguments: &[&str], line: &str) -> Output {
    use std::io::Write as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
    command.arg("--data").arg(host.path("data")).args(arguments);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn users_come_and_go() {
    let host = Host::new();
    let list = |host: &Host| host.run(&["user", "list"]);
    assert_eq!(list(&host), "ann\tPLAIN\n");
    let added = with_input(&host, &["user", "add", "Bob@Example.org"], "secret\n");
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let made = host.run(&["user", "add", "carl", "--generate", "--scheme", "SHA512-CRYPT"]);
    assert!(made.strip_prefix("password: ").unwrap().trim_end().len() >= 16);
    assert_eq!(list(&host), "ann\tPLAIN\nbob@example.org\tARGON2ID\ncarl\tSHA512-CRYPT\n");
    assert!(host.fail(&["user", "add", "carl", "--generate"]).contains("already"));
    assert!(host.fail(&["user", "add", "../x", "--generate"]).contains("a user name cannot"));
    assert!(host.fail(&["user", "add", "x", "--scheme", "ROT13"]).contains("SHA512-CRYPT"));
    assert!(!with_input(&host, &["user", "passwd", "carl"], "\n").status.success());
    assert!(with_input(&host, &["user", "passwd", "carl"], "other\n").status.success());
    assert!(host.run(&["user", "list", "--json"]).contains(r#"{"name":"carl","scheme":"ARGON2ID"}"#));
    host.run(&["user", "remove", "ann"]);
    assert!(host.fail(&["user", "remove", "ann"]).contains("ann"));
    assert!(!list(&host).contains("ann"));
}

#[test]
fn mail_goes_in_and_comes_out() {
    let host = Host::with_mail();
    let eml = host.path("eml");
    assert_eq!(host.run(&["import", "ann", eml.to_str().unwrap()]), "0 imported, 2 there already, 0 failed\n");
    let out = host.path("out");
    let printed = host.run(&["export", "ann", out.to_str().unwrap()]);
    assert_eq!(printed, "1 mailboxes: 2 exported, 0 there already, 0 failed\n");
    assert_eq!(names_below(&out), ["INBOX.mbox"]);
    let again = host.run(&["import", "ann", "--mailbox", "Old/2001", out.join("INBOX.mbox").to_str().unwrap()]);
    assert_eq!(again, "2 imported, 0 there already, 0 failed\n");
    assert_eq!(host.json(&["search", "ann", "Old/2001"]), [json!(1), json!(2)]);
    let printed = host.run(&[
        "export",
        "ann",
        host.path("maildir").to_str().unwrap(),
        "--format",
        "maildir",
        "--mailboxes",
        "Old/*",
    ]);
    assert_eq!(printed, "1 mailboxes: 2 exported, 0 there already, 0 failed\n");
    assert_eq!(names_below(&host.path("maildir")), [".Old.2001"]);
}

#[test]
fn mailboxes_are_made_and_unmade() {
    let host = Host::new();
    host.run(&["mailbox", "create", "ann", "Büro/2024"]);
    let names = |host: &Host| {
        host.json(&["mailbox", "list", "ann"])
            .iter()
            .map(|v| v["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&host), ["INBOX", "Büro", "Büro/2024"]);
    host.run(&["mailbox", "rename", "ann", "Büro", "Office"]);
    assert_eq!(names(&host), ["INBOX", "Office", "Office/2024"]);
    assert!(host.fail(&["mailbox", "create", "ann", "Office/2024"]).contains("exists already"));
    host.run(&["mailbox", "delete", "ann", "Office/2024"]);
    assert_eq!(names(&host)[0], "INBOX");
    assert!(host.fail(&["mailbox", "delete", "ann", "INBOX"]).contains("INBOX can't be deleted"));
    assert!(host.fail(&["mailbox", "create", "ann", "../x"]).contains("climb"));
    assert!(host.fail(&["mailbox", "list", "bob"]).contains("there is no user bob"));
}

#[test]
fn status_counts() {
    let host = Host::with_mail();
    let status = host.json(&["mailbox", "status", "ann", "INBOX"]);
    let numbers = ["messages", "unseen", "uid_next"].map(|key| status[0][key].as_u64().unwrap());
    assert_eq!(numbers, [2, 2, 3]);
    assert!(status[0]["size"].as_u64().unwrap() > 100);
    assert!(host.run(&["mailbox", "status", "ann"]).starts_with("INBOX\tmessages 2\tunseen 2\t"));
}

#[test]
fn messages_are_found_and_shown() {
    let host = Host::with_mail();
    assert_eq!(host.run(&["search", "ann", "INBOX", "FROM bob"]), "1\n");
    assert_eq!(host.run(&["search", "ann", "INBOX", "subject", "two words"]), "2\n");
    assert_eq!(host.run(&["search", "ann", "INBOX", "TEXT", "Grüße"]), "1\n");
    assert_eq!(host.run(&["search", "ann", "INBOX", "NOT ALL"]), "");
    assert!(host.fail(&["search", "ann", "INBOX", "FROM"]).contains("the query \"FROM\""));
    assert!(host.fail(&["search", "ann", "INBOX", "TEXT {3}"]).contains("not as literals"));
    assert!(host.fail(&["search", "ann", "Nowhere", "ALL"]).contains("mailbox Nowhere does not exist"));
    let shown = host.json(&["fetch", "ann", "INBOX", "--fields", "uid,date,from,subject,flags", "FROM bob"]);
    let expect = json!({
        "uid": 1, "date": "29-Nov-2001 21:33:52 +0000", "from": ["Bob <bob@example.org>"], "subject": "Grüße", "flags": [],
    });
    assert_eq!(shown, [expect]);
    assert_eq!(
        host.run(&["fetch", "ann", "INBOX", "--fields", "uid,from,subject"]),
        "1\tBob <bob@example.org>\tGrüße\n2\teve@example.org\ttwo words\n"
    );
    let raw = host.run(&["fetch", "ann", "INBOX", "--raw", "UID 2"]);
    assert_eq!(raw, "From: eve@example.org\r\nSubject: two words\r\n\r\nthe other body\r\n");
    assert_eq!(host.json(&["mailbox", "status", "ann"])[0]["unseen"], json!(2), "a look changes nothing");
}

/// The others come and go, and the code tells a script that not all did.
#[test]
fn one_bad_file_or_folder_costs_no_other() {
    let host = Host::with_mail();
    for name in ["more/good.eml", "more/t\tab/3.eml"] {
        let path = host.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("Subject: {name:?}\n\nbody\n")).unwrap();
    }
    let output = host.output(&["import", "ann", host.path("more").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 imported, 0 there already, 1 failed\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("culver: not imported: ") && told.contains("cannot name a mailbox"), "{told}");
    let out = host.path("out");
    host.run(&["mailbox", "create", "ann", "a.b"]);
    let output = host.output(&["export", "ann", out.to_str().unwrap(), "--format", "maildir"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("culver: not exported: a.b: "), "{told}");
    assert_eq!(names_below(&out.join("cur")).len(), 3);
}

#[test]
fn a_source_that_is_none_and_a_message_that_is_too_large() {
    let host = Host::new();
    assert!(host.fail(&["import", "ann", host.path("nothing").to_str().unwrap()]).contains("it does not exist"));
    fs::write(host.path("notes"), "no mail").unwrap();
    assert!(host.fail(&["import", "ann", host.path("notes").to_str().unwrap()]).contains("no mbox file"));
}

/// The way from a configuration file to the first user: before there is a file of users, and before there is a certificate.
#[test]
fn the_first_user_of_a_configuration() {
    let place = Place::new("commands-household").unwrap();
    let file = place.path().join("culver.toml");
    let sections = "[users]\nfirst_user = \"\"\n[tls]\ncertificate = \"nowhere.pem\"\n";
    fs::write(&file, format!("data = \"data\"\n{sections}")).unwrap();
    let culver = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
        let output = command.args(arguments).arg("--config").arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let checked = || {
        let output = Command::new(env!("CARGO_BIN_EXE_culver")).args(["config", "check"]).arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = checked();
    assert!(said.contains("warning: users.passwd_file") && said.contains("culver user add NAME"), "{said}");
    assert!(said.contains("error: tls.certificate"), "{said}");
    assert_eq!(culver(&["user", "list"]), (true, String::new(), String::new()));
    let (is_ok, made, said) = culver(&["user", "add", "ann", "--generate"]);
    assert!(is_ok && made.starts_with("password: "), "{said}");
    assert_eq!(culver(&["user", "list"]).1, "ann\tARGON2ID\n");
    assert!(!checked().contains("passwd_file"));
    // `serve` needs the certificate as before.
    let (is_ok, _, said) = culver(&["serve"]);
    assert!(!is_ok && said.contains("error: tls.certificate"), "{said}");
    // A file in a folder that is not there was never meant.
    fs::write(&file, format!("data = \"data\"\n{sections}").replace("[tls]", "passwd_file = \"no/users\"\n[tls]"))
        .unwrap();
    assert!(checked().contains("error: users.passwd_file"));
}

/// In the way of whoever looks at mail that is not his, as a user who may read it and no more: nothing changes, and what
/// would change something is refused. (Where tests do not run as root, they are the owner without the right to write.)
#[test]
fn mail_of_others_is_read_and_left_as_it_is() {
    let host = Host::with_mail();
    let reader = MailUser::for_tests().unwrap();
    let (data, copy) = (host.path("data"), host.path("copy"));
    assert!(Command::new("cp").arg("-r").args([&data, &copy]).status().unwrap().success());
    let mode = |mode: &str| {
        assert!(Command::new("chmod").args(["-R", mode]).arg(&copy).status().unwrap().success());
    };
    mode("a-w,a+rX");
    let listing = || {
        let output = Command::new("find").arg(&copy).args(["-printf", "%p %i %n %m %s %T@ %C@\n"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = listing();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
        command.arg("--data").arg(&copy).arg("--read-only").args(arguments);
        reader.run_as(&mut command);
        command.output().unwrap()
    };
    let printed = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(printed(&["fetch", "ann", "INBOX", "--fields", "uid,subject"]), "1\tGr\u{fc}\u{df}e\n2\ttwo words\n");
    assert!(printed(&["fetch", "ann", "INBOX", "--raw", "UID", "2"]).contains("the other body"));
    assert_eq!(printed(&["search", "ann", "INBOX", "SUBJECT", "words"]).trim(), "2");
    assert!(printed(&["mailbox", "status", "ann"]).starts_with("INBOX\tmessages 2\t"));
    for change in [
        &["mailbox", "create", "ann", "new"][..],
        &["mailbox", "delete", "ann", "INBOX"],
        &["mailbox", "rename", "ann", "INBOX", "other"],
    ] {
        let output = run(change);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("read-only"), "{change:?}: {told}");
    }
    assert_eq!(before, listing());
    mode("u+w");
}

#[test]
fn a_store_is_converted_and_converted_again() {
    let host = Host::with_mail();
    let destination = host.path("converted");
    let to = format!("maildir:{}", destination.display());
    let planned = host.json(&["convert", "ann", &to, "--dry-run"]);
    assert!(!destination.exists());
    let total = planned.last().unwrap();
    assert_eq!((&total["dry_run"], &total["failed"]), (&json!(true), &json!(0)));
    assert!(total["added"].as_u64().unwrap() > 0 && total["added"] == total["messages"]);
    let done = host.json(&["convert", "ann", &to, "--verify"]);
    let [totals, verified] = &done[..] else { panic!("{done:?}") };
    assert_eq!((&totals["added"], &totals["failed"]), (&total["added"], &json!(0)));
    assert_eq!((&verified["verified"], &verified["different"]), (&total["messages"], &json!(0)));
    // What a place is, is found out.
    let back = host.path("back");
    let (from, to_back) = (destination.display().to_string(), back.display().to_string());
    host.run(&["convert", &from, &to_back, "--format", "maildir-fs", "--verify"]);
    assert!(back.join("cur").is_dir());
    let again = host.run(&["convert", &from, &to_back]);
    assert!(again.contains(" 0 messages converted") && again.contains(" 0 failed"), "{again}");
    // What an mbox cannot keep is told, and what was converted is not converted again.
    let mbox = format!("mbox:{}", host.path("mbox").display());
    let done = host.json(&["convert", "ann", &mbox, "--verify"]);
    let [losses @ .., totals, verified] = &done[..] else { panic!("{done:?}") };
    assert!(losses.iter().any(|line| line["loss"].as_str().is_some_and(|loss| loss.contains("GUIDs"))), "{done:?}");
    assert_eq!((&totals["added"], &verified["different"]), (&total["added"], &json!(0)));
    let again = host.json(&["convert", "ann", &mbox]);
    assert_eq!(again.last().map(|totals| (&totals["added"], &totals["failed"])), Some((&json!(0), &json!(0))));
    assert!(host.fail(&["convert", "nobody", &to]).contains("there is no user nobody"));
    assert!(host.fail(&["convert", &from, "mbax:/x/y"]).contains("mbax"));
    assert!(host.fail(&["convert", &from, &to_back, "--format", "sdbax"]).contains("sdbox"));
}
