//! The mailbox list: names, levels, INBOX, renames, subscriptions.

use mailstore::{Batch, ListPattern, MailStorage, Mailbox, StorageError};
use mailtypes::{Flag, MailboxName};

use super::{Check, append, append_with, commit, flags_of, inbox, made, message, name, read, set, view};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("inbox is there and stays", inbox_is_there_and_stays),
    ("levels lead to mailboxes", levels_lead_to_mailboxes),
    ("list patterns", list_patterns),
    ("errors name what is wrong", errors_name_what_is_wrong),
    ("a deleted mailbox's children stay", children_of_the_deleted_stay),
    ("a mailbox made anew is another", a_mailbox_made_anew_is_another),
    ("a deleted mailbox is closed for all", a_deleted_mailbox_is_closed_for_all),
    ("a rename keeps all but the name", a_rename_keeps_all_but_the_name),
    ("a rename of inbox moves its messages", a_rename_of_inbox_moves_its_messages),
    ("subscriptions are names only", subscriptions_are_names_only),
];

fn listed(storage: &dyn MailStorage, pattern: &str) -> Vec<String> {
    let infos = storage.list(&ListPattern::new(pattern).unwrap()).unwrap();
    let show = |info: mailstore::MailboxInfo| {
        let noselect = if info.selectable { "" } else { " noselect" };
        let children = if info.has_children { " +" } else { "" };
        format!("{}{noselect}{children}", info.name)
    };
    infos.into_iter().map(show).collect()
}

fn inbox_is_there_and_stays(storage: &dyn MailStorage) {
    let inbox = storage.mailbox(&name("inbox")).unwrap();
    assert!(inbox.name().is_inbox());
    assert_eq!(listed(storage, "*"), ["INBOX"]);
    assert!(matches!(storage.create(&MailboxName::inbox()), Err(StorageError::AlreadyExists(_))));
    assert!(storage.delete(&MailboxName::inbox()).is_err());
    storage.create(&name("Archive")).unwrap();
    assert!(matches!(storage.rename(&name("Archive"), &name("inbox")), Err(StorageError::AlreadyExists(_))));
    assert_eq!(listed(storage, "*"), ["INBOX", "Archive"], "INBOX comes first");
}

fn levels_lead_to_mailboxes(storage: &dyn MailStorage) {
    inbox(storage);
    storage.create(&name("a/b/c")).unwrap();
    assert_eq!(listed(storage, "*"), ["INBOX", "a noselect +", "a/b noselect +", "a/b/c"]);
    assert!(matches!(storage.mailbox(&name("a/b")), Err(StorageError::NotSelectable(_))));
    storage.create(&name("a/b")).unwrap();
    assert_eq!(listed(storage, "a*"), ["a noselect +", "a/b +", "a/b/c"]);
    assert_eq!(storage.mailbox(&name("a/b")).unwrap().status().unwrap().messages, 0);
}

