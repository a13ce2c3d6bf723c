//! Maildir while other programs and the administrator change its files: added, renamed, re-flagged, doubled, lost.

#![allow(clippy::unwrap_used, reason = "a test")]

mod meddled_disk;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use mailfs::{DirEntry, FileSystem, OpenMode, RealDisk, sim::SimDisk};
use mailindex::{
    engine::{
        Background, CommitError, CommitOp, CommitOutcome, CommitPoint, Env, EnvOptions, Fsync, MailboxIndex,
        MessageStore, OpError, StoreError,
    },
    log::{FlagChange as LogFlagChange, KeywordAction, Origin},
    state::{RawIndexHeader, RecordFlags, State},
};
use mailstore::{
    Batch, Column, Columns, Cursor, Expunges, FlagAction, FlagChange, Freshness, MailStorage, Mailbox, Rows, SaveMeta,
    ScanBudget, Section, View, ViewAs,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};
use mailtypes::{Flag, Flags, Guid, Keyword, MailboxName, Uid, UidSet};
use meddled_disk::{MeddledDisk, Meddler};

struct Place {
    dir: tempfile::TempDir,
    places: MaildirPlaces,
}

/// UID to flags and keywords, in order.
type Shown = BTreeMap<u32, (Flags, Vec<String>)>;

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), places: MaildirPlaces::default() };
        ["tmp", "new", "cur"].iter().for_each(|sub| fs::create_dir_all(place.root().join(sub)).unwrap());
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mail")
    }

    /// As another process would open it.
    fn inbox(&self) -> Arc<dyn Mailbox> {
        self.inbox_on(Arc::new(RealDisk::new()))
    }

    fn inbox_on(&self, fs: Arc<dyn FileSystem>) -> Arc<dyn Mailbox> {
        let options = EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() };
        let env = Env::new(fs, options);
        let storage = MaildirStorage::create(&env, &self.root(), &self.places, MaildirOptions::default()).unwrap();
        storage.mailbox(&MailboxName::inbox()).unwrap()
    }

    fn put(&self, name: &str) {
        after_a_step();
        fs::write(self.root().join(name), format!("Subject: {name}\n\nbody\n")).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        after_a_step();
        fs::rename(self.root().join(from), self.root().join(to)).unwrap();
    }

    fn names(&self, sub: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root().join(sub)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }
}

/// A change of others that comes in one step of the kernel's clock with one of ours is seen a second later only.
fn after_a_step() {
    std::thread::sleep(Duration::from_millis(25));
}

fn select(mailbox: &Arc<dyn Mailbox>) -> Box<dyn View> {
    mailbox.view(&ViewAs { takes_recent: true }).unwrap()
}

