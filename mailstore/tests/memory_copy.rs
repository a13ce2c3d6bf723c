//! Copies between stores that cannot share a message: streamed, with all that belongs to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use mailstore::{
    Batch, Column, Columns, Cursor, MailStorage, Mailbox, Rows, SaveMeta, ScanBudget, Section, ViewAs,
    copy::{CopyOptions, copy_streamed},
    memory::MemoryStorage,
};
use mailtypes::{Flag, Flags, Guid, InternalDate, Keyword, MailboxName, Uid, UidSet};

fn inbox(storage: &MemoryStorage) -> Arc<dyn Mailbox> {
    storage.mailbox(&MailboxName::inbox()).unwrap()
}

/// A message's flags, keywords, date, GUID and bytes.
type Content = (Flags, Vec<Keyword>, InternalDate, Guid, Vec<u8>);

fn contents(mailbox: &dyn Mailbox) -> Vec<Content> {
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let columns = Columns::flags().with(Column::InternalDate).with(Column::Guid);
    let mut rows = Rows::new();
    view.scan(&view.uids(), Cursor::START, &columns, ScanBudget::default(), &mut rows).unwrap();
    let read = |uid| {
        let mut body = view.body(uid).unwrap();
        let mut bytes = vec![0; body.size() as usize];
        let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        assert_eq!(len, bytes.len());
        bytes
    };
    let row = |row: &mailstore::Row| {
        (row.flags, rows.keywords(row).to_vec(), row.internal_date.unwrap(), row.guid.unwrap(), read(row.uid))
    };
    rows.rows.iter().map(row).collect()
}

#[test]
fn copies_carry_all_that_belongs_to_a_message() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (source, destination) = (inbox(&source), inbox(&destination));
    let mut batch = Batch::new();
    for (n, size) in [10, 65_536, 200_000, 0].into_iter().enumerate() {
        let date = InternalDate { unix: 1_000_000 + n as i64, zone: 60 };
        let mut save =
            source.begin_save(SaveMeta { internal_date: Some(date), guid: None, ..SaveMeta::default() }, None).unwrap();
        save.write(&vec![b'a' + n as u8; size]).unwrap();
        let keywords = vec![Keyword::new(&format!("k{n}")).unwrap()];
        batch = batch.save(save.finish().unwrap(), Flag::ALL[n].into(), keywords);
    }
    source.submit(batch).unwrap().wait().unwrap();
    let wanted: UidSet = [1, 2, 3, 9].into_iter().filter_map(Uid::new).collect();
    for keep_guids in [true, false] {
        let copied = copy_streamed(&*source, &wanted, &*destination, &CopyOptions { keep_guids }).unwrap();
        let sources: Vec<u32> = copied.uids.iter().map(|(source, _)| source.value()).collect();
        assert_eq!(sources, [1, 2, 3], "what is not there is passed over");
        assert_eq!(copied.committed.saved, copied.uids.iter().map(|&(_, copy)| copy).collect::<Vec<_>>());
    }
    let (from, to) = (contents(&*source), contents(&*destination));
    assert_eq!(to.len(), 6);
    assert_eq!(to[..3], from[..3]);
    for (copy, original) in to[3..].iter().zip(&from) {
        assert_ne!(copy.3, original.3, "a GUID of its own");
        assert_eq!((copy.0, &copy.1, copy.2, &copy.4), (original.0, &original.1, original.2, &original.4));
    }
}
