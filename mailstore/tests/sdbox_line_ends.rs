//! A store whose bodies have CRLF on disk answers as one with LF does, here and from a real Dovecot.

#![allow(clippy::unwrap_used, reason = "these are tests, whatever clippy takes them for")]

mod dovecot;

use std::sync::Arc;

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Batch, MailStorage, SaveMeta, Section, ViewAs,
    dbox::BodyLineEnds,
    mailtypes::{Flags, InternalDate, MailboxName, SearchKey},
    sdbox::{SdboxOptions, SdboxStorage},
    search::search,
};

/// What Dovecot says to one store and what we read of it.
fn answers(line_ends: BodyLineEnds) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let shared = dovecot::Shared::new();
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let options = SdboxOptions { line_ends, ..SdboxOptions::default() };
    let storage = SdboxStorage::create(&env, &shared.dir.path().join("mail"), options).unwrap();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let long = "a line of a long message\r\n".repeat(5000);
    let parts = "Content-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: \
                 text/html\r\n\r\n<p>two\r\n\r\n--x--\r\npost";
    let messages = ["Subject: a\r\n b\r\n\r\nbody\r\n", parts, "no header", &format!("Subject: l\n\n{long}"), "\r\n"];
    for message in messages {
        let meta = SaveMeta { internal_date: Some(InternalDate::utc(1_600_000_000)), ..SaveMeta::default() };
        let mut save = inbox.begin_save(meta, None).unwrap();
        save.write(message.as_bytes()).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new());
        inbox.submit(batch).unwrap().wait().unwrap();
    }
    let view = inbox.view(&ViewAs::default()).unwrap();
    let read = |uid| {
        let mut body = view.body(uid).unwrap();
        let mut bytes = vec![0; body.size() as usize + 1];
        let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        bytes[..len].to_vec()
    };
    let ours = view.uids().iter().map(read).collect();
    drop(view);
    let mut imap = shared.imap();
    imap.run("EXAMINE INBOX");
    // Once with our cache, and once from the file alone.
    let items = "RFC822.SIZE BODYSTRUCTURE ENVELOPE BODY.PEEK[] BODY.PEEK[]<9.40> BODY.PEEK[TEXT]<3.99> BODY.PEEK[1]";
    let mut theirs = imap.run(format!("FETCH 1:* ({items})"));
    std::fs::remove_file(shared.dir.path().join("mail").join("mailboxes/INBOX/dbox-Mails/dovecot.index.cache"))
        .unwrap();
    let mut imap = shared.imap();
    imap.run("EXAMINE INBOX");
    theirs.extend(imap.run(format!("FETCH 1:* ({items})")));
    assert_eq!(shared.complaints(), [""; 0]);
    (ours, theirs)
}

#[test]
fn dovecot_reads_both_alike() {
    if !dovecot::is_installed() {
        return;
    }
    let (ours, theirs) = answers(BodyLineEnds::Lf);
    assert_eq!((ours.len(), theirs.len()), (5, 10));
    let (ours_crlf, theirs_crlf) = answers(BodyLineEnds::CrLf);
    assert_eq!(ours, ours_crlf);
    for (lf, crlf) in theirs.iter().zip(&theirs_crlf) {
        assert_eq!(String::from_utf8_lossy(lf), String::from_utf8_lossy(crlf));
    }
    // What Dovecot says of a message holds what we read of it.
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(memchr::memmem::find(theirs, ours).is_some(), "{}", String::from_utf8_lossy(theirs));
    }
}

#[test]
fn a_text_over_a_line_end_is_found_however_it_is_stored() {
    for line_ends in [BodyLineEnds::Lf, BodyLineEnds::CrLf] {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
        let options = SdboxOptions { line_ends, ..SdboxOptions::default() };
        let storage = SdboxStorage::create(&env, &dir.path().join("mail"), options).unwrap();
        let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
        // The second is longer than one piece, with the line end across the cut.
        let long = format!("Subject: l\r\n\r\n{}one\r\ntwo", "x".repeat((64 << 10) - 5));
        for message in ["Subject: s\r\n\r\none\r\ntwo\r\n", &long, "Subject: one\r\n\r\ntwo\r\n"] {
            let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
            save.write(message.as_bytes()).unwrap();
            let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new());
            inbox.submit(batch).unwrap().wait().unwrap();
        }
        let view = inbox.view(&ViewAs::default()).unwrap();
        let found = |text: &str| search(SearchKey::Body(text.to_owned()), &*view).unwrap().to_string();
        assert_eq!(found("One\r\nTwo"), "1:2");
        assert_eq!(found("TWO"), "1:3");
        assert_eq!(found("one\ntwo"), "");
    }
}