fn shown_in(view: &dyn View) -> Shown {
    let mut rows = Rows::new();
    let budget = ScanBudget { bytes: usize::MAX, rows: usize::MAX, until: None };
    view.scan(&view.uids(), Cursor::START, &Columns::flags(), budget, &mut rows).unwrap();
    let keywords = |row| {
        let mut names: Vec<String> = rows.keywords(row).iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    rows.rows.iter().filter(|row| !row.expunged).map(|row| (row.uid.value(), (row.flags, keywords(row)))).collect()
}

fn shown(mailbox: &Arc<dyn Mailbox>) -> Shown {
    shown_in(&*mailbox.view(&ViewAs::default()).unwrap())
}

fn uids(mailbox: &Arc<dyn Mailbox>) -> Vec<u32> {
    shown(mailbox).into_keys().collect()
}

fn one(uid: u32) -> UidSet {
    std::iter::once(Uid::new(uid).unwrap()).collect()
}

fn store(mailbox: &Arc<dyn Mailbox>, uid: u32, action: FlagAction, flags: Flags, keywords: &[&str]) {
    let keywords = keywords.iter().map(|k| Keyword::new(k).unwrap()).collect();
    let change = FlagChange { uids: one(uid), action, flags, keywords, unchanged_since: None };
    mailbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
}

fn save(mailbox: &Arc<dyn Mailbox>, flags: Flags) -> Uid {
    let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
    save.write(b"Subject: ours\r\n\r\nbody\r\n").unwrap();
    let batch = Batch::new().save(save.finish().unwrap(), flags, Vec::new());
    mailbox.submit(batch).unwrap().wait().unwrap().saved[0]
}

fn guids(mailbox: &Arc<dyn Mailbox>) -> Vec<Guid> {
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let mut rows = Rows::new();
    let columns = Columns::default() | Column::Guid;
    view.scan(&view.uids(), Cursor::START, &columns, ScanBudget::default(), &mut rows).unwrap();
    rows.rows.iter().map(|row| row.guid.unwrap()).collect()
}

fn flags(flags: &[Flag]) -> Flags {
    flags.iter().fold(Flags::NONE, |all, flag| all | (*flag).into())
}

#[test]
fn files_come_change_and_go() {
    let place = Place::new();
    let inbox = place.inbox();
    let mut view = select(&inbox);
    place.put("new/3.b.host");
    place.put("new/2.a.host");
    place.put("cur/1.c.host:2,FS");
    let changes = view.sync(Expunges::Apply).unwrap();
    assert_eq!(changes.appended.count(), 3);
    // In order of arrival, as the names tell it.
    assert_eq!(shown_in(&*view)[&1].0, flags(&[Flag::Flagged, Flag::Seen]));
    assert_eq!(place.names("cur"), ["1.c.host:2,FS", "2.a.host:2,", "3.b.host:2,"]);
    assert!(place.names("new").is_empty());
    let list = place.text("dovecot-uidlist");
    assert!(list.ends_with("\n1 :1.c.host\n2 :2.a.host\n3 :3.b.host\n"), "{list}");

    place.rename("cur/2.a.host:2,", "cur/2.a.host:2,RSe");
    let changes = view.sync(Expunges::Apply).unwrap();
    assert_eq!(changes.flags, one(2));
    assert_eq!(shown_in(&*view)[&2], (flags(&[Flag::Answered, Flag::Seen]), vec!["unknown-4".to_owned()]));
    assert_eq!(place.text("dovecot-keywords"), "4 unknown-4\n");

    after_a_step();
    fs::remove_file(place.root().join("cur/1.c.host:2,FS")).unwrap();
    let changes = view.sync(Expunges::Apply).unwrap();
    assert_eq!(changes.expunged_uids, one(1));
    assert_eq!(uids(&place.inbox()), [2, 3]);
    // Put back, it is another message.
    place.put("cur/1.c.host:2,FS");
    assert_eq!(uids(&inbox), [2, 3, 4]);
    assert_eq!(uids(&place.inbox()), [2, 3, 4]);
}

#[test]
fn new_messages_stay_where_they_are_for_who_only_looks() {
    let place = Place::new();
    place.put("new/1.a");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    assert_eq!(inbox.status().unwrap().recent, 1);
    assert_eq!(place.names("new"), ["1.a"]);
    let view = select(&inbox);
    assert_eq!((view.recent_count(), place.names("new").len()), (1, 0));
    assert_eq!(place.names("cur"), ["1.a:2,"]);
    // Deliveries of ours too.
    save(&inbox, Flags::NONE);
    assert_eq!(place.names("new").len(), 1);
    save(&inbox, Flag::Seen.into());
    assert_eq!((place.names("new").len(), place.names("cur").len()), (1, 2));
    assert_eq!(shown(&place.inbox()).len(), 3);
}

#[test]
fn our_flags_go_into_names() {
    let place = Place::new();
    place.put("cur/1.a:2,P");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    store(&inbox, 1, FlagAction::Add, Flag::Seen.into(), &["one", "two"]);
    assert_eq!(place.names("cur"), ["1.a:2,PSab"]);
    assert_eq!(place.text("dovecot-keywords"), "0 one\n1 two\n");
    store(&inbox, 1, FlagAction::Replace, Flag::Draft.into(), &["TWO"]);
    assert_eq!(place.names("cur"), ["1.a:2,DPb"]);
    // Somebody changes the name between our looks: both changes count.
    place.rename("cur/1.a:2,DPb", "cur/1.a:2,DFP");
    store(&inbox, 1, FlagAction::Add, Flag::Answered.into(), &["one"]);
    assert_eq!(place.names("cur"), ["1.a:2,DFPRa"]);
    let expect = (flags(&[Flag::Draft, Flag::Flagged, Flag::Answered]), vec!["one".to_owned()]);
    assert_eq!(shown(&inbox)[&1], expect);
    assert_eq!(shown(&place.inbox())[&1], expect);
}

#[test]
fn flags_that_another_server_has_set_can_be_taken_away() {
    // Ours has the mailbox open and has not looked since.
    for carried_out in [true, false] {
        for action in [FlagAction::Remove, FlagAction::Replace] {
            let place = Place::new();
            place.put("cur/1.a:2,");
            let (ours, other) = (place.inbox(), place.inbox());
            assert_eq!((uids(&ours), uids(&other)), (vec![1], vec![1]));
            store(&other, 1, FlagAction::Add, flags(&[Flag::Seen, Flag::Draft]), &["work"]);
            assert_eq!(place.names("cur"), ["1.a:2,DSa"]);
            let (taken, kept) = match action {
                FlagAction::Replace => (Flag::Flagged.into(), "1.a:2,F"),
                _ => (flags(&[Flag::Seen]), "1.a:2,D"),
            };
            if carried_out {
                let keywords: &[&str] = if action == FlagAction::Replace { &[] } else { &["work"] };
                store(&ours, 1, action, taken, keywords);
            } else {
                // The other has asked for it and not got round to the name.
                request(&place, action, taken);
                save(&ours, Flag::Seen.into());
            }
            assert_eq!(place.names("cur")[0], kept, "{action:?}, carried out: {carried_out}");
            after_a_step();
            let expect = (if action == FlagAction::Replace { taken } else { Flag::Draft.into() }, Vec::new());
            for inbox in [&ours, &other, &place.inbox()] {
                assert_eq!(shown(inbox)[&1], expect);
            }
            assert_eq!(place.names("cur")[0], kept);
        }
    }
}

/// Puts into the log what another server asks for, which carries it out later; with it goes the keyword.
fn request(place: &Place, action: FlagAction, flags: Flags) {
    let change = match action {
        FlagAction::Replace => LogFlagChange::replace(flags),
        _ => LogFlagChange::remove(flags),
    };
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let index = MailboxIndex::open(&env, &place.root(), "dovecot.index", Arc::new(NoStore)).unwrap();
    index.enqueue(Box::new(Foreign { change, origin: Origin::Internal, keyword: Some("work") }));
    index.drive();
}

#[test]
fn the_27th_keyword_is_in_the_index_alone() {
    let place = Place::new();
    place.put("cur/1.a:2,");
    place.put("cur/2.b:2,");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1, 2]);
    let names: Vec<String> = (0..30).map(|n| format!("k{n:02}")).collect();
    store(&inbox, 1, FlagAction::Add, Flags::NONE, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(place.names("cur")[0], "1.a:2,abcdefghijklmnopqrstuvwxyz");
    assert_eq!(shown(&inbox)[&1].1, names);
    // A change by others leaves those without a letter alone.
    place.rename("cur/1.a:2,abcdefghijklmnopqrstuvwxyz", "cur/1.a:2,Sb");
    let expect: Vec<_> = ["k01", "k26", "k27", "k28", "k29"].map(str::to_owned).to_vec();
    assert_eq!(shown(&inbox)[&1].1, expect);
    assert_eq!(shown(&place.inbox())[&1].1, expect);
}

