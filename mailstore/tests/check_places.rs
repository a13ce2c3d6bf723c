//! Checks of stores of which a part is elsewhere: alternate storage that is not mounted hides nothing for good, and a list of
//! mailboxes that is lost is looked at without being made anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod names_below;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Format, ListLayout, ListOptions, Store, StoreOptions,
    check::{CheckOptions, CheckReport, Finding, FindingKind, Outcome, check_storage},
    dbox::MoveTo,
    maildir::MaildirLayout,
    open_dbox,
};
use mailtypes::{Flag, Keyword, MailboxName, Uid, UidSet};
use names_below::names_below;

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn check(root: &Path, options: &StoreOptions, repair: bool) -> CheckReport {
    let what = CheckOptions { repair, deep: true, ..CheckOptions::default() };
    check_storage(&env(), root, options, &what, &mut |_| {}).unwrap()
}

fn problems(report: &CheckReport) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.is_problem()).collect()
}

fn fill(store: &Store, mailbox: &str) {
    let mailbox = store.mailbox(mailbox).unwrap();
    for n in 1..=5 {
        let text = format!("Subject: message {n}\r\n\r\n{}\r\n", "body ".repeat(n * 10));
        let keyword = Keyword::new(&format!("k{n}")).unwrap();
        mailbox.append(Append::new(text.as_bytes()).flag(Flag::Flagged).keyword(keyword)).unwrap();
    }
}

/// A message: UID, whether flagged, its keywords, whether it can be read.
type Message = (u32, bool, usize, bool);

/// What is shown of each mailbox.
fn shown(root: &Path, options: &StoreOptions) -> BTreeMap<String, Vec<Message>> {
    let store = Store::open_in(&env(), root, options).unwrap();
    let names = store.list().unwrap().into_iter().filter(|info| info.selectable);
    let of = |name: &str| {
        let view = store.mailbox(name).unwrap().view().unwrap();
        let all = view.messages().map(Result::unwrap);
        all.map(|m| (m.uid().value(), m.flags().contains(Flag::Flagged), m.keywords().len(), m.read().is_ok()))
            .collect()
    };
    names.map(|info| (info.name.to_string(), of(info.name.as_str()))).collect()
}

/// Every file with its content.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let content = |path: &Path, is_file: bool| if is_file { fs::read(path).unwrap() } else { Vec::new() };
    let names = names_below(root).into_iter();
    names.map(|(path, there)| (path.clone(), content(&path, there.is_file()))).collect()
}

/// Neither a store that Dovecot made, whose files have no second names, nor one whose second names are another index's.
#[test]
fn a_look_at_a_store_that_others_made_changes_nothing() {
    for format in [Format::Sdbox, Format::Mdbox, Format::Maildir(MaildirLayout::PlusPlus), Format::Mbox] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mail");
        fill(&Store::create_as(&root, format).unwrap(), "INBOX");
        let is_kept =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("culver.kept."));
        for path in tree(&root).keys().filter(|path| is_kept(path)) {
            fs::remove_file(path).unwrap();
        }
        let options = StoreOptions::default();
        let before = tree(&root);
        assert!(check(&root, &options, false).is_clean(), "{format}");
        assert_eq!(tree(&root), before, "{format}");
        if format == Format::Mdbox {
            let log = root.join("storage/dovecot.map.index.log");
            let other = Store::create_as(dir.path().join("other"), format).unwrap();
            fill(&other, "INBOX");
            drop(other);
            fs::copy(
                dir.path().join("other/storage/dovecot.map.index.log"),
                log.with_file_name("culver.kept.dovecot.map.index.log"),
            )
            .unwrap();
            let before = tree(&root);
            check(&root, &options, false);
            assert_eq!(tree(&root), before);
        }
    }
}

