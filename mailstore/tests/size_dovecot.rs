//! The size of a mailbox as it is kept in the index (`hdr-vsize`), beside a real Dovecot 2.3: either adds up what the other
//! wrote, and neither believes a sum of messages that are not the same any more.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod dovecot;

use std::{fs, sync::Arc};

use dovecot::{Imap, Shared};
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Format, Store, StoreOptions,
    maildir::{MaildirLayout, MaildirSeparator},
};

fn told_by_dovecot(imap: &mut Imap) -> u64 {
    let lines = imap.run("STATUS box (SIZE)");
    let text = String::from_utf8(lines.concat()).unwrap();
    text.rsplit_once("SIZE ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

fn message(number: usize) -> Vec<u8> {
    // Lines that end in LF alone count as if they did not.
    format!("Subject: number {number}\r\n\r\n{}", "a line\n".repeat(number)).into_bytes()
}

/// So many that the sum is written.
const MANY: usize = 40;

#[test]
fn sizes_are_added_up_as_dovecot_does() {
    if !dovecot::is_installed() {
        return;
    }
    let maildir = Format::Maildir(MaildirLayout::PlusPlus);
    for (location, format) in [("sdbox", Format::Sdbox), ("mdbox", Format::Mdbox), ("maildir", maildir)] {
        let shared = Shared::new();
        let root = shared.dir.path().join("mail");
        let config = shared.dir.path().join("dovecot.conf");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("mail_location = sdbox", &format!("mail_location = {location}"))).unwrap();
        let options =
            StoreOptions { format: Some(format), separator: MaildirSeparator::Slash, ..StoreOptions::default() };
        // As another process would, each time.
        let open = || {
            let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
            Store::create_in(&env, &root, &options).unwrap()
        };
        let size = || open().mailbox("box").unwrap().mailbox().size().unwrap();
        let store = open();
        store.create_mailbox("box").unwrap();
        let append = |count: usize| {
            for number in 0..count {
                store.mailbox("box").unwrap().append(Append::new(&message(number))).unwrap();
            }
        };
        append(MANY);
        let log = match format {
            Format::Maildir(_) => root.join(".box/dovecot.index.log"),
            _ => root.join("mailboxes/box/dbox-Mails/dovecot.index.log"),
        };
        let is_kept = || fs::read(&log).unwrap().windows(9).any(|window| window == b"hdr-vsize");
        assert!(!is_kept(), "{format}");
        let ours = size();
        assert!(is_kept(), "{format}");
        shared.own();
        let mut imap = shared.imap();
        assert_eq!(told_by_dovecot(&mut imap), ours, "{format}: what we wrote");
        // Fewer, with the same highest UID; then more.
        imap.run("SELECT box");
        imap.run("STORE 3,7 +FLAGS.SILENT (\\Deleted)");
        imap.run("EXPUNGE");
        imap.run("UNSELECT");
        let theirs = told_by_dovecot(&mut imap);
        assert_eq!((size(), theirs < ours), (theirs, true), "{format}: what they wrote");
        append(MANY);
        shared.own();
        assert_eq!(size(), told_by_dovecot(&mut imap), "{format}: more");
        let view = store.mailbox("box").unwrap().view().unwrap();
        let first = view.view().uids().iter().take(20).collect();
        view.expunge(&first).unwrap();
        shared.own();
        assert_eq!(told_by_dovecot(&mut imap), size(), "{format}: fewer");
        assert_eq!(shared.complaints(), [""; 0], "{format}");
    }
}