#[test]
fn a_name_that_is_taken_is_given_later() {
    let place = Place::new();
    place.put("cur/1.a:2,");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    // A name that is taken, which the next look puts right.
    place.put("cur/1.a:2,S");
    store(&inbox, 1, FlagAction::Add, Flag::Seen.into(), &[]);
    assert_eq!(place.names("cur"), ["1.a:2,", "1.a:2,S"]);
    assert_eq!(shown(&inbox)[&1].0, Flag::Seen.into());
    assert_eq!((place.names("cur"), place.names("new").len()), (vec!["1.a:2,S".to_owned()], 1));
    assert_eq!(place.text("cur/1.a:2,S"), "Subject: cur/1.a:2,\n\nbody\n");
    assert_eq!(uids(&inbox), [1, 2]);
    assert_eq!(shown(&place.inbox())[&1].0, Flag::Seen.into());
}

#[test]
fn one_base_name_twice() {
    let place = Place::new();
    place.put("cur/1.a:2,S");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    place.put("new/1.a");
    place.put("cur/1.a:2,F");
    assert!(uids(&inbox).contains(&1));
    std::thread::sleep(Duration::from_millis(30));
    let all = shown(&inbox);
    assert_eq!(all.len(), 3, "{all:?} {:?} {:?}", place.names("new"), place.names("cur"));
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    // A second name of one file is no second message.
    let cur = place.root().join("cur");
    let first = place.names("cur")[0].clone();
    after_a_step();
    fs::hard_link(cur.join(&first), cur.join(format!("{}FT", first.trim_end_matches(['S', 'F'])))).unwrap();
    assert_eq!(uids(&inbox), [1, 2, 3]);
}

