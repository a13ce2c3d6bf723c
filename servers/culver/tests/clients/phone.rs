//! What a phone does, within TLS, with a certificate that an authority has signed: the walk through README's second half.

use std::path::Path;

use testkit::{
    clients::{Certificate, Peer, Program, Stage, StoreFormat, missing},
    dovecot::PASSWORD,
};

use crate::{CULVER, deliver_numbered, listing};

/// A message as mail programs make them: text in two forms, and something attached.
const MESSAGE: &str = include_str!("phone_message.eml");

fn openssl(folder: &Path, arguments: &[&str]) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let program = Program::new(&Peer::OpenSsl.path().unwrap(), folder);
    program.args(["req", "-x509"]).args(key).args(arguments).ok().unwrap();
}

/// Two authorities, and a certificate for `localhost` by the first.
fn certificate(folder: &Path) -> Certificate {
    for (name, subject) in [("authority", "/CN=The household"), ("stranger", "/CN=Somebody else")] {
        let (key, file) = (format!("{name}-key.pem"), format!("{name}.pem"));
        openssl(folder, &["-subj", subject, "-keyout", &key, "-out", &file]);
    }
    let signed_by = ["-CA", "authority.pem", "-CAkey", "authority-key.pem"];
    let for_servers = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let files = ["-keyout", "key.pem", "-out", "certificate.pem"];
    openssl(folder, &[&signed_by[..], &for_servers, &names, &files].concat());
    Certificate { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
}

fn phone_on(format: StoreFormat, what: &str) {
    if missing(what, &[Peer::Dovecot, Peer::OpenSsl, Peer::Node]) {
        return;
    }
    let make = |folder: &Path| Ok(certificate(folder));
    let stage = Stage::with_certificate(what, CULVER.as_ref(), format, &["ann"], make).unwrap();
    deliver_numbered(&stage, "ann", 1..=3);
    stage.deliver("ann", [MESSAGE.replace('\n', "\r\n").as_bytes()]).unwrap();
    let home = stage.home("phone").unwrap();
    let folder = stage.certificate().parent().unwrap().to_owned();
    let client = stage.script(Peer::Node, &home, "session.js", include_str!("phone_session.js")).unwrap();
    let client = client.env("NODE_PATH", Peer::node_modules());
    let client = client.args([stage.culver().more.imaps.unwrap().port().to_string()]);
    let client = client.args([folder.join("authority.pem"), folder.join("stranger.pem")]);
    let ran = client.args(["ann", PASSWORD]).ok().unwrap();
    assert_eq!(ran.text(), "the phone is satisfied\n");

    assert_eq!(listing(&stage, "ann", "INBOX"), ["1 \\Answered \\Seen #1", "3 \\Flagged #3", "4 \\Flagged \\Seen #"]);
    assert_eq!(listing(&stage, "ann", "Sent"), ["1 \\Seen #1"]);
    assert_eq!(listing(&stage, "ann", "Trash"), ["1 #2"]);
    assert_eq!(listing(&stage, "ann", "Archive"), ["1 #5"]);
    assert_eq!(listing(&stage, "ann", "Drafts"), [""; 0]);
}

#[test]
fn a_phone_reads_answers_and_catches_up() {
    phone_on(StoreFormat::Sdbox, "phone");
}

#[test]
fn a_phone_reads_answers_and_catches_up_on_maildir() {
    phone_on(StoreFormat::Maildir, "phone-maildir");
}
