//! A session goes on with a mailbox that is renamed under it, and never takes another one for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use mailstore::{
    Append, Expunges, Format, MailStorage, StorageError, Store, View, ViewAs, maildir::MaildirLayout,
    mailtypes::MailboxName,
};

const FORMATS: [Format; 3] =
    [Format::Sdbox, Format::Maildir(MaildirLayout::PlusPlus), Format::Maildir(MaildirLayout::Fs)];

struct Opened {
    store: Store,
    storage: Arc<dyn MailStorage>,
    mailbox: Arc<dyn mailstore::Mailbox>,
    view: Box<dyn View>,
    _dir: tempfile::TempDir,
}

fn opened(format: Format) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_as(dir.path().join("mail"), format).unwrap();
    store.create_mailbox("a").unwrap();
    store.mailbox("a").unwrap().append(Append::new(b"Subject: one\r\n\r\n1\r\n")).unwrap();
    let storage = Arc::clone(store.storage());
    let mailbox = storage.mailbox(&MailboxName::new("a").unwrap()).unwrap();
    let view = mailbox.view(&ViewAs::default()).unwrap();
    Opened { store, storage, mailbox, view, _dir: dir }
}

#[test]
fn a_view_goes_on_under_the_new_name() {
    for format in FORMATS {
        let Opened { store, storage, mailbox, mut view, _dir } = opened(format);
        store.rename_mailbox("a", "b/c").unwrap();
        store.create_mailbox("a").unwrap();
        store.mailbox("b/c").unwrap().append(Append::new(b"Subject: two\r\n\r\n2\r\n")).unwrap();
        assert!(matches!(view.sync(Expunges::Apply), Err(StorageError::Deleted(_))), "{format}");
        let new = storage.follow(&*mailbox).unwrap().unwrap();
        assert_eq!(new.name().as_str(), "b/c", "{format}");
        assert_eq!(view.message_count(), 1, "{format}: nothing changes by itself");
        assert!(view.follow(&*new), "{format}");
        let changes = view.sync(Expunges::Apply).unwrap();
        assert_eq!((changes.appended.count(), view.message_count()), (1, 2), "{format}: {changes:?}");
        assert_eq!(view.body(view.uids().iter().next().unwrap()).unwrap().size(), 19, "{format}");
    }
}

#[test]
fn nobody_follows_to_another_mailbox() {
    for format in FORMATS {
        let Opened { store, storage, mailbox, mut view, _dir } = opened(format);
        store.delete_mailbox("a").unwrap();
        for name in ["a", "b", "c"] {
            store.create_mailbox(name).unwrap();
        }
        assert!(view.sync(Expunges::Apply).is_err(), "{format}");
        assert!(storage.follow(&*mailbox).unwrap().is_none(), "{format}");
        let other = store.mailbox("b").unwrap();
        assert!(!view.follow(&**other.mailbox()), "{format}");
    }
}
