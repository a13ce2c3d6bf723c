//! What Dovecot does to its own messages in an mbox with nobody else on the store: why the runs of both at once count what is
//! spoilt of its workers' messages, and take none of it for a fault of Culver's.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use testkit::{
    dovecot::{self, PASSWORD},
    imap::Imap,
    interop::{SharedStore, StoreFormat, USER},
    skip,
};

/// Its STORE finds that the file has grown, and takes the flags of the first message that it reads from the file again.
#[test]
fn dovecot_loses_a_flag_when_somebody_has_appended() {
    if !dovecot::is_installed() {
        return skip("a flag that Dovecot loses", "dovecot");
    }
    let store = SharedStore::new("dovecot-on-mbox", StoreFormat::Mbox).unwrap();
    let dovecot = store.dovecot("peer").unwrap();
    let login = || Imap::login(dovecot.imap, USER, PASSWORD).unwrap();
    let (mut one, mut other) = (login(), login());
    let text = b"Subject: x\r\n\r\nbody\r\n";
    for _ in 0..3 {
        assert!(one.append("INBOX", "", None, text).unwrap().is_ok());
    }
    one.ok("SELECT INBOX").unwrap();
    assert!(other.append("INBOX", "", None, text).unwrap().is_ok());
    assert!(one.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").is_ok(), "it says that it has done so");
    let answer = one.ok("UID FETCH 1 (FLAGS)").unwrap();
    let shown =
        answer.untagged.iter().map(|line| String::from_utf8_lossy(line)).find(|line| line.contains("FETCH")).unwrap();
    assert!(!shown.contains("\\Deleted"), "Dovecot does not lose it any more: {shown}");
}