/// A store of which some messages were moved to alternate storage.
fn moved(format: Format) -> (tempfile::TempDir, PathBuf, StoreOptions) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    let list = ListOptions { alt: Some(dir.path().join("alt")), ..ListOptions::default() };
    let options = StoreOptions { format: Some(format), list, ..StoreOptions::default() };
    let store = Store::create_in(&env(), &root, &options).unwrap();
    fill(&store, "INBOX");
    drop(store);
    let uids: UidSet = [2, 4].into_iter().filter_map(Uid::new).collect();
    let storage = open_dbox(&env(), &root, &options).unwrap();
    storage.move_messages(&MailboxName::inbox(), &uids, MoveTo::Alternate).unwrap();
    (dir, root, options)
}

/// Ways in which alternate storage is not there: its folder gone, its folder empty, as a mount point is, not configured.
fn hide(dir: &Path, options: &StoreOptions, how: usize) -> StoreOptions {
    fs::rename(dir.join("alt"), dir.join("elsewhere")).unwrap();
    if how == 1 {
        fs::create_dir_all(dir.join("alt/lost+found")).unwrap();
    }
    let alt = options.list.alt.clone().filter(|_| how < 2);
    StoreOptions { list: ListOptions { alt, ..options.list.clone() }, ..options.clone() }
}

fn show_again(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join("alt"));
    fs::rename(dir.join("elsewhere"), dir.join("alt")).unwrap();
}

#[test]
fn alternate_storage_that_is_not_mounted_stops_every_repair() {
    for format in [Format::Sdbox, Format::Mdbox] {
        for how in 0..3 {
            let (dir, root, options) = moved(format);
            let before = shown(&root, &options);
            assert_eq!(before["INBOX"].len(), 5);
            let without = hide(dir.path(), &options, how);
            let files = tree(dir.path());
            let looked = check(&root, &without, false);
            let alternate =
                problems(&looked).into_iter().find(|finding| finding.kind == FindingKind::Alternate).unwrap();
            assert!(!alternate.what.is_empty() && !alternate.plan.is_empty() && alternate.mailbox.is_none());
            let report = check(&root, &without, true);
            assert!(!report.is_whole(), "{report:#?}");
            assert!(problems(&report).iter().all(|finding| finding.outcome == Outcome::Left), "{report:#?}");
            assert!(problems(&report)[0].what.contains("nothing is repaired"), "{report:#?}");
            assert_eq!(tree(dir.path()), files, "not a byte changes");
            show_again(dir.path());
            assert_eq!(shown(&root, &options), before);
            assert!(check(&root, &options, true).is_clean());
        }
    }
}

/// Nothing in the store tells of alternate storage but the records of the messages that were moved there.
#[test]
fn records_of_messages_in_alternate_storage_stay() {
    for how in 0..3 {
        let (dir, root, options) = moved(Format::Sdbox);
        fs::remove_file(root.join("dbox-alt-root")).unwrap();
        // One that is lost indeed.
        fs::remove_file(root.join("mailboxes/INBOX/dbox-Mails/u.5")).unwrap();
        let before = shown(&root, &options);
        let without = hide(dir.path(), &options, how);
        let report = check(&root, &without, true);
        let of = |kind: FindingKind| {
            let found = problems(&report).into_iter().filter(move |finding| finding.kind == kind);
            found.map(|finding| (finding.uid.unwrap().value(), finding.outcome.clone())).collect::<Vec<_>>()
        };
        assert_eq!(of(FindingKind::Alternate), [(2, Outcome::Left), (4, Outcome::Left)]);
        assert_eq!(of(FindingKind::BodyMissing), [(5, Outcome::Repaired)]);
        // Nor does an index that is made anew forget them.
        let log = root.join("mailboxes/INBOX/dbox-Mails/dbox-Mails");
        assert!(!log.exists());
        for name in ["dovecot.index.log", "dovecot.index"] {
            let _ = fs::remove_file(root.join("mailboxes/INBOX/dbox-Mails").join(name));
        }
        assert_eq!(shown(&root, &without)["INBOX"].len(), 4);
        show_again(dir.path());
        let after = shown(&root, &options);
        assert_eq!(after["INBOX"], before["INBOX"][..4], "flags and keywords as they were");
        assert!(check(&root, &options, false).is_clean());
    }
}