#[test]
fn expunges_remove_files_wherever_they_are() {
    let place = Place::new();
    for n in 1..=4 {
        place.put(&format!("cur/{n}.a:2,"));
    }
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1, 2, 3, 4]);
    place.rename("cur/2.a:2,", "cur/2.a:2,ST");
    fs::remove_file(place.root().join("cur/3.a:2,")).unwrap();
    let mut set = one(2);
    set.insert_range(Uid::new(3).unwrap()..=Uid::new(4).unwrap());
    inbox.submit(Batch::new().expunge(set)).unwrap().wait().unwrap();
    assert_eq!((uids(&inbox), place.names("cur")), (vec![1], vec!["1.a:2,".to_owned()]));
    assert_eq!(uids(&place.inbox()), [1]);
}

#[test]
fn a_message_is_read_through_renames() {
    let place = Place::new();
    place.put("new/1.a");
    let inbox = place.inbox();
    let view = inbox.view(&ViewAs::default()).unwrap();
    place.rename("new/1.a", "cur/1.a:2,S");
    let mut body = view.body(Uid::MIN).unwrap();
    let mut bytes = [0; 100];
    let read = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
    assert_eq!(&bytes[..read], b"Subject: new/1.a\r\n\r\nbody\r\n");
    // Opened from the index alone, by the name that the index's flags make.
    drop(body);
    assert_eq!(shown(&inbox).len(), 1);
    std::thread::sleep(Duration::from_millis(30));
    shown(&inbox);
    assert_eq!(place.inbox().view(&ViewAs::default()).unwrap().body(Uid::MIN).unwrap().size(), 26);
    fs::remove_file(place.root().join("cur/1.a:2,S")).unwrap();
    assert!(matches!(view.body(Uid::MIN), Err(mailstore::StorageError::Expunged { .. })));
}

#[test]
fn what_is_lost_is_made_anew() {
    let place = Place::new();
    for n in 1..=4 {
        place.put(&format!("cur/{n}.a:2,S"));
    }
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1, 2, 3, 4]);
    store(&inbox, 2, FlagAction::Add, Flags::NONE, &["word"]);
    inbox.submit(Batch::new().expunge(one(1))).unwrap().wait().unwrap();
    let (before, validity, guid) = (shown(&inbox), inbox.uid_validity(), inbox.guid());

    // The index: UIDs are in the list, flags in the names.
    drop(inbox);
    for file in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"] {
        fs::remove_file(place.root().join(file)).ok();
    }
    let inbox = place.inbox();
    assert_eq!((shown(&inbox), inbox.uid_validity(), inbox.guid()), (before.clone(), validity, guid));

    // The UID list, while somebody has the mailbox open who knows it.
    fs::remove_file(place.root().join("dovecot-uidlist")).unwrap();
    place.put("cur/5.a:2,");
    let mut with_new = before.clone();
    with_new.insert(5, (Flags::NONE, Vec::new()));
    assert_eq!(shown(&inbox), with_new);
    assert_eq!(shown(&place.inbox()), with_new);

    // A line of it.
    let list = place.text("dovecot-uidlist");
    fs::write(place.root().join("dovecot-uidlist"), list.replace("\n3 :", "\n3 &")).unwrap();
    place.put("cur/6.a:2,");
    with_new.insert(6, (Flags::NONE, Vec::new()));
    assert_eq!(shown(&inbox), with_new);
    assert_eq!(shown(&place.inbox()), with_new);

    // The keywords: the index has them.
    fs::remove_file(place.root().join("dovecot-keywords")).unwrap();
    store(&inbox, 2, FlagAction::Add, Flag::Flagged.into(), &[]);
    assert!(shown(&inbox)[&2].1.contains(&"word".to_owned()));

    // The UID list, and nobody knows it: UIDs are new, none is given twice.
    drop(inbox);
    fs::remove_file(place.root().join("dovecot-uidlist")).unwrap();
    let inbox = place.inbox();
    assert_eq!(inbox.uid_validity(), validity);
    let after: Vec<u32> = uids(&inbox);
    assert_eq!(after, [7, 8, 9, 10, 11]);
}

