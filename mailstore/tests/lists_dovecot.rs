//! Lists of mailboxes beside a real Dovecot 2.3: names that must be escaped or are written in UTF-8, several namespaces,
//! STATUS values in the list index, the log for replication.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod dovecot;
mod located;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use dovecot::Imap;
use located::located;
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Format, ListLayout, ListOptions, ListPattern, MailStorage, MailboxLogKind, NamespaceKind, StorageError,
    Store, StoreOptions, create_storage,
    maildir::{MaildirLayout, MaildirSeparator},
    namespaces::{Listing, Namespace, Namespaces},
    read_mailbox_log,
};
use mailtypes::{MailboxName, mutf7};

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

/// Names that LIST tells, with their flags, in UTF-8.
fn listed_by_dovecot(imap: &mut Imap, command: &str) -> BTreeSet<(String, bool)> {
    let mut names = BTreeSet::new();
    for line in imap.run(command) {
        let line = String::from_utf8(line).unwrap();
        let (head, name) = line.split_once("\"/\" ").unwrap();
        let name = name.trim_matches('"').replace("\\\\", "\\");
        let selectable = !head.to_ascii_lowercase().contains("\\noselect");
        names.insert((mutf7::decode(name.as_bytes()).unwrap(), selectable));
    }
    names
}

fn listed_by_us(storage: &dyn MailStorage, pattern: &str) -> BTreeSet<(String, bool)> {
    let found = storage.list(&ListPattern::new(pattern).unwrap()).unwrap();
    found.into_iter().map(|info| (info.name.to_string(), info.selectable)).collect()
}

/// Stores whose names are written otherwise: location, lines of configuration, and how we open them.
fn kinds() -> Vec<(&'static str, &'static str, StoreOptions)> {
    const ESCAPE: &str = "mail_plugins = listescape\n";
    let list = |list: ListOptions| StoreOptions { list, ..StoreOptions::default() };
    let escape = || ListOptions { escape: Some('\\'), ..ListOptions::default() };
    let maildir = |layout, options: StoreOptions| StoreOptions {
        format: Some(Format::Maildir(layout)),
        separator: MaildirSeparator::Slash,
        ..options
    };
    let index = || ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    vec![
        ("sdbox:ROOT", ESCAPE, list(escape())),
        ("maildir:ROOT", ESCAPE, maildir(MaildirLayout::PlusPlus, list(escape()))),
        ("sdbox:ROOT:UTF-8", "", list(ListOptions { utf8: true, ..ListOptions::default() })),
        ("sdbox:ROOT:UTF-8:LAYOUT=index", "", list(ListOptions { utf8: true, ..index() })),
        (
            "maildir:ROOT:UTF-8",
            "",
            maildir(MaildirLayout::PlusPlus, list(ListOptions { utf8: true, ..ListOptions::default() })),
        ),
        (
            "sdbox:ROOT:DIRNAME=mails:MAILBOXDIR=boxes:SUBSCRIPTIONS=subs",
            "",
            list(ListOptions {
                mails_dir: Some("mails".to_owned()),
                mailboxes_dir: Some("boxes".to_owned()),
                subscriptions: Some("subs".to_owned()),
                ..ListOptions::default()
            }),
        ),
        ("sdbox:ROOT:NO-NOSELECT", "", list(ListOptions { no_empty_levels: true, ..ListOptions::default() })),
    ]
}

