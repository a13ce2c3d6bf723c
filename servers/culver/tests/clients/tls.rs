//! Every client reads its mail within TLS, from the first byte on and by STARTTLS, and believes the server's certificate.

use std::{fs, path::Path};

use testkit::{
    clients::{Peer, Program, Stage, StoreFormat, missing, read_maildir},
    dovecot::PASSWORD,
};

use crate::{CULVER, deliver_numbered, fetchmail, getmail, numbered, numbers_of, without_added_headers};

/// How TLS begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Begin {
    Implicit,
    StartTls,
}

const BOTH: [Begin; 2] = [Begin::Implicit, Begin::StartTls];

fn stage(what: &str, peer: Peer) -> Option<Stage> {
    if missing(what, &[Peer::Dovecot, Peer::OpenSsl, peer]) {
        return None;
    }
    let stage = Stage::with_tls(what, CULVER.as_ref(), StoreFormat::Sdbox, &["ann"]).unwrap();
    deliver_numbered(&stage, "ann", 1..=3);
    Some(stage)
}

fn port(stage: &Stage, begin: Begin) -> u16 {
    match begin {
        Begin::Implicit => stage.culver().more.imaps.unwrap().port(),
        Begin::StartTls => stage.culver().imap.port(),
    }
}

#[test]
fn curl_reads_within_tls() {
    let Some(stage) = stage("curl-tls", Peer::Curl) else { return };
    let (home, certificate) = (stage.home("curl").unwrap(), stage.certificate());
    for begin in BOTH {
        let scheme = if begin == Begin::Implicit { "imaps" } else { "imap" };
        let url = format!("{scheme}://localhost:{}/INBOX;UID=2", port(&stage, begin));
        let user = format!("ann:{PASSWORD}");
        let curl = || stage.client(Peer::Curl, &home).unwrap().args(["-sS", "--ssl-reqd", "--user", &user, &url]);
        let fetched = curl().args(["--cacert".as_ref(), certificate.as_os_str()]).ok().unwrap();
        assert_eq!(without_added_headers(&fetched.stdout), numbered(2), "{begin:?}");
        let refused = curl().run().unwrap();
        assert_eq!(refused.status.code(), Some(60), "a certificate that nobody vouches for: {}", refused.errors());
    }
}

#[test]
fn isync_reads_within_tls() {
    let Some(stage) = stage("isync-tls", Peer::Mbsync) else { return };
    for begin in BOTH {
        let home = stage.home(&format!("isync-{begin:?}")).unwrap();
        let kind = if begin == Begin::Implicit { "IMAPS" } else { "STARTTLS" };
        let (maildir, port, certificate) = (home.join("mail"), port(&stage, begin), stage.certificate());
        let configuration = format!(
            "IMAPStore there\nHost localhost\nPort {port}\nUser ann\nPass {PASSWORD}\nSSLType {kind}\n\
             SystemCertificates no\nCertificateFile {}\n\nMaildirStore here\nInbox {}\n\n\
             Channel all\nFar :there:\nNear :here:\nSync Pull\nCreate Near\nSyncState *\n",
            certificate.display(),
            maildir.display()
        );
        fs::write(home.join("mbsyncrc"), configuration).unwrap();
        stage.client(Peer::Mbsync, &home).unwrap().args(["--config", "mbsyncrc", "--all"]).ok().unwrap();
        assert_eq!(numbers_in(&maildir), [1, 2, 3], "{begin:?}");
    }
}

fn numbers_in(maildir: &Path) -> Vec<u32> {
    numbers_of(&read_maildir(maildir).unwrap().into_iter().map(|message| message.bytes).collect::<Vec<_>>())
}

#[test]
fn offlineimap_reads_within_tls() {
    let Some(stage) = stage("offlineimap-tls", Peer::OfflineImap) else { return };
    for begin in BOTH {
        let home = stage.home(&format!("offlineimap-{begin:?}")).unwrap();
        let (implicit, starttls) = if begin == Begin::Implicit { ("yes", "no") } else { ("no", "yes") };
        let (home_path, port, certificate) = (home.display(), port(&stage, begin), stage.certificate());
        let configuration = format!(
            "[general]\naccounts = Test\nmetadata = {home_path}/state\nui = basic\nfsync = no\n\
             [Account Test]\nlocalrepository = Here\nremoterepository = There\n\
             [Repository Here]\ntype = Maildir\nlocalfolders = {home_path}/mail\n\
             [Repository There]\ntype = IMAP\nremotehost = localhost\nremoteport = {port}\nssl = {implicit}\n\
             starttls = {starttls}\nsslcacertfile = {}\nremoteuser = ann\nremotepass = {PASSWORD}\n",
            certificate.display()
        );
        fs::write(home.join("offlineimaprc"), configuration).unwrap();
        stage.client(Peer::OfflineImap, &home).unwrap().args(["-1", "-o", "-c", "offlineimaprc"]).ok().unwrap();
        assert_eq!(numbers_in(&home.join("mail/INBOX")), [1, 2, 3], "{begin:?}");
    }
}

#[test]
fn getmail_reads_within_tls() {
    let Some(stage) = stage("getmail-tls", Peer::Getmail) else { return };
    let home = stage.home("getmail").unwrap();
    let port = port(&stage, Begin::Implicit);
    assert_eq!(getmail::fetch(&stage, &home, "SimpleIMAPSSLRetriever", port, "delete = false"), [1, 2, 3]);
}

