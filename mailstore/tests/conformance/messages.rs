//! Messages: what was put in comes out, by columns and by ranges of the body.

use mailstore::{
    Batch, Column, Columns, MailStorage, NulPolicy, SaveMeta, ScanBudget, Section, StorageError,
    copy::{CopyOptions, copy_streamed},
};
use mailtypes::{Flags, Guid, InternalDate};

use super::{Check, append, commit, inbox, made, message, read, save, scan, scan_with, set, uid, view};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("bodies come back with CRLF however they were cut", bodies_come_back),
    ("ranges of a body", ranges_of_a_body),
    ("columns tell what was saved", columns_tell_what_was_saved),
    ("header fields come as they stand", header_fields_come_as_they_stand),
    ("scans of any step bring the same", scans_of_any_step_bring_the_same),
    ("a message with NUL bytes is refused", nul_bytes_are_refused),
    ("a message with NUL bytes is kept where that is asked for", nul_bytes_are_kept_if_asked_for),
    ("a save that was given up leaves nothing", a_save_given_up_leaves_nothing),
    ("an odd message is a message", odd_messages),
];

fn nul_bytes_are_kept_if_asked_for(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let bytes = b"Subject: x\r\n\r\na\0b\r\n\0".as_slice();
    let replaced: Vec<u8> = bytes.iter().map(|&b| if b == 0 { 0x80 } else { b }).collect();
    for (policy, expect) in [(NulPolicy::Keep, bytes), (NulPolicy::Replace, &replaced)] {
        let meta = SaveMeta { nuls: Some(policy), ..SaveMeta::default() };
        let mut save = mailbox.begin_save(meta, None).unwrap();
        save.write(bytes).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, vec![]);
        let uid = commit(&*mailbox, batch).saved[0];
        assert_eq!(read(&*view(&*mailbox), uid, 4096), expect);
    }
    // A copy between stores is no delivery that could be refused.
    let other = made(storage, "other");
    let uids = view(&*mailbox).uids();
    let copied = copy_streamed(&*mailbox, &uids, &*other, &CopyOptions::default()).unwrap();
    assert_eq!(read(&*view(&*other), copied.uids[0].1, 4096), bytes);
}

fn bodies_come_back(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let lf = b"Subject: x\nFrom: a@b\n\nline 1\nline 2\r\n\nlast without end";
    let crlf = b"Subject: x\r\nFrom: a@b\r\n\r\nline 1\r\nline 2\r\n\r\nlast without end";
    for piece in [1, 2, 7, 1000] {
        let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
        lf.chunks(piece).for_each(|bytes| save.write(bytes).unwrap());
        let saved = save.finish().unwrap();
        assert_eq!(saved.0.size(), crlf.len() as u64);
        let uid = commit(&*mailbox, Batch::new().save(saved, Flags::NONE, vec![])).saved[0];
        for piece_len in [1, 3, 4096] {
            assert_eq!(read(&*view(&*mailbox), uid, piece_len), crlf);
        }
    }
    assert_eq!(mailbox.size().unwrap(), 4 * crlf.len() as u64);
}

fn ranges_of_a_body(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let uid = append(&*mailbox, 1);
    let whole = message(1);
    let mut body = view(&*mailbox).body(uid).unwrap();
    let mut buf = [0; 8];
    for offset in [0, 5, 30, whole.len() - 3, 2, whole.len(), whole.len() + 10] {
        let len = body.read_at(Section::WHOLE, offset as u64, &mut buf).unwrap();
        let expect = whole.get(offset..whole.len().min(offset + 8)).unwrap_or_default();
        assert_eq!(&buf[..len], expect, "at {offset}");
    }
}

fn columns_tell_what_was_saved(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let date = InternalDate::utc(1_600_000_000);
    let guid = Guid([7; 16]);
    let mut given = mailbox
        .begin_save(SaveMeta { internal_date: Some(date), guid: Some(guid), ..SaveMeta::default() }, None)
        .unwrap();
    given.write(&message(1)).unwrap();
    let batch = Batch::new().save(given.finish().unwrap(), Flags::NONE, vec![]);
    commit(&*mailbox, batch.save(save(&*mailbox, &message(2), None), Flags::NONE, vec![]));
    let columns = Columns::flags()
        | Column::Size
        | Column::InternalDate
        | Column::SaveDate
        | Column::SentDate
        | Column::Guid
        | Column::Envelope
        | Column::Body
        | Column::BodyStructure
        | Column::Parts;
    let rows = scan(&*view(&*mailbox), &columns);
    let [first, second] = rows.rows[..] else { panic!("two rows") };
    assert_eq!(first.internal_date.unwrap().unix, date.unix);
    assert_eq!(first.guid, Some(guid));
    assert!(second.guid.is_some_and(|other| other != guid && !other.is_zero()));
    assert_eq!(first.size, Some(message(1).len() as u64));
    assert_eq!(first.sent_date.unwrap().unix, 1_704_067_200);
    assert!(second.internal_date.unwrap().unix > date.unix, "now, if not given");
    assert!(first.save_date.unwrap() > date.unix);
    let text = |range: Option<mailstore::ArenaRange>| String::from_utf8(rows.text(range.unwrap()).to_vec()).unwrap();
    assert!(text(second.envelope).contains("\"message 2\""), "{}", text(second.envelope));
    let body = r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1)"#;
    assert_eq!(text(first.body), body);
    assert!(text(first.body_structure).starts_with(&body[..body.len() - 1]));
    let tree = mailmime::decode_mime_parts(rows.text(first.parts.unwrap())).unwrap();
    let root = *tree.root();
    assert_eq!(root.header.virtual_len + root.body.virtual_len, message(1).len() as u64);
    let mut body = view(&*mailbox).body(first.uid).unwrap();
    let section = Section { start: root.body_offset(), len: root.body.physical_len };
    let mut buf = [0; 64];
    let len = body.read_at(section, 0, &mut buf).unwrap();
    assert_eq!(&buf[..len], b"body 1\r\n", "parts name places as stored");
    let len = body.read_at(section, 5, &mut buf[..2]).unwrap();
    assert_eq!(&buf[..len], b"1\r");
}

