//! `culver config`: what is wrong with a file, what holds, what the documentation says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

use testkit::place::Place;

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

struct Said {
    is_ok: bool,
    out: String,
    err: String,
}

fn culver(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(CULVER).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { is_ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

fn check(place: &Place, file: &str) -> Said {
    fs::write(place.path().join("culver.toml"), file).unwrap();
    culver(place.path(), &["config", "check", "culver.toml"])
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_documentation_is_what_the_code_says() {
    let place = Place::new("config-docs").unwrap();
    let written = culver(place.path(), &["config", "docs"]).out;
    let kept = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    assert!(written == kept, "write it anew: culver config docs > docs/configuration.md");
}

#[test]
fn every_setting_that_is_shown_is_documented_and_reads_back() {
    let place = Place::new("config-show").unwrap();
    let shown = culver(place.path(), &["config"]).out;
    let docs = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let mut keys = 0;
    for line in shown.lines().filter(|line| line.contains(" = ")) {
        let (key, _) = line.split_once(" = ").unwrap();
        assert!(docs.contains(&format!("| `{key}` |")), "{key} is not documented");
        assert!(line.ends_with("# default"), "{line}");
        keys += 1;
    }
    assert!(keys > 60, "{keys} keys:\n{shown}");
    let again = check(&place, &shown);
    assert!(again.is_ok, "{}{}", again.out, again.err);
    let shown_again = culver(place.path(), &["config", "--config", "culver.toml"]).out;
    let values = |text: &str| {
        let settings =
            text.lines().filter(|line| line.contains(" = ")).map(|line| line.split('#').next().unwrap().to_owned());
        settings.collect::<Vec<_>>()
    };
    assert_eq!(values(&shown_again), values(&shown));
    assert!(shown_again.contains("# line 1\n"), "{shown_again}");
}

#[test]
fn every_documented_default_is_taken() {
    let docs = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let place = Place::new("config-defaults").unwrap();
    let (mut file, mut defaults, mut skips) = (String::new(), 0, false);
    for line in docs.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            // Tables of which there can be several need more than defaults.
            skips = title.starts_with("`[[");
            if let Some(section) = title.strip_prefix('`').and_then(|title| title.strip_suffix('`')).filter(|_| !skips)
            {
                file.push_str(&format!("{section}\n"));
            }
        }
        let cells: Vec<_> = line.split(" | ").collect();
        if let [key, _, default, _, _] = cells[..]
            && let Some(key) = key.strip_prefix("| `").and_then(|key| key.strip_suffix('`'))
            && !skips
        {
            let value = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')).unwrap();
            file.push_str(&format!("{key} = {value}\n"));
            defaults += 1;
        }
    }
    assert!(defaults > 60, "{defaults} defaults");
    let said = check(&place, &file);
    assert!(said.is_ok, "{}{}\n{file}", said.out, said.err);
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let place = Place::new("config-wrong").unwrap();
    let file = r#"dat = "x"
[limits]
line_length_max = "64 KiB"
message_len_max = "50 mib"
connections_max = "many"
certificate = "x"
login_timeout = 60
[storag]
path = "/x"
[storage]
path = "/var/mail/%d/%n"
fsync = "alway"
[[listener]]
protocol = "imap"
address = "0.0.0.0:143"
tls = "none"
[[listener]]
protocol = "pop3"
address = "127.0.0.1:143"
mode = "0600"
[[listener]]
address = "localhost:25"
[[listener]]
protocol = "lmtp"
address = "192.0.2.1:24"
[tls]
certificate = "nowhere.pem"
[users]
passwd_file = "nowhere/users"
first_user = ""
[log]
level = "loud,,="
"#;
    let said = check(&place, file);
    assert!(!said.is_ok);
    for (at, key, word) in [
        ("1:1", "dat", "did you mean \"data\"?"),
        ("3:1", "limits.line_length_max", "did you mean \"line_len_max\"?"),
        ("4:19", "limits.message_len_max", "did you mean \"50 MiB\"?"),
        ("5:19", "limits.connections_max", "this should be a number, and is a text"),
        ("6:1", "limits.certificate", "there is such a key in [tls]"),
        ("7:17", "limits.login_timeout", "60 lacks a unit"),
        ("8:2", "storag", "did you mean [storage]?"),
        ("11:8", "storage.path", "did you mean {domain}?"),
        ("12:9", "storage.fsync", "did you mean \"always\"?"),
        ("15:11", "listener.address", "no password may come"),
        ("19:11", "listener.address", "conflicts with the listener on 0.0.0.0:143"),
        ("20:8", "listener.mode", "only a socket's file has a mode"),
        ("21:1", "listener.protocol", "a listener without a protocol"),
        ("22:11", "listener.address", "did you mean \"127.0.0.1:25\"?"),
        ("25:11", "listener.address", "allow_remote = true"),
        ("27:15", "tls.certificate", "nowhere.pem"),
        ("29:15", "users.passwd_file", "No such file"),
        ("32:9", "log.level", "is no level"),
    ] {
        let head = format!("culver.toml:{at}: error: {key}: ");
        let from = said.out.find(&head).unwrap_or_else(|| panic!("no {head:?} in\n{}", said.out));
        let problem = &said.out[from..];
        let problem = problem[1..].find("\nculver.toml:").map_or(problem, |end| &problem[..end + 1]);
        assert!(problem.contains(word), "no {word:?} in {problem}");
    }
    assert!(said.err.contains("18 errors"), "{}\n{}", said.err, said.out);
    // `serve` refuses it with the same list.
    let served = culver(place.path(), &["serve", "--config", "culver.toml"]);
    assert!(!served.is_ok);
    assert!(served.err.contains("line_len_max") && served.err.contains("nowhere.pem"), "{}", served.err);
}

/// A file of another machine's names files that are not here; what else is wrong with it can be told nevertheless.
#[test]
fn files_that_are_not_here() {
    let place = Place::new("config-elsewhere").unwrap();
    let tls = "[tls]\ncertificate = \"/nowhere/mail.pem\"\nkey = \"/nowhere/mail.key\"\n";
    let file = format!("{tls}[users]\npasswd_file = \"/nowhere/users\"\nfirst_user = \"\"\n");
    let said = check(&place, &file);
    assert!(!said.is_ok, "{}", said.out);
    for text in [
        "2:15: error: tls.certificate: /nowhere/mail.pem does not exist on this machine",
        "3:7: error: tls.key: /nowhere/mail.key does not exist on this machine",
        "users.passwd_file: /nowhere/users",
    ] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
    let without_files = ["config", "check", "--without-files", "culver.toml"];
    let said = culver(place.path(), &without_files);
    assert!(said.is_ok && said.out == "culver.toml: no errors\n", "{}{}", said.out, said.err);
    fs::write(place.path().join("culver.toml"), format!("{file}nonsense = 1\n")).unwrap();
    assert!(!culver(place.path(), &without_files).is_ok);
}

/// Times that a standard asks for may be shorter where somebody wants them so, and he is told.
#[test]
fn idle_times_below_the_standards_are_warned_of() {
    let place = Place::new("config-idle").unwrap();
    let imap = "warning: limits.idle_timeout: RFC 3501 §5.4 asks IMAP servers for at least 30 minutes";
    let pop3 = "warning: limits.idle_timeout: RFC 1939 §3 asks POP3 servers for at least 10 minutes";
    let listener = |protocol: &str| format!("[[listener]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n");
    for (listeners, time, warns) in [
        (String::new(), "9 min", [true, true]),
        (String::new(), "29 min", [true, false]),
        (String::new(), "30 min", [false, false]),
        (listener("pop3"), "29 min", [false, false]),
        (listener("pop3"), "599 s", [false, true]),
        (listener("imap"), "1 min", [true, false]),
        (listener("lmtp"), "1 min", [false, false]),
    ] {
        let said = check(&place, &format!("[limits]\nidle_timeout = \"{time}\"\n{listeners}"));
        assert!(said.is_ok, "{}{}", said.out, said.err);
        assert_eq!([imap, pop3].map(|text| said.out.contains(text)), warns, "{time}: {}", said.out);
    }
}

#[test]
fn settings_of_imap_are_looked_at() {
    let place = Place::new("config-imap").unwrap();
    let file = "[imap]\nid = [\"name=Dove\", \"version\"]\nidle_notify_interval = \"0 s\"\n";
    let said = check(&place, file);
    assert!(!said.is_ok, "{}", said.out);
    for text in ["2:6: error: imap.id: \"version\" is no field of ID", "3:24: error: imap.idle_notify_interval: "] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
}

#[test]
fn what_is_no_toml_is_told_by_line() {
    let place = Place::new("config-syntax").unwrap();
    let said = check(&place, "[limits]\nconnections_max = = 3\nidle_timeout = \"1 h\n[users]\n[users]\n");
    assert!(!said.is_ok);
    for at in ["culver.toml:2:", "culver.toml:3:"] {
        assert!(said.out.contains(at), "{at}: {}", said.out);
    }
    let missing = culver(place.path(), &["config", "check", "nowhere.toml"]);
    assert!(!missing.is_ok && missing.out.contains("nowhere.toml: error: cannot be opened"), "{}", missing.out);
    fs::write(place.path().join("latin.toml"), b"# ok\ndata = \"\xe4\"\n").unwrap();
    let latin = culver(place.path(), &["config", "check", "latin.toml"]);
    assert!(latin.out.contains("is no UTF-8, from line 2 on"), "{}", latin.out);
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_defaults() {
    let place = Place::new("config-sources").unwrap();
    let file = "[limits]\nidle_timeout = \"1 h\"\nconnections_max = 7\n";
    fs::write(place.path().join("culver.toml"), file).unwrap();
    let set = ["--config", "culver.toml", "--set", "limits.connections_max=9", "--set", "log.level=debug"];
    let shown = culver(place.path(), &[&["config"][..], &set].concat()).out;
    let source = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        let (value, source) = line.split_once('#').unwrap();
        (value.trim().to_owned(), source.trim().to_owned())
    };
    assert_eq!(source("idle_timeout"), ("idle_timeout = \"1 h\"".to_owned(), "line 2".to_owned()));
    assert_eq!(source("connections_max"), ("connections_max = 9".to_owned(), "command line".to_owned()));
    assert_eq!(source("level"), ("level = \"debug\"".to_owned(), "command line".to_owned()));
    assert_eq!(source("fsync"), ("fsync = \"optimized\"".to_owned(), "default".to_owned()));
    let wrong = culver(place.path(), &["config", "--set", "limits.conections_max=9"]);
    assert!(!wrong.is_ok && wrong.err.contains("did you mean \"connections_max\"?"), "{}", wrong.err);
    let wrong = culver(place.path(), &["serve", "--lmtp", "0.0.0.0:0"]);
    assert!(!wrong.is_ok && wrong.err.contains("0.0.0.0:0 is not a loopback address"), "{}", wrong.err);
}

/// The example in `contrib` is a file that can be used.
#[test]
fn the_example_is_right() {
    let place = Place::new("config-example").unwrap();
    let example = fs::read_to_string(repository().join("contrib/culver.toml")).unwrap();
    // Certificate and users are the reader's own.
    let without_files: String = example
        .lines()
        .filter(|line| {
            !["certificate = ", "key = ", "data = ", "passwd_file = "].iter().any(|key| line.starts_with(key))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    fs::create_dir_all(place.path().join("culver-data")).unwrap();
    fs::write(place.path().join("culver-data/users"), "").unwrap();
    let said = check(&place, &without_files);
    assert!(said.is_ok && said.out.ends_with("no errors\n"), "{}{}", said.out, said.err);
    // As it is, on a machine that has none of its files.
    let path = repository().join("contrib/culver.toml");
    let said = culver(place.path(), &["config", "check", "--without-files", path.to_str().unwrap()]);
    assert!(said.is_ok, "{}{}", said.out, said.err);
    let said = culver(place.path(), &["config", "check", path.to_str().unwrap()]);
    assert!(!said.is_ok && said.out.contains("does not exist on this machine"), "{}", said.out);
    for section in ["listener", "storage", "users", "tls", "limits", "log"] {
        assert!(example.contains(&format!("[{section}]")), "the example has no [{section}]");
    }
}
