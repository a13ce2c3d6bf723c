//! Names, lists and subscriptions across namespaces; what is expected of them was seen of Dovecot 2.3.19.

use super::*;
use crate::memory::{MemoryOptions, MemoryStorage};

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn space(prefix: &str) -> Namespace {
    Namespace {
        prefix: prefix.to_owned(),
        kind: NamespaceKind::Personal,
        inbox: prefix.is_empty(),
        hidden: false,
        list: Listing::Yes,
        subscriptions: true,
        storage: Arc::new(MemoryStorage::new(MemoryOptions::default())),
    }
}

fn four() -> Namespaces {
    let hidden = Namespace { hidden: true, list: Listing::No, ..space("hidden/") };
    let public =
        Namespace { kind: NamespaceKind::Shared, list: Listing::Children, subscriptions: false, ..space("Public/") };
    Namespaces::new(vec![space(""), space("Archive/"), hidden, public], '/').unwrap()
}

fn listed(storage: &dyn MailStorage, pattern: &str) -> Vec<(String, bool, bool)> {
    let found = storage.list(&ListPattern::new(pattern).unwrap()).unwrap();
    let line = |info: MailboxInfo| (info.name.to_string(), info.selectable, info.has_children);
    // The storages in memory have an INBOX of their own each.
    found.into_iter().filter(|info| !info.name.as_str().ends_with("/INBOX")).map(line).collect()
}

fn line(name: &str, selectable: bool, children: bool) -> (String, bool, bool) {
    (name.to_owned(), selectable, children)
}

#[test]
fn lists_have_prefixes() {
    let all = four();
    for mailbox in ["Archive/2024/a", "hidden/x", "Public/p"] {
        all.create(&name(mailbox)).unwrap();
    }
    let archive =
        [line("Archive", false, true), line("Archive/2024", false, true), line("Archive/2024/a", true, false)];
    let public = [line("Public", false, true), line("Public/p", true, false)];
    let inbox = [line("INBOX", true, false)];
    assert_eq!(listed(&all, "*"), [&inbox[..], &archive[..], &public[..]].concat());
    assert_eq!(listed(&all, "%"), [inbox[0].clone(), archive[0].clone(), public[0].clone()]);
    assert_eq!(listed(&all, "Archive/%"), [archive[1].clone()]);
    assert_eq!(listed(&all, "hidden/*"), [line("hidden/x", true, false)]);
    assert_eq!(listed(&all, "hid*"), []);
    assert_eq!(listed(&all, "inbox"), inbox);
}

#[test]
fn names_lead_to_their_storage_and_no_other() {
    let all = four();
    all.create(&name("Archive/a")).unwrap();
    let mailbox = all.mailbox(&name("Archive/a")).unwrap();
    assert_eq!((mailbox.name(), mailbox.guid().is_zero()), (&name("Archive/a"), false));
    assert_eq!(all.spaces()[1].storage.mailbox(&name("a")).unwrap().guid(), mailbox.guid());
    let failed = |result: Result<()>| result.unwrap_err().client_text();
    assert_eq!(failed(all.rename(&name("Archive/a"), &name("z"))), "Can't rename mailboxes across specified storages");
    assert_eq!(
        failed(all.rename(&name("INBOX"), &name("Archive/z"))),
        "Can't rename mailboxes across specified storages"
    );
    assert_eq!(failed(all.delete(&name("Archive"))), "Storage root can't be deleted");
    assert_eq!(failed(all.create(&name("Archive"))), "Mailbox already exists");
    assert!(matches!(all.mailbox(&name("Archive")), Err(StorageError::NotSelectable(n)) if n == name("Archive")));
    assert!(matches!(all.mailbox(&name("Archive/x")), Err(StorageError::NotFound(n)) if n == name("Archive/x")));
    all.rename(&name("Archive/a"), &name("Archive/b")).unwrap();
    assert!(all.spaces()[1].storage.mailbox(&name("b")).is_ok());
    // What lies in the way of a prefix is not told.
    all.spaces()[0].storage.create(&name("Archive/hid")).unwrap();
    assert!(!listed(&all, "*").iter().any(|(name, ..)| name == "Archive/hid"));
}

