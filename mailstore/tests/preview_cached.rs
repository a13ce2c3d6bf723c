//! Once a client has asked for previews, those of new messages are in the cache from the start.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use mailstore::{
    Append, Column, Columns, Cursor, Format, Mailbox, Rows, ScanBudget, Store, StoreOptions, ViewAs, create_storage,
    maildir::MaildirLayout,
    mailfs::RealDisk,
    mailindex::engine::{Env, EnvOptions},
    mailtypes::MailboxName,
};

/// The previews of all messages, as far as the column brings them.
fn previews(mailbox: &dyn Mailbox, column: Column) -> Vec<Option<String>> {
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
    while let Some(from) = at {
        at = view.scan(&view.uids(), from, &(Columns::default() | column), ScanBudget::default(), &mut rows).unwrap();
    }
    view.flush_cache();
    let text = |range| String::from_utf8(rows.text(range).to_vec()).unwrap();
    rows.rows.iter().map(|row| row.preview.map(text)).collect()
}

#[test]
fn previews_of_new_messages_are_cached() {
    for format in [Format::Sdbox, Format::Maildir(MaildirLayout::PlusPlus)] {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::new(std::sync::Arc::new(RealDisk::new()), EnvOptions::default());
        let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
        let storage = create_storage(&env, &dir.path().join("mail"), &options).unwrap();
        let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
        let store = Store::of(storage);
        let append = |raw: &str| store.mailbox("INBOX").unwrap().append(Append::new(raw.as_bytes())).unwrap();
        append("Subject: a\r\n\r\nfirst words\r\n");
        assert_eq!(previews(&*inbox, Column::CachedPreview), [None], "{format}: nobody has asked yet");
        assert_eq!(previews(&*inbox, Column::Preview), [Some("first words".to_owned())]);
        append("Subject: b\r\n\r\n> quoted\r\nsecond\r\nwords\r\n");
        let expect = ["first words", "second words"].map(|text| Some(text.to_owned()));
        assert_eq!(previews(&*inbox, Column::CachedPreview), expect, "{format}");
    }
}