#[test]
fn letters_in_use_get_no_other_keyword() {
    let keywords = |inbox: &Arc<dyn Mailbox>| shown(inbox).into_values().map(|(_, names)| names).collect::<Vec<_>>();
    for again in [false, true] {
        // All lost, or damaged in a way that nothing in the index makes good.
        for damaged in ["", "1 beta\n"] {
            for saved in [false, true] {
                let place = Place::new();
                ["1.a:2,", "2.a:2,", "3.a:2,"].iter().for_each(|name| place.put(&format!("cur/{name}")));
                let mut inbox = place.inbox();
                assert_eq!(uids(&inbox), [1, 2, 3]);
                store(&inbox, 1, FlagAction::Add, Flags::NONE, &["alpha"]);
                store(&inbox, 2, FlagAction::Add, Flags::NONE, &["alpha", "beta"]);
                fs::write(place.root().join("dovecot-keywords"), damaged).unwrap();
                if again {
                    inbox = place.inbox();
                }
                let expect: [&[&str]; 3] = [&["alpha"], &["alpha", "beta"], &["gamma"]];
                if saved {
                    let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
                    save.write(b"Subject: ours\r\n\r\n").unwrap();
                    let batch =
                        Batch::new().save(save.finish().unwrap(), Flags::NONE, vec![Keyword::new("gamma").unwrap()]);
                    inbox.submit(batch).unwrap().wait().unwrap();
                    inbox.submit(Batch::new().expunge(one(3))).unwrap().wait().unwrap();
                } else {
                    store(&inbox, 3, FlagAction::Add, Flags::NONE, &["gamma"]);
                }
                assert_eq!(place.text("dovecot-keywords"), "0 alpha\n1 beta\n2 gamma\n");
                let expect: Vec<Vec<String>> =
                    expect.iter().map(|names| names.iter().map(ToString::to_string).collect()).collect();
                assert_eq!((keywords(&inbox), keywords(&place.inbox())), (expect.clone(), expect));
            }
        }
    }
    // All who have it are written at once.
    let place = Place::new();
    place.put("cur/1.a:2,");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    store(&inbox, 1, FlagAction::Add, Flags::NONE, &["alpha", "beta"]);
    fs::write(place.root().join("dovecot-keywords"), "1 beta\n").unwrap();
    store(&inbox, 1, FlagAction::Add, Flag::Seen.into(), &[]);
    assert_eq!(
        (place.names("cur"), place.text("dovecot-keywords")),
        (vec!["1.a:2,Sab".to_owned()], "0 alpha\n1 beta\n".to_owned())
    );
    // Of a letter that the index knows no keyword for, Dovecot's name.
    let place = Place::new();
    place.put("cur/1.a:2,");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    place.rename("cur/1.a:2,", "cur/1.a:2,a");
    store(&inbox, 1, FlagAction::Add, Flags::NONE, &["gamma"]);
    assert_eq!(
        (place.names("cur"), place.text("dovecot-keywords")),
        (vec!["1.a:2,ab".to_owned()], "0 unknown-0\n1 gamma\n".to_owned())
    );
    assert_eq!(shown(&inbox)[&1].1, ["gamma", "unknown-0"]);
}

#[test]
fn another_uidvalidity_in_the_list_counts() {
    let place = Place::new();
    place.put("cur/1.a:2,S");
    assert_eq!(uids(&place.inbox()), [1]);
    fs::write(place.root().join("dovecot-uidlist"), "1 4711 30\n29 1.a\n").unwrap();
    let inbox = place.inbox();
    assert_eq!((inbox.uid_validity().value(), uids(&inbox)), (4711, vec![29]));
    assert_eq!(save(&inbox, Flags::NONE).value(), 30);
    assert!(place.text("dovecot-uidlist").starts_with("3 V4711 N3"));
}

#[test]
fn a_list_that_is_ahead_of_the_index_is_followed() {
    let place = Place::new();
    place.put("cur/1.a:2,");
    let inbox = place.inbox();
    assert_eq!(uids(&inbox), [1]);
    // A program that was stopped between list and index; one of its files went meanwhile.
    let list = place.text("dovecot-uidlist") + "5 :5.e\n7 :7.g\n";
    fs::write(place.root().join("dovecot-uidlist"), list).unwrap();
    place.put("cur/5.e:2,F");
    assert_eq!(save(&inbox, Flags::NONE).value(), 8);
    assert_eq!(uids(&inbox), [1, 5, 8]);
    assert_eq!(uids(&place.inbox()), [1, 5, 8]);
}