/// sdbox and mdbox, mailboxes in folders by their GUIDs.
fn by_guid(format: Format) -> (tempfile::TempDir, PathBuf, StoreOptions) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    let options = StoreOptions { format: Some(format), list, ..StoreOptions::default() };
    let store = Store::create_in(&env(), &root, &options).unwrap();
    for name in ["Work", "Work/2024", "Archive"] {
        store.create_mailbox(name).unwrap();
        fill(&store, name);
    }
    fill(&store, "INBOX");
    drop(store);
    (dir, root, options)
}

#[test]
fn a_list_of_names_is_looked_at_as_it_is() {
    for format in [Format::Sdbox, Format::Mdbox] {
        let (_dir, root, options) = by_guid(format);
        let before = shown(&root, &options);
        assert_eq!(before.len(), 4);
        let files = tree(&root);
        let sound = check(&root, &options, false);
        assert!(sound.is_clean(), "{sound:#?}");
        assert_eq!((sound.mailboxes, sound.messages), (4, 20));
        assert_eq!(tree(&root), files);
        for harm in [
            |path: &Path| fs::remove_file(path).unwrap(),
            |path: &Path| fs::write(path, [7; 100]).unwrap(),
            |path: &Path| fs::write(path, "").unwrap(),
        ] {
            let _ = fs::remove_file(root.join("dovecot.list.index"));
            harm(&root.join("dovecot.list.index.log"));
            let files = tree(&root);
            let report = check(&root, &options, false);
            assert!(problems(&report).iter().any(|finding| finding.kind == FindingKind::ListIndex), "{report:#?}");
            assert_eq!((report.mailboxes, report.messages), (4, 20), "their mailboxes are looked at all the same");
            assert_eq!(tree(&root), files, "without a repair not a byte changes");
            let report = check(&root, &options, true);
            assert!(report.is_whole() && report.count(&Outcome::Repaired) > 0, "{report:#?}");
            assert_eq!(shown(&root, &options), before);
            assert!(check(&root, &options, false).is_clean());
        }
    }
}

#[test]
fn a_mailbox_that_no_name_leads_to() {
    let (_dir, root, options) = by_guid(Format::Sdbox);
    let old = fs::read(root.join("dovecot.list.index.log")).unwrap();
    let store = Store::open_in(&env(), &root, &options).unwrap();
    store.create_mailbox("New").unwrap();
    fill(&store, "New");
    drop(store);
    let before = shown(&root, &options);
    let _ = fs::remove_file(root.join("dovecot.list.index"));
    fs::write(root.join("dovecot.list.index.log"), old).unwrap();
    let report = check(&root, &options, false);
    assert_eq!(report.mailboxes, 5);
    assert_eq!(problems(&report).len(), 1, "{report:#?}");
    assert!(problems(&report)[0].plan.contains("New"), "{report:#?}");
    assert!(check(&root, &options, true).is_whole());
    assert_eq!(shown(&root, &options), before);
}

#[test]
fn a_name_that_leads_nowhere() {
    let (dir, root, options) = by_guid(Format::Sdbox);
    let work = Store::open_in(&env(), &root, &options).unwrap().mailbox("Work").unwrap().mailbox().guid();
    let folder = root.join("mailboxes").join(work.to_string());
    fs::rename(&folder, dir.path().join("kept")).unwrap();
    let report = check(&root, &options, true);
    assert_eq!(problems(&report).len(), 1, "{report:#?}");
    assert_eq!((problems(&report)[0].kind, &problems(&report)[0].outcome), (FindingKind::ListIndex, &Outcome::Left));
    fs::rename(dir.path().join("kept"), folder).unwrap();
    assert!(check(&root, &options, false).is_clean());
    assert_eq!(shown(&root, &options)["Work"].len(), 5);
}
