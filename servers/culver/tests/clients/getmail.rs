//! getmail takes mail over into a Maildir.

use std::{fs, path::Path};

use testkit::{
    clients::{Peer, Stage, read_maildir},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, numbers_of, stage};

/// Runs getmail with a retriever and options; returns which messages it brought, and removes them again.
pub(crate) fn fetch(stage: &Stage, home: &Path, retriever: &str, port: u16, options: &str) -> Vec<u32> {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(home.join("mail").join(part)).unwrap();
    }
    let trust = match retriever.contains("SSL") {
        true => format!("ca_certs = {}", stage.certificate().display()),
        false => String::new(),
    };
    let configuration = format!(
        "[retriever]\ntype = {retriever}\nserver = localhost\nport = {port}\nusername = ann\npassword = {PASSWORD}\n\
         {trust}\n[destination]\ntype = Maildir\npath = {}/mail/\n[options]\nverbose = 2\n{options}\n",
        home.display()
    );
    fs::write(home.join("getmailrc"), configuration).unwrap();
    let client = stage.client(Peer::Getmail, home).unwrap().run_as(stage.owner()).unwrap();
    let getmail = client.args(["--getmaildir", home.to_str().unwrap(), "--rcfile", "getmailrc"]).ok().unwrap();
    let errors = getmail.errors();
    assert!(!errors.contains("Error"), "{}{errors}", getmail.text());
    let messages = read_maildir(&home.join("mail")).unwrap();
    for message in &messages {
        fs::remove_file(&message.path).unwrap();
    }
    numbers_of(&messages.into_iter().map(|message| message.bytes).collect::<Vec<_>>())
}

fn takes_new_mail(stage: &Stage, retriever: &str, port: u16) {
    let home = stage.home("getmail").unwrap();
    let fetch = |options: &str| fetch(stage, &home, retriever, port, options);
    deliver_numbered(stage, "ann", 1..=10);
    assert_eq!(fetch("read_all = false\ndelete = false"), (1..=10).collect::<Vec<_>>());
    deliver_numbered(stage, "ann", 11..=13);
    assert_eq!(fetch("read_all = false\ndelete = false"), [11, 12, 13], "the UIDs of the first ten are known");
    assert_eq!(listing(stage, "ann", "INBOX").len(), 13);
    assert_eq!(fetch("read_all = true\ndelete = true"), (1..=13).collect::<Vec<_>>());
    assert_eq!(listing(stage, "ann", "INBOX").len(), 0);
}

#[test]
fn getmail_takes_new_mail_over_imap() {
    let Some(stage) = stage("getmail", Peer::Getmail, &["ann"]) else { return };
    takes_new_mail(&stage, "SimpleIMAPRetriever", stage.culver().imap.port());
}