fn header_fields_come_as_they_stand(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let raw = b"Received: a\r\n\tb\r\nSubject:  x \r\nRECEIVED: c\r\n\r\nSubject: no header\r\n";
    commit(&*mailbox, Batch::new().save(save(&*mailbox, raw, None), Flags::NONE, vec![]));
    let columns = Columns::flags().with_header("subject").with_header("X-None").with_header("Received");
    let rows = scan(&*view(&*mailbox), &columns);
    let header = |n| String::from_utf8(rows.header(&rows.rows[0], n).to_vec()).unwrap();
    assert_eq!(header(0), "Subject:  x \n");
    assert_eq!(header(1), "");
    assert_eq!(header(2), "Received: a\n\tb\nRECEIVED: c\n");
}

fn scans_of_any_step_bring_the_same(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let batch = (1..=20).fold(Batch::new(), |batch, n| {
        batch.save(save(&*mailbox, &message(n), None), Flags::NONE, vec![super::keyword("kw")])
    });
    commit(&*mailbox, batch);
    commit(&*mailbox, Batch::new().expunge(set([uid(3), uid(7)])));
    let view = view(&*mailbox);
    let wanted = set([1, 2, 3, 4, 9, 20, 500].map(uid));
    let columns = Columns::flags().with(Column::Envelope).with_header("Subject");
    for (rows, bytes) in [(1, 1 << 20), (2, 1 << 20), (100, 1), (100, 300), (0, 0), (100, 1 << 20)] {
        let steps = scan_with(&*view, &wanted, &columns, ScanBudget { bytes, rows, until: None });
        let mut found = Vec::new();
        for step in &steps {
            assert!(!step.rows.is_empty(), "a step brings at least one message");
            for row in &step.rows {
                assert_eq!(step.keywords(row), [super::keyword("kw")]);
                let subject = String::from_utf8(step.header(row, 0).to_vec()).unwrap();
                assert_eq!(subject, format!("Subject: message {}\n", row.uid));
                assert_eq!(view.seq_of(row.uid), Some(row.seq));
                found.push(row.uid.value());
            }
        }
        assert_eq!(found, [1, 2, 4, 9, 20], "{rows} rows, {bytes} bytes a step");
    }
}

fn nul_bytes_are_refused(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
    let outcome = save.write(b"Subject: x\r\n\r\na\0b\r\n").and_then(|()| save.finish());
    assert!(matches!(outcome, Err(StorageError::MessageRefused(_))));
    assert_eq!(mailbox.status().unwrap().messages, 0);
}

fn a_save_given_up_leaves_nothing(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let mut half = mailbox.begin_save(SaveMeta::default(), Some(1000)).unwrap();
    half.write(b"Subject: half").unwrap();
    drop(half);
    drop(save(&*mailbox, &message(1), None));
    assert_eq!(mailbox.status().unwrap().messages, 0);
    assert_eq!(append(&*mailbox, 2), uid(1), "no UID was used");
}

fn odd_messages(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let long_line = [b"Subject: ".as_slice(), &[b'x'; 100_000], b"\r\n\r\n", &[b'y'; 100_000]].concat();
    let odd: [&[u8]; 6] =
        [b"no header at all", b"\r\n", b"\r\nbody only\r\n", b"a\rb\r\n\r\nc\rd", b"\xff\xfe\r\n\r\n\x80", &long_line];
    for bytes in odd {
        let uid = commit(&*mailbox, Batch::new().save(save(&*mailbox, bytes, None), Flags::NONE, vec![])).saved[0];
        assert_eq!(read(&*view(&*mailbox), uid, 4096), bytes);
    }
    let rows = scan(&*view(&*mailbox), &(Columns::flags() | Column::Envelope | Column::BodyStructure));
    assert!(rows.rows.iter().all(|row| row.envelope.is_some() && row.body_structure.is_some()));
}