fn list_patterns(storage: &dyn MailStorage) {
    inbox(storage);
    for mailbox in ["Work", "Work/2024", "Work/2024/May", "Wörk", "INBOX/Sub"] {
        storage.create(&name(mailbox)).unwrap();
    }
    let names = |pattern| {
        let infos = storage.list(&ListPattern::new(pattern).unwrap()).unwrap();
        infos.into_iter().map(|info| info.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("%"), ["INBOX", "Work", "Wörk"]);
    assert_eq!(names("Work/%"), ["Work/2024"]);
    assert_eq!(names("W*"), ["Work", "Work/2024", "Work/2024/May", "Wörk"]);
    assert_eq!(names("inbox/%"), ["INBOX/Sub"]);
    assert_eq!(names("none"), [""; 0]);
}

fn errors_name_what_is_wrong(storage: &dyn MailStorage) {
    let missing = name("missing");
    assert!(matches!(storage.mailbox(&missing), Err(StorageError::NotFound(n)) if n == missing));
    assert!(matches!(storage.delete(&missing), Err(StorageError::NotFound(_))));
    assert!(matches!(storage.rename(&missing, &name("x")), Err(StorageError::NotFound(_))));
    storage.create(&name("x")).unwrap();
    storage.create(&name("y")).unwrap();
    assert!(matches!(storage.create(&name("x")), Err(StorageError::AlreadyExists(_))));
    assert!(matches!(storage.rename(&name("x"), &name("y")), Err(StorageError::AlreadyExists(_))));
    assert!(storage.rename(&name("x"), &name("x/below")).is_err(), "below itself");
    assert!(storage.mailbox(&name("x")).is_ok(), "nothing was changed");
}

fn children_of_the_deleted_stay(storage: &dyn MailStorage) {
    inbox(storage);
    append(&*made(storage, "p"), 1);
    append(&*made(storage, "p/q"), 2);
    storage.delete(&name("p")).unwrap();
    assert_eq!(listed(storage, "p*"), ["p noselect +", "p/q"]);
    assert_eq!(storage.mailbox(&name("p/q")).unwrap().status().unwrap().messages, 1);
    assert!(storage.delete(&name("p")).is_err(), "a level is no mailbox");
}

fn a_mailbox_made_anew_is_another(storage: &dyn MailStorage) {
    let old = made(storage, "m");
    append(&*old, 1);
    let (guid, uid_validity) = (old.guid(), old.uid_validity());
    storage.delete(&name("m")).unwrap();
    let new = made(storage, "m");
    assert_ne!(new.guid(), guid);
    assert_ne!(new.uid_validity(), uid_validity, "UIDs are used again, so UIDVALIDITY must differ");
    assert_eq!(new.status().unwrap().messages, 0);
}

fn a_deleted_mailbox_is_closed_for_all(storage: &dyn MailStorage) {
    let mailbox = made(storage, "m");
    append(&*mailbox, 1);
    let mut open = view(&*mailbox);
    let staged = super::save(&*mailbox, &message(2), None);
    storage.delete(&name("m")).unwrap();
    let deleted = |error: StorageError| assert!(matches!(error, StorageError::Deleted(_)), "{error}");
    deleted(open.sync(mailstore::Expunges::Apply).unwrap_err());
    assert!(mailbox.view(&mailstore::ViewAs::default()).is_err());
    let batch = Batch::new().save(staged, Default::default(), vec![]);
    deleted(mailbox.submit(batch).and_then(mailstore::Ticket::wait).unwrap_err());
}

fn a_rename_keeps_all_but_the_name(storage: &dyn MailStorage) {
    let old = made(storage, "a");
    let uid = append_with(&*old, 1, Flag::Seen.into(), &["kw"]);
    append(&*made(storage, "a/child"), 2);
    let (guid, uid_validity) = (old.guid(), old.uid_validity());
    storage.rename(&name("a"), &name("b/c")).unwrap();
    assert!(matches!(storage.mailbox(&name("a")), Err(StorageError::NotFound(_))));
    let new = storage.mailbox(&name("b/c")).unwrap();
    assert_eq!((new.guid(), new.uid_validity()), (guid, uid_validity));
    assert_eq!(flags_of(&*view(&*new), uid).0, Flag::Seen.into());
    assert_eq!(read(&*view(&*new), uid, 100), message(1));
    assert_eq!(storage.mailbox(&name("b/c/child")).unwrap().status().unwrap().messages, 1);
    let next = append(&*new, 3);
    assert!(next > uid);
    // A level that is no mailbox can be renamed too.
    storage.rename(&name("b"), &name("d")).unwrap();
    assert_eq!(storage.mailbox(&name("d/c")).unwrap().guid(), guid);
}

fn a_rename_of_inbox_moves_its_messages(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append_with(&*mailbox, 1, Flag::Flagged.into(), &["kw"]);
    append(&*mailbox, 2);
    storage.create(&name("INBOX/below")).unwrap();
    storage.rename(&name("INBOX"), &name("old")).unwrap();
    assert_eq!(inbox(storage).status().unwrap().messages, 0);
    let old = view(&*storage.mailbox(&name("old")).unwrap());
    assert_eq!(old.message_count(), 2);
    let first = old.uids().first().unwrap();
    assert_eq!(flags_of(&*old, first), (Flag::Flagged.into(), ["kw".to_owned()].into()));
    assert_eq!(read(&*old, first, 100), message(1));
    assert!(storage.mailbox(&name("INBOX/below")).is_ok(), "what lies below INBOX stays");
    append(&*inbox(storage), 3);
    assert_eq!(inbox(storage).status().unwrap().messages, 1);
}

fn subscriptions_are_names_only(storage: &dyn MailStorage) {
    for mailbox in ["z", "a", "not there", "z"] {
        storage.subscribe(&name(mailbox)).unwrap();
    }
    storage.create(&name("a")).unwrap();
    storage.delete(&name("a")).unwrap();
    assert_eq!(storage.subscriptions().unwrap(), ["z", "a", "not there"].map(name));
    storage.unsubscribe(&name("a")).unwrap();
    storage.unsubscribe(&name("never")).unwrap();
    assert_eq!(storage.subscriptions().unwrap(), ["z", "not there"].map(name));
}

/// Used by other groups to delete all messages of a mailbox.
pub(super) fn expunge_all(mailbox: &dyn Mailbox) {
    let uids = set(view(mailbox).uids().iter());
    commit(mailbox, Batch::new().expunge(uids));
}