#[test]
fn identities_are_those_of_dovecot() {
    let place = Place::new();
    // From the fixtures: the last 16 bytes of the name's SHA-1.
    place.put("cur/1795322986.M754223P17387.mail,S=887,W=906:2,S");
    place.put("cur/2.0123456789abcdef0123456789abcdef:2,S");
    let inbox = place.inbox();
    let before = guids(&inbox);
    let all = inbox.view(&ViewAs::default()).unwrap().uids();
    // Copies keep them, whether or not the name is free.
    inbox.submit(Batch::new().copy(Arc::clone(&inbox), all)).unwrap().wait().unwrap();
    assert_eq!(guids(&inbox), [before.clone(), before.clone()].concat());
    let list = place.text("dovecot-uidlist");
    assert!(list.contains("\n4 G1795322986.M754223P17387.mail,S=887,W=906 :"), "{list}");
    assert_eq!(guids(&place.inbox()), [before.clone(), before].concat());
    // One that is brought along stays.
    let guid = Guid([7; 16]);
    let mut save = inbox.begin_save(SaveMeta { guid: Some(guid), ..SaveMeta::default() }, None).unwrap();
    save.write(b"x\r\n").unwrap();
    inbox.submit(Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new())).unwrap().wait().unwrap();
    assert_eq!(guids(&inbox).last(), Some(&guid));
}

#[test]
fn sizes_in_names_are_believed_as_far_as_they_are_true() {
    let place = Place::new();
    let inbox = place.inbox();
    save(&inbox, Flag::Seen.into());
    assert!(place.names("cur")[0].contains(",S=20,W=23"), "{:?}", place.names("cur"));
    fs::write(place.root().join("cur/9.wrong,S=3,W=4:2,"), "Subject: x\n\n").unwrap();
    let view = inbox.view(&ViewAs::default()).unwrap();
    assert_eq!(view.body(Uid::new(2).unwrap()).unwrap().size(), 14);
}

fn size_of(mailbox: &Arc<dyn Mailbox>, uid: u32) -> u64 {
    let (view, mut rows) = (mailbox.view(&ViewAs::default()).unwrap(), Rows::new());
    view.scan(&one(uid), Cursor::START, &(Columns::default() | Column::Size), ScanBudget::default(), &mut rows)
        .unwrap();
    rows.rows[0].size.unwrap()
}

#[test]
fn a_wrong_size_in_a_name_cuts_no_message() {
    for lines in [1, 5_000] {
        let text = "Subject: x\n\n".to_owned() + &"a line\n".repeat(lines);
        let expect = text.replace('\n', "\r\n");
        let (stored, size) = (text.len() as u64, expect.len() as u64);
        for told in [stored, size - 1, size + 5, stored - 3] {
            let place = Place::new();
            let inbox = place.inbox();
            fs::write(place.root().join(format!("cur/1.a,S={stored},W={told}:2,")), &text).unwrap();
            let view = inbox.view(&ViewAs::default()).unwrap();
            // The size that the name tells, which the cache takes for true.
            assert_eq!(size_of(&inbox, 1), told);
            for _ in 0..2 {
                let mut body = view.body(Uid::MIN).unwrap();
                let mut bytes = vec![0; expect.len() + 100];
                let read = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
                assert_eq!((body.size(), std::str::from_utf8(&bytes[..read]).unwrap()), (size, &expect[..]));
                assert_eq!(size_of(&inbox, 1), size);
            }
            view.flush_cache();
            assert_eq!(size_of(&place.inbox(), 1), size);
        }
    }
}

/// What another program puts into the log.
struct Foreign {
    change: LogFlagChange,
    origin: Origin,
    /// One that goes.
    keyword: Option<&'static str>,
}

impl CommitOp for Foreign {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        at.transaction().flags(&one(1), self.change, self.origin);
        if let Some(keyword) = self.keyword {
            at.transaction().keyword(KeywordAction::Remove, &Keyword::new(keyword).unwrap(), &one(1), self.origin);
        }
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        outcome.unwrap();
    }
}

struct NoStore;

