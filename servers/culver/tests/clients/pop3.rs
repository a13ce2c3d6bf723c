//! POP3 by poplib, curl, getmail and fetchmail.

use testkit::{
    clients::{Peer, Stage, StoreFormat, missing},
    dovecot::PASSWORD,
};

use crate::{CULVER, deliver_numbered, fetchmail, getmail, listing, numbered, without_added_headers};

fn stage(what: &str, peer: Peer) -> Option<Stage> {
    stage_on(StoreFormat::Sdbox, what, peer)
}

fn stage_on(format: StoreFormat, what: &str, peer: Peer) -> Option<Stage> {
    if missing(what, &[Peer::Dovecot, Peer::OpenSsl, peer]) {
        return None;
    }
    let stage = Stage::with_tls(what, CULVER.as_ref(), format, &["ann"]).unwrap();
    deliver_numbered(&stage, "ann", 1..=10);
    Some(stage)
}

fn ports(stage: &Stage) -> (u16, u16) {
    let more = stage.culver().more;
    (more.pop3.unwrap().port(), more.pop3s.unwrap().port())
}

#[test]
fn poplib_reads_and_deletes() {
    poplib_on(StoreFormat::Sdbox, "poplib");
}

#[test]
fn poplib_reads_and_deletes_on_maildir() {
    poplib_on(StoreFormat::Maildir, "poplib-maildir");
}

#[allow(clippy::print_stderr, reason = "what it came to is of use in a log")]
fn poplib_on(format: StoreFormat, what: &str) {
    let Some(stage) = stage_on(format, what, Peer::Python) else { return };
    let home = stage.home("poplib").unwrap();
    let (pop3, pop3s) = ports(&stage);
    let client = stage.script(Peer::Python, &home, "session.py", include_str!("poplib_session.py")).unwrap();
    let client = client.args(["localhost", &pop3.to_string(), &pop3s.to_string()]).args([stage.certificate()]);
    let ran = client.args(["ann", PASSWORD]).ok().unwrap();
    eprintln!("poplib: {}", ran.text().trim());
    let numbers = listing(&stage, "ann", "INBOX").into_iter().map(|line| line.rsplit('#').next().unwrap().to_owned());
    assert_eq!(numbers.collect::<Vec<_>>(), ["1", "2", "3", "4", "5", "6", "8", "9"]);
}

#[test]
fn curl_reads_and_deletes_by_pop3() {
    let Some(stage) = stage("curl-pop3", Peer::Curl) else { return };
    let home = stage.home("curl").unwrap();
    let (pop3, pop3s) = ports(&stage);
    let curl = |url: &str, arguments: &[&str]| {
        let client = stage.client(Peer::Curl, &home).unwrap();
        let client = client.args(["-sS", "--user", &format!("ann:{PASSWORD}"), url, "--cacert"]);
        client.args([stage.certificate()]).args(arguments).ok().unwrap().stdout
    };
    let plain = format!("pop3://localhost:{pop3}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(text(curl(&format!("{plain}/"), &[])).lines().count(), 10, "LIST");
    assert_eq!(without_added_headers(&curl(&format!("{plain}/2"), &[])), numbered(2));
    assert_eq!(without_added_headers(&curl(&format!("{plain}/3"), &["--ssl-reqd"])), numbered(3), "by STLS");
    assert_eq!(without_added_headers(&curl(&format!("pop3s://localhost:{pop3s}/4"), &[])), numbered(4));
    assert_eq!(without_added_headers(&curl(&format!("{plain}/5"), &["--login-options", "AUTH=PLAIN"])), numbered(5));
    assert_eq!(text(curl(&format!("{plain}/"), &["-X", "UIDL"])).lines().count(), 10);
    assert!(text(curl(&format!("{plain}/"), &["-X", "TOP 6 0"])).contains("Subject: number 6"));
    curl(&format!("{plain}/"), &["-X", "DELE 1", "--head"]);
    assert_eq!(listing(&stage, "ann", "INBOX").len(), 9);
}

#[test]
fn getmail_takes_new_mail_over_pop3() {
    let Some(stage) = stage("getmail-pop3", Peer::Getmail) else { return };
    let home = stage.home("getmail").unwrap();
    let (pop3, pop3s) = ports(&stage);
    let fetch = |retriever: &str, port: u16, options: &str| getmail::fetch(&stage, &home, retriever, port, options);
    let keep = "read_all = false\ndelete = false";
    assert_eq!(fetch("SimplePOP3Retriever", pop3, keep), (1..=10).collect::<Vec<_>>());
    deliver_numbered(&stage, "ann", 11..=13);
    assert_eq!(fetch("SimplePOP3Retriever", pop3, keep), [11, 12, 13], "UIDL names the first ten as before");
    let all = fetch("SimplePOP3SSLRetriever", pop3s, "read_all = true\ndelete = true");
    assert_eq!(all, (1..=13).collect::<Vec<_>>());
    assert_eq!(listing(&stage, "ann", "INBOX").len(), 0);
}

#[test]
fn fetchmail_takes_new_mail_over_pop3() {
    let Some(stage) = stage("fetchmail-pop3", Peer::Fetchmail) else { return };
    let home = stage.home("fetchmail").unwrap();
    let (pop3, pop3s) = ports(&stage);
    let trust = format!("sslcertck sslcertfile {}", stage.certificate().display());
    let fetch = |port: u16, options: &str| {
        fetchmail::fetch(&stage, &home, "POP3", port, &format!("{options} {trust}"), fetchmail::GOT_MAIL)
    };
    assert_eq!(fetch(pop3, "sslproto tls1.2+ keep"), (1..=10).collect::<Vec<_>>(), "by STLS");
    deliver_numbered(&stage, "ann", 11..=12);
    assert_eq!(fetch(pop3, "sslproto tls1.2+ keep"), [11, 12]);
    assert_eq!(fetch(pop3s, "ssl fetchall nokeep"), (1..=12).collect::<Vec<_>>());
    assert_eq!(listing(&stage, "ann", "INBOX").len(), 0);
}
