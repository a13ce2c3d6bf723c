//! fetchmail hands mail to a delivery program.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use testkit::{
    clients::{Peer, Stage},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, numbers_of, stage};

/// Its exit codes: there was mail; there was none.
pub(crate) const GOT_MAIL: i32 = 0;
const NO_MAIL: i32 = 1;

/// Runs fetchmail with options; returns which messages it brought, and removes them again.
pub(crate) fn fetch(stage: &Stage, home: &Path, protocol: &str, port: u16, options: &str, code: i32) -> Vec<u32> {
    let got = home.join("got");
    fs::create_dir_all(&got).unwrap();
    // Its own memory of what it has seen; IMAP has flags for that.
    let memory = if protocol == "POP3" { "uidl" } else { "" };
    let configuration = format!(
        "poll localhost protocol {protocol} port {port} auth password no dns {memory}\n\
         user ann password {PASSWORD} no rewrite {options}\n\
         mda \"cat >{}/$$\"\n",
        got.display()
    );
    let rc = home.join("fetchmailrc");
    fs::write(&rc, configuration).unwrap();
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
    let client = stage.client(Peer::Fetchmail, home).unwrap().run_as(stage.owner()).unwrap();
    let arguments = ["--nodetach", "--nosyslog", "--verbose", "--fetchmailrc", rc.to_str().unwrap()];
    let ran = client.args(arguments).run().unwrap();
    assert_eq!(ran.status.code(), Some(code), "{}{}", ran.text(), ran.errors());
    let files: Vec<PathBuf> = fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().path()).collect();
    let messages: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    files.iter().for_each(|path| fs::remove_file(path).unwrap());
    numbers_of(&messages)
}

#[test]
fn fetchmail_takes_unseen_mail_over_imap() {
    let Some(stage) = stage("fetchmail", Peer::Fetchmail, &["ann"]) else { return };
    let home = stage.home("fetchmail").unwrap();
    let port = stage.culver().imap.port();
    let fetch = |options: &str, code: i32| fetch(&stage, &home, "IMAP", port, options, code);
    deliver_numbered(&stage, "ann", 1..=10);
    assert_eq!(fetch("sslproto \"\" keep", GOT_MAIL), (1..=10).collect::<Vec<_>>());
    assert_eq!(fetch("sslproto \"\" keep", NO_MAIL), [0; 0]);
    let inbox = listing(&stage, "ann", "INBOX");
    assert!(inbox.len() == 10 && inbox.iter().all(|line| line.contains("\\Seen")), "{inbox:?}");
    deliver_numbered(&stage, "ann", 11..=12);
    assert_eq!(fetch("sslproto \"\" nokeep", GOT_MAIL), [11, 12], "of the unseen");
    assert_eq!(fetch("sslproto \"\" fetchall nokeep", GOT_MAIL), (1..=10).collect::<Vec<_>>());
    assert_eq!(listing(&stage, "ann", "INBOX").len(), 0);
}