impl MessageStore for NoStore {
    fn remove(&self, _: &State, _: &UidSet) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn flags_that_others_left_in_the_log_are_written() {
    let dirty = |flags: Flag| LogFlagChange {
        add: RecordFlags::from(Flags::from(flags)).union(RecordFlags::DIRTY),
        remove: RecordFlags::NONE,
        count_modseq: false,
    };
    let cases = [
        (dirty(Flag::Seen), Origin::External, "1.a:2,FS"),
        (LogFlagChange::replace(Flag::Draft.into()), Origin::Internal, "1.a:2,D"),
    ];
    for (change, origin, expect) in cases {
        let place = Place::new();
        place.put("cur/1.a:2,F");
        after_a_step();
        assert_eq!(uids(&place.inbox()), [1]);
        let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
        let index = MailboxIndex::open(&env, &place.root(), "dovecot.index", Arc::new(NoStore)).unwrap();
        index.enqueue(Box::new(Foreign { change, origin, keyword: None }));
        index.drive();
        drop(index);
        drop(env);
        assert_eq!(place.names("cur"), ["1.a:2,F"]);
        let inbox = place.inbox();
        let flags = shown(&inbox)[&1].0;
        // A request is carried out by whoever takes the lock next.
        save(&inbox, Flag::Seen.into());
        assert_eq!(place.names("cur")[0], expect);
        assert_eq!(shown(&inbox)[&1].0, flags);
        after_a_step();
        shown(&inbox);
        drop(inbox);
        let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
        let state = MailboxIndex::open(&env, &place.root(), "dovecot.index", Arc::new(NoStore)).unwrap().state();
        assert_eq!(state.record(0).unwrap().record_flags(), flags.into());
        assert_eq!(state.header().flags.get() & RawIndexHeader::HAVE_DIRTY, 0);
        assert!(!state.has_pending());
    }
}

#[test]
fn old_files_in_tmp_go() {
    const HOUR: Duration = Duration::from_secs(3600);
    let fs = SimDisk::new().as_file_system();
    let open = || {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(Arc::clone(&fs), options);
        let options = MaildirOptions::default();
        let storage = MaildirStorage::create(&env, Path::new("/mail"), &MaildirPlaces::default(), options).unwrap();
        drop(storage.mailbox(&MailboxName::inbox()).unwrap());
    };
    open();
    let put = |name: &str| {
        let file = fs.open(&Path::new("/mail/tmp").join(name), OpenMode::CreateNew { mode: 0o600 }).unwrap();
        // That may be the mail's time, and says nothing about who writes it.
        file.set_modified(SystemTime::UNIX_EPOCH + HOUR).unwrap();
    };
    let names = || fs.read_dir(Path::new("/mail/tmp")).unwrap().len();
    put("old");
    fs.sleep(30 * HOUR);
    put("young");
    open();
    assert_eq!(names(), 2);
    fs.sleep(30 * HOUR);
    open();
    assert_eq!(names(), 1);
}

#[test]
fn control_and_index_may_lie_elsewhere() {
    let mut place = Place::new();
    place.places.control = Some(place.dir.path().join("control"));
    place.places.index = Some(place.dir.path().join("index"));
    let inbox = place.inbox();
    save(&inbox, Flags::NONE);
    place.put("cur/1.a:2,a");
    assert_eq!(uids(&inbox), [1, 2]);
    assert_eq!(uids(&place.inbox()), [1, 2]);
    let has = |dir: &Path, name: &str| dir.join(name).exists();
    // Where Dovecot has them.
    let (control, index) = (place.dir.path().join("control/.INBOX"), place.dir.path().join("index/.INBOX"));
    let root = place.root();
    assert!(has(&control, "dovecot-uidlist") && has(&control, "dovecot-keywords") && has(&index, "dovecot.index.log"));
    assert!(!has(&root, "dovecot-uidlist") && !has(&root, "dovecot.index.log"));
}

#[test]
fn a_watch_sees_deliveries() {
    let place = Place::new();
    let inbox = place.inbox();
    let (tell, told) = std::sync::mpsc::channel();
    let _watch = inbox.watch(Arc::new(move || tell.send(()).unwrap_or_default())).unwrap();
    let mut view = select(&inbox);
    std::thread::sleep(Duration::from_millis(50));
    view.sync(Expunges::Apply).unwrap();
    while told.recv_timeout(Duration::from_millis(200)).is_ok() {}
    view.sync(Expunges::Apply).unwrap();
    place.put("new/1.a");
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_ne!(view.freshness(), Freshness::Same);
    assert_eq!(view.sync(Expunges::Apply).unwrap().appended, one(1));
}

#[test]
fn folders_and_hidden_files_are_no_messages() {
    let place = Place::new();
    drop(place.inbox());
    fs::create_dir(place.root().join("cur/empty")).unwrap();
    fs::create_dir_all(place.root().join("cur/full/x")).unwrap();
    place.put("cur/.hidden");
    place.put("new/1.a:2,S");
    assert_eq!(uids(&place.inbox()), [1]);
    assert_eq!(place.names("cur"), [".hidden", "full"]);
    let mode = fs::metadata(place.root().join("dovecot-uidlist")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, fs::metadata(place.root()).unwrap().permissions().mode() & 0o666);
}

/// Counts how often folders are read, and can rename a file in the midst of it.
#[derive(Debug)]
struct Listings {
    disk: RealDisk,
    count: AtomicUsize,
    /// The file gets the other name while its folder is read next, so that the reading has neither.
    renamed_meanwhile: Mutex<Option<[PathBuf; 2]>>,
}

impl Listings {
    fn new() -> Arc<MeddledDisk<Self>> {
        let listings = Self { disk: RealDisk::new(), count: AtomicUsize::new(0), renamed_meanwhile: Mutex::default() };
        Arc::new(MeddledDisk(listings))
    }
}

impl Meddler for Listings {
    fn disk(&self) -> &dyn FileSystem {
        &self.disk
    }