#[test]
fn subscriptions_are_kept_where_they_belong() {
    let all = four();
    for mailbox in ["Archive/a", "hidden/x", "Public/p", "b"] {
        all.create(&name(mailbox)).unwrap();
        all.subscribe(&name(mailbox)).unwrap();
    }
    let kept = |at: usize| all.spaces()[at].storage.subscriptions().unwrap();
    assert_eq!((kept(0), kept(1)), (vec![name("Public/p"), name("b")], vec![name("a")]));
    assert_eq!((kept(2), kept(3)), (vec![name("x")], vec![]));
    assert_eq!(all.subscriptions().unwrap(), [name("Public/p"), name("b"), name("Archive/a")]);
    let told = |pattern: &str| all.subscriptions_for(&ListPattern::new(pattern).unwrap()).unwrap();
    assert_eq!(told("*"), all.subscriptions().unwrap());
    assert_eq!(told("hid*"), all.subscriptions().unwrap());
    assert!(told("hidden/%").contains(&name("hidden/x")));
    all.unsubscribe(&name("Public/p")).unwrap();
    assert_eq!(kept(0), [name("b")]);
    // A prefix is one, in its own list.
    all.subscribe(&name("Archive")).unwrap();
    assert_eq!(kept(1), [name("a"), MailboxName::storage_root()]);
    // Or in that of the namespace that it lies in.
    all.subscribe(&name("Public")).unwrap();
    all.subscribe(&name("Public")).unwrap();
    assert_eq!(kept(0), ["b", "Public"].map(name));
    assert_eq!(told("*"), ["b", "Public", "Archive/a", "Archive"].map(name));
    all.unsubscribe(&name("Archive")).unwrap();
    all.unsubscribe(&name("Public")).unwrap();
    assert_eq!(told("*"), ["b", "Archive/a"].map(name));
}

/// As Courier has it.
#[test]
fn inbox_can_be_above_all_others() {
    let all = Namespaces::new(vec![Namespace { inbox: true, ..space("INBOX/") }], '.').unwrap();
    all.create(&name("INBOX/Sent")).unwrap();
    assert_eq!(listed(&all, "*"), [line("INBOX", true, true), line("INBOX/Sent", true, false)]);
    assert_eq!(all.mailbox(&name("INBOX/Sent")).unwrap().name(), &name("INBOX/Sent"));
    assert!(all.mailbox(&name("inbox")).unwrap().name().is_inbox());
    assert!(all.list(&ListPattern::all()).unwrap().iter().any(|info| info.name == name("INBOX/Sent")));
    assert!(matches!(all.create(&name("Sent")), Err(StorageError::NotPossible(_))));
    assert!(all.list(&ListPattern::new("%").unwrap()).unwrap()[0].has_children);
    assert_eq!(all.namespaces(), [NamespaceInfo { prefix: "INBOX/".to_owned(), kind: NamespaceKind::Personal }]);
}

#[test]
fn no_level_looks_like_two() {
    let all = Namespaces::new(vec![space("")], '.').unwrap();
    assert!(all.create(&name("a.b")).is_err());
    all.spaces()[0].storage.create(&name("a.b")).unwrap();
    assert_eq!(listed(&all, "*"), [line("INBOX", true, false)]);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let new = |spaces| Namespaces::new(spaces, '/').map(|_| ()).unwrap_err();
    assert_eq!(new(vec![space("a/")]), NamespaceError::Inbox(0));
    assert_eq!(new(vec![space(""), space("a/"), space("a/")]), NamespaceError::Twice("a/".to_owned()));
    assert!(matches!(new(vec![space(""), space("a")]), NamespaceError::Prefix { .. }));
    assert!(matches!(new(vec![space(""), space("../")]), NamespaceError::Prefix { .. }));
    let keeps_none = |prefix: &str| Namespace { subscriptions: false, ..space(prefix) };
    assert_eq!(new(vec![keeps_none("")]), NamespaceError::Subscriptions(String::new()));
    assert_eq!(Namespaces::new(vec![space("")], '*').map(|_| ()).unwrap_err(), NamespaceError::Separator('*'));
}
