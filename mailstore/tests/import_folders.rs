//! Sources with links in them, and with folders that cannot be mailboxes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use mailfs::RealDisk;
use mailstore::{
    ListPattern, MailStorage, ViewAs,
    import::{ImportOptions, ImportSummary, SourceKind, detect, import},
    memory::{MemoryOptions, MemoryStorage},
};

struct Place {
    dir: tempfile::TempDir,
    storage: MemoryStorage,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), storage: MemoryStorage::new(MemoryOptions::default()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("A: {name}\n\n")).unwrap();
    }

    /// A Maildir with one message.
    fn maildir(&self, name: &str) {
        ["tmp", "new", "cur"].iter().for_each(|sub| fs::create_dir_all(self.path(name).join(sub)).unwrap());
        self.file(&format!("{name}/cur/1.a:2,S"));
    }

    fn import(&self, kind: SourceKind) -> ImportSummary {
        assert_eq!(detect(&RealDisk::new(), &self.path("in")).unwrap(), kind);
        let options = ImportOptions::default();
        let summary = import(&RealDisk::new(), &self.path("in"), &self.storage, &options, &mut |_| {}).unwrap();
        assert_eq!(summary.progress.done, summary.progress.size);
        summary
    }

    /// The mailboxes that hold messages, and how many.
    fn counts(&self) -> Vec<(String, u32)> {
        let listed = self.storage.list(&ListPattern::all()).unwrap().into_iter().filter(|info| info.selectable);
        let count = |name: &_| self.storage.mailbox(name).unwrap().view(&ViewAs::default()).unwrap().message_count();
        listed.map(|info| (info.name.to_string(), count(&info.name))).filter(|(_, count)| *count > 0).collect()
    }

    /// What failed, below the source.
    fn failed(&self, summary: &ImportSummary) -> Vec<String> {
        let root = format!("{}/", self.path("in").display());
        let mut failed: Vec<_> = summary.failures.iter().map(|f| f.what.replace(&root, "")).collect();
        failed.sort();
        assert_eq!(failed.len() as u64, summary.progress.failed);
        failed
    }
}

fn of(counts: &[(&str, u32)]) -> Vec<(String, u32)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn links_in_a_maildir_are_followed() {
    let place = Place::new();
    ["in", "in/.Own", "in/tree/own", "elsewhere/mail"].iter().for_each(|name| place.maildir(name));
    place.file("elsewhere/message");
    symlink("../../elsewhere/message", place.path("in/cur/2.b:2,")).unwrap();
    symlink("../../elsewhere", place.path("in/cur/3.dir")).unwrap();
    symlink("/nonexistent", place.path("in/cur/4.gone")).unwrap();
    symlink("../elsewhere/mail", place.path("in/.Linked")).unwrap();
    symlink("/nonexistent", place.path("in/.Gone")).unwrap();
    symlink("../../elsewhere", place.path("in/tree/linked")).unwrap();
    // Back to where the search is: nothing comes twice.
    symlink("../..", place.path("in/tree/own/loop")).unwrap();
    symlink(".", place.path("in/tree/self")).unwrap();
    let summary = place.import(SourceKind::Maildir);
    let expect = [("INBOX", 2), ("Linked", 1), ("Own", 1), ("tree/linked/mail", 1), ("tree/own", 1)];
    assert_eq!(place.counts(), of(&expect));
    assert_eq!(place.failed(&summary), [".Gone", "cur/4.gone"]);
    let told: Vec<_> = summary.failures.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.ends_with("/.Gone: the link leads nowhere")), "{told:?}");
    let again = place.import(SourceKind::Maildir).progress;
    assert_eq!((again.imported, again.skipped, again.failed), (0, 6, 2));
}

#[test]
fn links_among_eml_files_are_followed() {
    let place = Place::new();
    ["in/a.eml", "in/Sub/b.eml", "elsewhere/c.eml", "elsewhere/d"].iter().for_each(|name| place.file(name));
    symlink("../elsewhere", place.path("in/Linked")).unwrap();
    symlink("../elsewhere/d", place.path("in/d.eml")).unwrap();
    symlink("/nonexistent", place.path("in/gone.eml")).unwrap();
    symlink("..", place.path("in/Sub/loop")).unwrap();
    let summary = place.import(SourceKind::Eml);
    assert_eq!(place.counts(), of(&[("INBOX", 2), ("Linked", 1), ("Sub", 1)]));
    assert_eq!(place.failed(&summary), ["gone.eml"]);
}

#[test]
fn a_source_of_links_alone_is_known() {
    let place = Place::new();
    ["elsewhere", "mail/deep/box"].iter().for_each(|name| place.maildir(name));
    fs::create_dir(place.path("in")).unwrap();
    symlink("../mail", place.path("in/tree")).unwrap();
    place.import(SourceKind::Maildir);
    assert_eq!(place.counts(), of(&[("tree/deep/box", 1)]));
}

#[test]
fn folders_that_cannot_be_mailboxes_cost_no_other() {
    let place = Place::new();
    let odd = [".a..b", ".x.", "..x", ".t\tab", ".c\u{1}", "t\tab"];
    place.maildir("in");
    odd.iter().for_each(|name| place.maildir(&format!("in/{name}")));
    ["in/.Good", "in/plain/good"].iter().for_each(|name| place.maildir(name));
    let summary = place.import(SourceKind::Maildir);
    assert_eq!(place.counts(), of(&[("INBOX", 1), ("Good", 1), ("plain/good", 1)]));
    let mut expect = odd.to_vec();
    expect.sort_unstable();
    assert_eq!(place.failed(&summary), expect);
    assert!(summary.failures.iter().all(|f| f.to_string().contains("cannot name a mailbox")));
}

#[test]
fn folders_of_eml_files_with_odd_names_cost_no_other() {
    let place = Place::new();
    ["in/a.eml", "in/t\tab/b.eml", "in/Sub/c\u{1}/c.eml", "in/Sub/d.eml"].iter().for_each(|name| place.file(name));
    let summary = place.import(SourceKind::Eml);
    assert_eq!(place.counts(), of(&[("INBOX", 1), ("Sub", 1)]));
    assert_eq!(place.failed(&summary), ["Sub/c\u{1}", "t\tab"]);
}

#[test]
fn folders_below_each_other_end_somewhere() {
    let place = Place::new();
    place.maildir("in");
    // Each of them is INBOX.
    place.maildir(&format!("in{}", "/INBOX".repeat(100)));
    let summary = place.import(SourceKind::Maildir);
    assert_eq!((place.counts(), summary.progress.failed), (of(&[("INBOX", 1)]), 1));
    assert!(summary.failures[0].to_string().contains("too deep"), "{}", summary.failures[0]);
}

/// A folder whose list of keywords cannot be read is left for a later run, which then has them.
#[test]
fn a_mailbox_that_cannot_be_begun_costs_no_other() {
    let place = Place::new();
    ["in", "in/.A", "in/.B"].iter().for_each(|name| place.maildir(name));
    symlink("dovecot-keywords", place.path("in/.A/dovecot-keywords")).unwrap();
    let summary = place.import(SourceKind::Maildir);
    assert_eq!(place.counts(), of(&[("INBOX", 1), ("B", 1)]));
    assert_eq!(place.failed(&summary), [".A"]);
    fs::remove_file(place.path("in/.A/dovecot-keywords")).unwrap();
    assert_eq!(place.import(SourceKind::Maildir).progress.imported, 1);
}