#[test]
fn names_are_written_as_dovecot_writes_them() {
    if !dovecot::is_installed() {
        return;
    }
    for (location, more, mut options) in kinds() {
        let escapes = options.list.escape.is_some();
        options.format = options.format.or(Some(Format::Sdbox));
        let ours = if escapes {
            ["a.b", "~home", "Ärger/x.y", "back\\slash", "dbox-Mails", "c/~d"]
        } else {
            ["a/b", "Ärger/x", "日本語", "x & y", "dbox-Mails2", "c/d"]
        };
        let theirs = ours.map(|name| format!("2{name}/three"));
        let (shared, root) = located(location, more);
        let storage = create_storage(&env(), &root, &options).unwrap();
        for mailbox in ours {
            storage.create(&name(mailbox)).unwrap();
            storage.subscribe(&name(mailbox)).unwrap();
        }
        let mut imap = shared.imap();
        let seen = listed_by_dovecot(&mut imap, "LIST \"\" *");
        assert_eq!(seen, listed_by_us(&*storage, "*"), "{location}");
        for mailbox in ours {
            assert!(seen.contains(&(mailbox.to_owned(), true)), "{location}: {mailbox} in {seen:?}");
        }
        let command = |verb: &str, name: &str| format!("{verb} \"{}\"", mutf7::encode(name).replace('\\', "\\\\"));
        for mailbox in &theirs {
            imap.run(command("CREATE", mailbox));
            imap.run(command("SUBSCRIBE", mailbox));
        }
        imap.run(command("DELETE", ours[0]));
        let after = listed_by_us(&*storage, "*");
        assert_eq!(listed_by_dovecot(&mut imap, "LIST \"\" *"), after, "{location}");
        for mailbox in &theirs {
            assert!(after.contains(&(mailbox.clone(), true)), "{location}: {mailbox} in {after:?}");
        }
        storage.delete(&name(&theirs[1])).unwrap();
        storage.rename(&name(&theirs[2]), &name("renamed/to")).unwrap();
        shared.own();
        let mut imap = shared.imap();
        let seen = listed_by_dovecot(&mut imap, "LIST \"\" *");
        assert_eq!(seen, listed_by_us(&*storage, "*"), "{location}");
        let subscribed: BTreeSet<String> = storage.subscriptions().unwrap().iter().map(ToString::to_string).collect();
        let told: BTreeSet<String> = listed_by_dovecot(&mut imap, "LSUB \"\" *").into_iter().map(|(n, _)| n).collect();
        assert_eq!(subscribed, told, "{location}");
        assert_eq!(shared.complaints(), [""; 0], "{location}");
    }
}

/// What is not written as anybody writes it is shown as Dovecot shows it, if it is told with what.
#[test]
fn names_in_another_spelling() {
    if !dovecot::is_installed() {
        return;
    }
    let (shared, root) = located("sdbox:ROOT:BROKENCHAR=^", "");
    let list = ListOptions { broken: Some('^'), ..ListOptions::default() };
    let storage = create_storage(&env(), &root, &StoreOptions { list, ..StoreOptions::default() }).unwrap();
    for level in ["&AGE-", "ä", "&x", "plain"] {
        fs::create_dir_all(root.join("mailboxes").join(level).join("dbox-Mails")).unwrap();
    }
    let mut imap = shared.imap();
    assert_eq!(listed_by_dovecot(&mut imap, "LIST \"\" *"), listed_by_us(&*storage, "*"));
    assert_eq!(storage.mailbox(&name("^26AGE-")).unwrap().status().unwrap().messages, 0);
    storage.delete(&name("^c3^a4")).unwrap();
    assert!(!root.join("mailboxes/ä").exists());
}

const SPACES: &str = "
namespace archive {
  prefix = Archive/
  separator = /
  location = maildir:ROOT-archive
}
namespace hid {
  prefix = hidden/
  separator = /
  list = no
  hidden = yes
  location = sdbox:ROOT-hidden
}
namespace pub {
  prefix = Public/
  type = public
  separator = /
  subscriptions = no
  list = children
  location = sdbox:ROOT-public
}
";

