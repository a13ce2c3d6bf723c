//! `culver dump` on what Dovecot wrote: every file of every fixture, and beside `doveadm dump` the same records and fields.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use testkit::{fixtures, place::Place, skip};

const DOVEADM: &str = "/usr/bin/doveadm";
const FIXTURES: [&str; 9] =
    ["sdbox", "mdbox", "maildir", "maildir-fs", "mbox", "mdbox-alt", "mdbox-zstd", "sdbox-attach", "sdbox-layoutindex"];

fn unpacked(name: &str) -> (Place, PathBuf) {
    let place = Place::new("dump-fixture").unwrap();
    fixtures::unpack(name, place.path()).unwrap();
    let store = fixtures::store_in(name, place.path());
    (place, store)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn dump(path: &Path, json: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
    let output = command.arg("dump").arg(path).args(json.then_some("--json")).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    dump(path, true).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Nothing that Dovecot writes is unknown, nor seems damaged.
#[test]
fn every_file_of_every_format() {
    for fixture in FIXTURES {
        let (_place, store) = unpacked(fixture);
        let all = files(&store);
        assert!(all.len() > 3, "{fixture}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
        // Its own content is what a folder of attachments has.
        let known = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // An mbox without messages is a file without bytes, as many a file is.
            let is_empty = fs::metadata(path).unwrap().len() == 0 && !name.starts_with("dovecot");
            !is_empty && !path.to_string_lossy().contains("attach")
        };
        let some: Vec<&PathBuf> = all.iter().filter(known).collect();
        let output = command.arg("dump").args(&some).arg("--json").output().unwrap();
        assert!(output.status.success(), "{fixture}: {}", String::from_utf8_lossy(&output.stderr));
        let mut told = BTreeMap::<String, u32>::new();
        let mut file = String::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let is_name = value.as_object().is_some_and(|object| object.len() == 1);
            if let Some(name) = value.get("file").and_then(Value::as_str).filter(|_| is_name) {
                file = name.to_owned();
                told.insert(file.clone(), 0);
                continue;
            }
            assert_ne!(value["kind"], "problem", "{file}: {value}");
            assert!(value.get("damage").is_none_or(|damage| damage == &Value::Array(Vec::new())), "{file}: {value}");
            *told.get_mut(&file).unwrap() += 1;
        }
        assert_eq!(told.len(), some.len());
        assert!(told.values().all(|lines| *lines > 0), "{told:?}");
    }
}

/// What `doveadm dump` says; `None` where there is none.
fn doveadm(place: &Place, path: &Path) -> Option<String> {
    if !Path::new(DOVEADM).exists() {
        skip("dumps beside Dovecot's", "doveadm");
        return None;
    }
    let (config, run) = (place.path().join("doveadm.conf"), place.path().display());
    fs::write(&config, format!("base_dir = {run}\nlog_path = /dev/stderr\nssl = no\n")).unwrap();
    let output = Command::new(DOVEADM).arg("-c").arg(config).arg("dump").arg(path).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number behind a word.
fn number(line: &str, word: &str) -> Option<u64> {
    let rest = &line[line.find(word)? + word.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn logs_as_dovecot_dumps_them() {
    for (fixture, log) in [
        ("sdbox", "mailboxes/INBOX/dbox-Mails/dovecot.index.log"),
        ("sdbox", "mailboxes/INBOX/dbox-Mails/dovecot.index.log.2"),
        ("sdbox", "dovecot.list.index.log"),
        ("mdbox", "storage/dovecot.map.index.log"),
        ("maildir", "dovecot.index.log"),
        ("mbox", ".imap/inbox/dovecot.index.log"),
    ] {
        let (place, store) = unpacked(fixture);
        let path = [store.join(log), store.join(log.replace("inbox", "INBOX"))].into_iter().find(|path| path.exists());
        let path = path.unwrap();
        let Some(theirs) = doveadm(&place, &path) else { return };
        let theirs: Vec<_> = theirs
            .lines()
            .filter(|line| line.starts_with("record: "))
            .map(|line| {
                let kind = line.split("type=").nth(1).unwrap().split([' ', ',']).next().unwrap().to_owned();
                (number(line, "offset="), kind, number(line, "size="), line.contains("(ext)"))
            })
            .collect();
        let ours: Vec<_> = lines(&path)
            .iter()
            .filter(|value| value.get("size").is_some())
            .map(|value| {
                let kind = value["kind"].as_str().unwrap().to_owned();
                let is_external = value.get("external").is_some_and(|external| external == true);
                (value["offset"].as_u64(), kind, value["size"].as_u64(), is_external)
            })
            .collect();
        assert!(theirs.len() > 3, "{fixture} {log}");
        let at =
            |all: &[(Option<u64>, String, Option<u64>, bool)]| all.iter().map(|r| (r.0, r.2, r.3)).collect::<Vec<_>>();
        assert_eq!(at(&ours), at(&theirs), "{fixture} {log}");
        for (one, other) in ours.iter().zip(&theirs) {
            assert!(one.1.starts_with(&other.1) || other.1.starts_with(&one.1), "{fixture} {log}: {one:?} {other:?}");
        }
    }
}

/// The table of extensions, which messages there are, and every record of the cache that belongs to one, with its fields.
#[test]
fn an_index_and_its_cache_as_dovecot_dumps_them() {
    let (place, store) = unpacked("sdbox");
    let folder = store.join("mailboxes/INBOX/dbox-Mails");
    let Some(theirs) = doveadm(&place, &folder.join("dovecot.index")) else { return };
    let ours = lines(&folder.join("dovecot.index"));
    let header = &ours[0];
    for (word, key) in [
        ("base header size ......... = ", "base_header_size"),
        ("header size .............. = ", "header_size"),
        ("record size .............. = ", "record_size"),
        ("index id ................. = ", "indexid"),
        ("uid validity ............. = ", "uid_validity"),
        ("next uid ................. = ", "next_uid"),
        ("messages count ........... = ", "messages_count"),
        ("day stamp ................ = ", "day_stamp"),
    ] {
        let line = theirs.lines().find(|line| line.starts_with(word)).unwrap();
        assert_eq!(header[key].as_u64(), number(line, word), "{key}");
    }
    let after = |word: &str| theirs.lines().filter_map(move |line| line.strip_prefix(word)).collect::<Vec<_>>();
    let of_ours = |key: &str| {
        let extensions = ours.iter().filter(|value| value["kind"] == "extension");
        extensions
            .map(|value| value[key].as_str().map_or_else(|| value[key].to_string(), str::to_owned))
            .collect::<Vec<_>>()
    };
    for (word, key) in [
        ("name ........ = ", "name"),
        ("hdr_size .... = ", "hdr_size"),
        ("record_size . = ", "record_size"),
        ("record_align  = ", "record_align"),
    ] {
        assert_eq!(of_ours(key), after(word), "{key}");
    }
    let uids: Vec<_> =
        theirs.lines().filter(|line| line.starts_with("RECORD: ")).map(|line| number(line, "uid=")).collect();
    let of_us: Vec<_> = ours.iter().filter(|v| v["kind"] == "record").map(|v| v["uid"].as_u64()).collect();
    assert_eq!(of_us, uids);

    let cache: BTreeMap<u64, (u64, u64, BTreeSet<String>)> = lines(&folder.join("dovecot.index.cache"))
        .iter()
        .filter(|value| value["kind"] == "record")
        .map(|value| {
            let number = |key: &str| value[key].as_u64().unwrap();
            let names = value["values"].as_array().unwrap().iter().map(|v| v["field"].as_str().unwrap().to_owned());
            (number("offset"), (number("size"), number("prev_offset"), names.collect()))
        })
        .collect();
    let (mut seen, mut current) = (0, None);
    for line in theirs.lines() {
        if line.starts_with(" - cache offset=") {
            let offset = number(line, "offset=").unwrap();
            let (size, before, names) = cache.get(&offset).unwrap_or_else(|| panic!("no record at {offset}"));
            assert_eq!(
                (Some(*size), Some(*before)),
                (number(line, " size="), number(line, "prev_offset = ")),
                "{line}"
            );
            (seen, current) = (seen + 1, Some(names));
        } else if let (Some(names), Some(field)) = (current, line.strip_prefix("    - ")) {
            let name = field.split(": ").next().unwrap().trim_end_matches(':');
            assert!(names.iter().any(|known| known.eq_ignore_ascii_case(name)), "{name} of {names:?}");
        } else {
            current = None;
        }
    }
    assert!(seen > 20, "{seen} records of the cache");
}

#[test]
fn dbox_files_and_journals_as_dovecot_dumps_them() {
    for (fixture, file) in [("sdbox", "mailboxes/INBOX/dbox-Mails/u.1"), ("mdbox", "storage/m.1")] {
        let (place, store) = unpacked(fixture);
        let Some(theirs) = doveadm(&place, &store.join(file)) else { return };
        let ours = &lines(&store.join(file))[0];
        let messages = ours["messages"].as_array().unwrap();
        let after = |word: &str| theirs.lines().filter_map(move |line| line.strip_prefix(word)).collect::<Vec<_>>();
        let offsets: Vec<_> = messages.iter().map(|message| format!("{}:", message["offset"])).collect();
        assert_eq!(offsets, after("offset "), "{file}");
        let sizes: Vec<_> = messages.iter().map(|message| message["body_len"].to_string()).collect();
        assert_eq!(sizes, after("msg.size = "), "{file}");
        let of = |key: &str| {
            let lines = messages.iter().flat_map(|message| message["metadata"].as_array().unwrap());
            lines
                .filter(|line| line["key"] == key)
                .map(|line| line["value"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("G"), after("msg.guid = "), "{file}");
        let decimal = |values: Vec<String>| {
            values.into_iter().map(|value| u64::from_str_radix(&value, 16).unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(decimal(of("V")), after("msg.virtual-size = "), "{file}");
        let received = theirs.lines().filter_map(|line| number(line.strip_prefix("msg.received")?, " = "));
        assert_eq!(decimal(of("R")), received.map(|number| number.to_string()).collect::<Vec<_>>(), "{file}");
    }
    let (place, store) = unpacked("sdbox");
    let path = store.join("dovecot.mailbox.log");
    let Some(theirs) = doveadm(&place, &path) else { return };
    let theirs: Vec<_> = theirs
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| {
            let mut words = line.split([' ', ':']).filter(|word| !word.is_empty());
            let (offset, guid) =
                (words.next().unwrap().to_owned(), words.find(|word| word.len() == 32).unwrap().to_owned());
            (offset, guid)
        })
        .collect();
    let ours: Vec<_> = lines(&path)
        .iter()
        .filter(|value| value["kind"] == "record")
        .map(|value| (value["offset"].to_string(), value["guid"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(ours, theirs);
}