    fn has_read(&self, dir: &Path, entries: &mut Vec<DirEntry>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.renamed_meanwhile.lock().unwrap();
        if let Some(names) = waiting.take_if(|[from, _]| from.parent() == Some(dir)) {
            fs::rename(&names[0], &names[1]).unwrap();
            entries.retain(|entry| names.iter().all(|name| *name != dir.join(&entry.name)));
        }
    }
}

#[test]
fn many_messages_that_are_gone_cost_one_look_at_the_folders() {
    const MESSAGES: u32 = 60;
    let place = Place::new();
    for n in 0..MESSAGES {
        fs::write(place.root().join(format!("cur/{n}.a:2,")), "Subject: x\n\n").unwrap();
    }
    let disk = Listings::new();
    let inbox = place.inbox_on(Arc::clone(&disk) as _);
    let view = inbox.view(&ViewAs::default()).unwrap();
    (0..MESSAGES).step_by(2).for_each(|n| fs::remove_file(place.root().join(format!("cur/{n}.a:2,"))).unwrap());
    // A later change has another time.
    after_a_step();
    let before = disk.0.count.load(Ordering::Relaxed);
    let body = |uid| view.body(Uid::new(uid).unwrap());
    for uid in (1..=MESSAGES).step_by(2) {
        assert!(matches!(body(uid), Err(mailstore::StorageError::Expunged { .. })));
        assert_eq!(body(uid + 1).unwrap().size(), 14);
    }
    assert_eq!(disk.0.count.load(Ordering::Relaxed) - before, 2);
    // What is put back is found.
    place.put("cur/0.a:2,F");
    assert!(body(1).is_ok());
}

#[test]
fn a_file_renamed_while_its_folder_is_read_is_not_gone() {
    for what in ["flags", "expunge"] {
        let place = Place::new();
        let path = |name: &str| place.root().join("cur").join(name);
        fs::write(path("0.a:2,"), "Subject: x\n\n").unwrap();
        let disk = Listings::new();
        let inbox = place.inbox_on(Arc::clone(&disk) as _);
        assert_eq!(uids(&inbox), [1]);
        fs::rename(path("0.a:2,"), path("0.a:2,F")).unwrap();
        *disk.0.renamed_meanwhile.lock().unwrap() = Some([path("0.a:2,F"), path("0.a:2,FR")]);
        if what == "flags" {
            store(&inbox, 1, FlagAction::Add, Flag::Seen.into(), &[]);
            assert_eq!(place.names("cur"), ["0.a:2,FRS"]);
            after_a_step();
            assert_eq!(shown(&inbox)[&1].0, flags(&[Flag::Flagged, Flag::Answered, Flag::Seen]));
        } else {
            inbox.submit(Batch::new().expunge(one(1))).unwrap().wait().unwrap();
            assert_eq!(place.names("cur"), [""; 0]);
        }
        assert!(disk.0.renamed_meanwhile.lock().unwrap().is_none());
    }
}