fn spaces(root: &Path) -> Namespaces {
    let env = env();
    let beside = |end: &str| root.with_file_name(format!("mail-{end}"));
    let storage = |path: &Path, format, inbox: bool| {
        let list = ListOptions { without_inbox: !inbox, ..ListOptions::default() };
        let options = StoreOptions { format: Some(format), list, ..StoreOptions::default() };
        create_storage(&env, path, &options).unwrap()
    };
    let space = |prefix: &str, storage| Namespace {
        prefix: prefix.to_owned(),
        kind: NamespaceKind::Personal,
        inbox: prefix.is_empty(),
        hidden: false,
        list: Listing::Yes,
        subscriptions: true,
        storage,
    };
    let own = space("", storage(root, Format::Sdbox, true));
    let flat = Format::Maildir(MaildirLayout::PlusPlus);
    let archive = space("Archive/", storage(&beside("archive"), flat, false));
    let hidden = space("hidden/", storage(&beside("hidden"), Format::Sdbox, false));
    let public = space("Public/", storage(&beside("public"), Format::Sdbox, false));
    let hidden = Namespace { hidden: true, list: Listing::No, ..hidden };
    let public = Namespace { kind: NamespaceKind::Shared, subscriptions: false, list: Listing::Children, ..public };
    Namespaces::new(vec![own, archive, hidden, public], '/').unwrap()
}