#[test]
fn fetchmail_reads_within_tls() {
    let Some(stage) = stage("fetchmail-tls", Peer::Fetchmail) else { return };
    for begin in BOTH {
        let home = stage.home(&format!("fetchmail-{begin:?}")).unwrap();
        let kind = if begin == Begin::Implicit { "ssl" } else { "sslproto tls1.2+" };
        let options = format!("{kind} sslcertck sslcertfile {} fetchall keep", stage.certificate().display());
        let port = port(&stage, begin);
        assert_eq!(
            fetchmail::fetch(&stage, &home, "IMAP", port, &options, fetchmail::GOT_MAIL),
            [1, 2, 3],
            "{begin:?}"
        );
    }
}

fn mutt_reads_within_tls(name: &str, peer: Peer) {
    let Some(stage) = stage(&format!("{name}-tls"), peer) else { return };
    for begin in BOTH {
        let home = stage.home(&format!("{name}-{begin:?}")).unwrap();
        let scheme = if begin == Begin::Implicit { "imaps" } else { "imap" };
        // mutt would fall back to a password if SCRAM did not work; so ask for nothing else.
        let authenticator = if begin == Begin::Implicit && peer == Peer::Mutt { "scram-sha-256" } else { "login" };
        let (port, certificate, message) = (port(&stage, begin), stage.certificate(), home.join("message"));
        let configuration = format!(
            "set folder={scheme}://ann@localhost:{port}/ spoolfile=+INBOX imap_pass={PASSWORD}\n\
             set imap_authenticators={authenticator}\n\
             set ssl_starttls=yes ssl_force_tls=yes certificate_file={}\n\
             set wait_key=no pipe_decode=no move=no quit=yes\n\
             push \"<search>~s 'number 2'<enter><pipe-message>cat >{}<enter><quit>\"\n",
            certificate.display(),
            message.display()
        );
        fs::write(home.join("muttrc"), configuration).unwrap();
        let command = format!("{} -n -R -F muttrc", peer.path().unwrap().display());
        let script = Program::new("/usr/bin/script".as_ref(), &home);
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).ok().unwrap();
        assert_eq!(numbers_of(&[fs::read(message).unwrap()]), [2], "{begin:?}");
    }
}

#[test]
fn mutt_reads_within_tls_too() {
    mutt_reads_within_tls("mutt", Peer::Mutt);
}

#[test]
fn neomutt_reads_within_tls() {
    mutt_reads_within_tls("neomutt", Peer::NeoMutt);
}

/// By imaplib, and by IMAPClient.
const PYTHON: &str = r#"
import imaplib, ssl, sys
from imapclient import IMAPClient

imaps, imap, certificate, user, password = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
trust = ssl.create_default_context(cafile=certificate)
implicit = imaplib.IMAP4_SSL("localhost", imaps, ssl_context=trust)
asked = imaplib.IMAP4("localhost", imap)
asked.starttls(trust)
for client in (implicit, asked):
    client.login(user, password)
    assert client.select("INBOX") == ("OK", [b"3"])
    assert b"number 2" in client.fetch("2", "(BODY[])")[1][0][1]
    client.logout()
implicit = IMAPClient("localhost", imaps, ssl_context=trust)
asked = IMAPClient("localhost", imap, ssl=False)
asked.starttls(trust)
for client in (implicit, asked):
    client.login(user, password)
    assert client.select_folder("INBOX")[b"EXISTS"] == 3
    client.logout()
"#;

#[test]
fn python_reads_within_tls() {
    let Some(stage) = stage("python-tls", Peer::Python) else { return };
    let home = stage.home("python").unwrap();
    let ports = BOTH.map(|begin| port(&stage, begin).to_string());
    let client = stage.script(Peer::Python, &home, "session.py", PYTHON).unwrap();
    client.args(ports).args([stage.certificate()]).args(["ann", PASSWORD]).ok().unwrap();
}

const NODE: &str = r#"
'use strict';
const fs = require('node:fs');
const assert = require('node:assert/strict');
const { ImapFlow } = require('imapflow');
const [imaps, imap, certificate, user, pass] = process.argv.slice(2);

async function read(port, secure) {
    const tls = { ca: fs.readFileSync(certificate), rejectUnauthorized: true };
    const options = { host: 'localhost', port: Number(port), secure, auth: { user, pass }, tls, logger: false };
    const client = new ImapFlow(secure ? options : { ...options, doSTARTTLS: true });
    await client.connect();
    assert.ok(client.secureConnection);
    assert.equal((await client.mailboxOpen('INBOX')).exists, 3);
    assert.equal((await client.fetchOne('2', { envelope: true })).envelope.subject, 'number 2');
    await client.logout();
}

read(imaps, true).then(() => read(imap, false)).catch(error => {
    console.error(error);
    process.exit(1);
});
"#;

#[test]
fn imapflow_reads_within_tls() {
    let Some(stage) = stage("imapflow-tls", Peer::Node) else { return };
    let home = stage.home("imapflow").unwrap();
    let ports = BOTH.map(|begin| port(&stage, begin).to_string());
    let client = stage.script(Peer::Node, &home, "session.js", NODE).unwrap().env("NODE_PATH", Peer::node_modules());
    client.args(ports).args([stage.certificate()]).args(["ann", PASSWORD]).ok().unwrap();
}