#[test]
fn namespaces_are_dovecots() {
    if !dovecot::is_installed() {
        return;
    }
    let (shared, root) = located("sdbox:ROOT", SPACES);
    let ours = spaces(&root);
    let mut imap = shared.imap();
    let compare = |imap: &mut Imap, when: &str| {
        shared.own();
        for pattern in ["*", "%", "Archive/%", "Archive/*", "hidden/*", "hid*", "Pub%", "INBOX", "Public"] {
            let theirs = listed_by_dovecot(imap, &format!("LIST \"\" {pattern}"));
            assert_eq!(listed_by_us(&ours, pattern), theirs, "{when}: {pattern}");
        }
        for pattern in ["*", "hidden/*", "hidden/x", "hid*", "Archive/*"] {
            let told = listed_by_dovecot(imap, &format!("LSUB \"\" {pattern}"));
            let told: BTreeSet<String> = told.into_iter().map(|(name, _)| name).collect();
            let pattern = ListPattern::new(pattern).unwrap();
            let subscribed = ours.subscriptions_for(&pattern).unwrap();
            let subscribed = subscribed.iter().filter(|name| pattern.matches(name)).map(ToString::to_string);
            assert_eq!(subscribed.collect::<BTreeSet<_>>(), told, "{when}: {pattern:?}");
        }
    };
    compare(&mut imap, "at first");
    for mailbox in ["Archive/2024/a", "Archive/b", "hidden/x", "plain/c"] {
        ours.create(&name(mailbox)).unwrap();
        ours.subscribe(&name(mailbox)).unwrap();
    }
    compare(&mut imap, "after ours");
    for command in [
        "CREATE Public/p",
        "SUBSCRIBE Public/p",
        "CREATE Archive/c/d",
        "SUBSCRIBE Archive/c/d",
        "RENAME Archive/b Archive/e",
        "UNSUBSCRIBE plain/c",
    ] {
        imap.run(command);
    }
    compare(&mut imap, "after theirs");
    // The prefixes themselves, of which one keeps no subscriptions of its own.
    ours.subscribe(&name("Archive")).unwrap();
    ours.subscribe(&name("Public")).unwrap();
    imap.run("SUBSCRIBE hidden");
    compare(&mut imap, "with prefixes");
    let lines = |place: &str| fs::read_to_string(root.with_file_name(place).join("subscriptions")).unwrap();
    assert!(lines("mail-archive").ends_with("\n\n") && lines("mail-hidden").ends_with("\n\n"));
    imap.run("UNSUBSCRIBE Archive");
    let public = |file: &str| lines("mail").lines().any(|line| line == file);
    assert!(public("Public\t"), "{:?}", lines("mail"));
    imap.run("UNSUBSCRIBE Public");
    assert!(!public("Public\t"));
    imap.run("SUBSCRIBE Public");
    ours.unsubscribe(&name("Public")).unwrap();
    assert!(!public("Public\t"));
    ours.unsubscribe(&name("hidden")).unwrap();
    assert!(!lines("mail-archive").ends_with("\n\n") && !lines("mail-hidden").ends_with("\n\n"));
    compare(&mut imap, "without prefixes");
    ours.rename(&name("Archive/c"), &name("Archive/f/g")).unwrap();
    ours.unsubscribe(&name("Public/p")).unwrap();
    ours.delete(&name("Public/p")).unwrap();
    assert!(ours.rename(&name("plain/c"), &name("Archive/c")).is_err());
    compare(&mut imap, "at last");
    assert_eq!(ours.status(&name("Archive/f/g/d")).unwrap().messages, 0);
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Names of a namespace that keeps its subscriptions in another's list, of which one has dots between levels.
#[test]
fn subscriptions_that_others_keep_are_dovecots() {
    if !dovecot::is_installed() {
        return;
    }
    for (location, inner) in [("maildir:ROOT", "sdbox"), ("maildir:ROOT", "maildir"), ("sdbox:ROOT", "sdbox")] {
        let space = format!(
            "namespace pub {{\n prefix = Nosub/\n separator = /\n subscriptions = no\n location = {inner}:ROOT-public\n}}\n"
        );
        let (shared, root) = located(location, &space);
        let env = env();
        let storage = |path: &Path, is_maildir: bool, inbox: bool| {
            let list = ListOptions { without_inbox: !inbox, ..ListOptions::default() };
            let format = if is_maildir { Format::Maildir(MaildirLayout::PlusPlus) } else { Format::Sdbox };
            let separator = MaildirSeparator::Slash;
            create_storage(
                &env,
                path,
                &StoreOptions { format: Some(format), list, separator, ..StoreOptions::default() },
            )
            .unwrap()
        };
        let space = |prefix: &str, storage| Namespace {
            prefix: prefix.to_owned(),
            kind: NamespaceKind::Personal,
            inbox: prefix.is_empty(),
            hidden: false,
            list: Listing::Yes,
            subscriptions: prefix.is_empty(),
            storage,
        };
        let own = space("", storage(&root, location.starts_with("maildir"), true));
        let other = space("Nosub/", storage(&root.with_file_name("mail-public"), inner == "maildir", false));
        let ours = Namespaces::new(vec![own, other], '/').unwrap();
        let mut imap = shared.imap();
        let compare = |imap: &mut Imap, expected: &[&str], when: &str| {
            shared.own();
            let told: BTreeSet<String> = listed_by_dovecot(imap, "LSUB \"\" *").into_iter().map(|(n, _)| n).collect();
            let subscribed: BTreeSet<String> = ours.subscriptions().unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(subscribed, told, "{location} {inner}, {when}");
            let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(subscribed, expected, "{location} {inner}, {when}");
        };
        for (n, mailbox) in ["Nosub/k", "Nosub/a/b", "Nosub", "own", "Nosub/l", "Nosub/c/d"].into_iter().enumerate() {
            if mailbox != "Nosub" {
                ours.create(&name(mailbox)).unwrap();
                shared.own();
            }
            match n < 3 {
                true => drop(imap.run(format!("SUBSCRIBE {mailbox}"))),
                false => ours.subscribe(&name(mailbox)).unwrap(),
            }
        }
        let all = ["Nosub", "Nosub/a/b", "Nosub/c/d", "Nosub/k", "Nosub/l", "own"];
        compare(&mut imap, &all, "after both");
        imap.run("UNSUBSCRIBE Nosub/l");
        ours.unsubscribe(&name("Nosub/k")).unwrap();
        ours.unsubscribe(&name("Nosub/a/b")).unwrap();
        shared.own();
        imap.run("UNSUBSCRIBE Nosub/c/d");
        compare(&mut imap, &["Nosub", "own"], "without some");
        assert_eq!(shared.complaints(), [""; 0], "{location} {inner}");
    }
}

/// The folder of a namespace's storage is a mailbox itself, if somebody makes it one.
#[test]
fn a_prefix_is_a_mailbox_as_with_dovecot() {
    if !dovecot::is_installed() {
        return;
    }
    let (shared, _) = located("sdbox:ROOT", SPACES);
    let ours = Arc::new(spaces(&shared.dir.path().join("mail")));
    let mut imap = shared.imap();
    let message = b"Subject: x\r\n\r\nx\r\n";
    for (prefix, is_ours) in [("Archive", true), ("Public", true), ("hidden", false)] {
        assert!(matches!(ours.status(&name(prefix)), Err(StorageError::NotFound(_) | StorageError::NotSelectable(_))));
        match is_ours {
            true => ours.create(&name(prefix)).unwrap(),
            false => drop(imap.run(format!("CREATE {prefix}"))),
        }
        assert!(matches!(ours.create(&name(prefix)), Err(StorageError::AlreadyExists(n)) if n == name(prefix)));
        ours.create(&name(&format!("{prefix}/below"))).unwrap();
        shared.own();
        imap.run([format!("APPEND {prefix} {{{}+}}\r\n", message.len()).as_bytes(), message].concat());
        let mailbox = ours.mailbox(&name(prefix)).unwrap();
        assert_eq!((mailbox.name(), mailbox.status().unwrap().messages), (&name(prefix), 1));
        let store = Store::of(Arc::clone(&ours) as Arc<dyn MailStorage>);
        store.mailbox(prefix).unwrap().append(Append::new(message)).unwrap();
        shared.own();
        let told = imap.run(format!("STATUS {prefix} (MESSAGES)"));
        assert!(told.concat().ends_with(b"(MESSAGES 2)"), "{prefix}");
        for pattern in ["*", "%", prefix] {
            let theirs = listed_by_dovecot(&mut imap, &format!("LIST \"\" {pattern}"));
            assert_eq!(listed_by_us(&*ours, pattern), theirs, "{prefix}: {pattern}");
        }
        assert!(ours.delete(&name(prefix)).is_err() && ours.rename(&name(prefix), &name("other")).is_err());
    }
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Both do the same to stores of their own, and note the same.
#[test]
fn replication_is_told_what_dovecot_tells() {
    if !dovecot::is_installed() {
        return;
    }
    for location in ["sdbox:ROOT", "maildir:ROOT", "sdbox:ROOT:LAYOUT=index"] {
        let (theirs, _) = located(location, "");
        let mut imap = theirs.imap();
        let dir = tempfile::tempdir().unwrap();
        let layout = if location.ends_with("index") { ListLayout::Index } else { ListLayout::Folders };
        let is_maildir = location.starts_with("maildir");
        let options = StoreOptions {
            format: Some(if is_maildir { Format::Maildir(MaildirLayout::PlusPlus) } else { Format::Sdbox }),
            separator: MaildirSeparator::Slash,
            list: ListOptions { layout: Some(layout), ..ListOptions::default() },
            ..StoreOptions::default()
        };
        let ours = create_storage(&env(), dir.path(), &options).unwrap();
        for command in [
            "CREATE &AOQ-/b",
            "CREATE c",
            "SUBSCRIBE c",
            "RENAME c d",
            "UNSUBSCRIBE c",
            "SUBSCRIBE &AOQ-/b",
            "DELETE d",
            "CREATE &AOQ-/b/e",
            "DELETE &AOQ-/b/e",
            "DELETE &AOQ-/b",
        ] {
            imap.run(command);
            let words: Vec<&str> = command.split(' ').collect();
            let named = |at: usize| name(&mutf7::decode(words[at].as_bytes()).unwrap());
            match words[0] {
                "CREATE" => ours.create(&named(1)).unwrap(),
                "DELETE" => ours.delete(&named(1)).unwrap(),
                "RENAME" => ours.rename(&named(1), &named(2)).unwrap(),
                "SUBSCRIBE" => ours.subscribe(&named(1)).unwrap(),
                _ => ours.unsubscribe(&named(1)).unwrap(),
            }
        }
        let told = |root: &Path| -> Vec<_> {
            let records = read_mailbox_log(&RealDisk::new(), root).unwrap();
            // Identities of mailboxes are each store's own.
            let guid = |r: &mailstore::MailboxLogRecord| (r.kind != MailboxLogKind::MailboxDeleted).then_some(r.guid);
            records.iter().map(|record| (record.kind, guid(record))).collect()
        };
        assert_eq!(told(dir.path()), told(&theirs.dir.path().join("mail")), "{location}");
    }
}

/// What we found out serves a process to come and a Dovecot, which finds nothing wrong with it.
#[test]
fn status_values_are_kept_in_the_list_index() {
    if !dovecot::is_installed() {
        return;
    }
    for (location, format) in
        [("sdbox:ROOT", Format::Sdbox), ("maildir:ROOT", Format::Maildir(MaildirLayout::PlusPlus))]
    {
        let (shared, root) = located(location, "");
        let options =
            StoreOptions { format: Some(format), separator: MaildirSeparator::Slash, ..StoreOptions::default() };
        let open = || Store::create_in(&env(), &root, &options).unwrap();
        let boxes: Vec<String> = (0..20).map(|n| format!("Ärger/box {n}")).collect();
        let store = open();
        for (n, mailbox) in boxes.iter().enumerate() {
            store.create_mailbox(mailbox).unwrap();
            for _ in 0..n % 3 {
                store.mailbox(mailbox).unwrap().append(Append::new(b"Subject: x\r\n\r\nx\r\n")).unwrap();
            }
        }
        drop(store);
        shared.own();
        let status = |store: &Store| -> Vec<_> {
            boxes.iter().map(|mailbox| store.storage().status_and_size(&name(mailbox)).unwrap()).collect()
        };
        let log = root.join("dovecot.list.index.log");
        let has = |bytes: &[u8], name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
        let is_written = || fs::read(&log).is_ok_and(|bytes| has(&bytes, b"culver-status") && has(&bytes, b"vsize"));
        // Indexes note the folders' times first, whoever looks; then everything is to be at rest.
        let env = env();
        let mut looked = status(&open());
        for _ in 0..4 {
            std::thread::sleep(Duration::from_secs(4));
            looked = status(&Store::create_in(&env, &root, &options).unwrap());
            for _ in 0..100 {
                if is_written() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if is_written() {
                break;
            }
        }
        assert!(is_written(), "{location}");
        drop(env);
        // With the indexes gone it could not be told otherwise.
        let fresh = open();
        assert_eq!(status(&fresh), looked, "{location}");
        let moved = root.with_file_name("index-of-one");
        let index = match format {
            Format::Sdbox => root.join("mailboxes/&AMQ-rger/box 1/dbox-Mails/dovecot.index.cache"),
            _ => root.join(".&AMQ-rger.box 1/dovecot.index.cache"),
        };
        let _ = fs::rename(index, moved);
        assert_eq!(status(&open()), looked, "{location}");
        shared.own();
        let mut imap = shared.imap();
        for (mailbox, (expect, size)) in boxes.iter().zip(&looked) {
            let items = "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ SIZE)";
            let told = imap.run(format!("STATUS \"{}\" {items}", mutf7::encode(mailbox)));
            let told = String::from_utf8(told.concat()).unwrap();
            let wanted = format!(
                "(MESSAGES {} UIDNEXT {} UIDVALIDITY {} UNSEEN {} HIGHESTMODSEQ {} SIZE {size})",
                expect.messages,
                expect.uid_next,
                expect.uid_validity.value(),
                expect.unseen,
                expect.highest_modseq.value()
            );
            assert!(told.ends_with(&wanted), "{location}: {told} is not {wanted}");
        }
        assert_eq!(shared.complaints(), [""; 0], "{location}");
    }
}
