//! STLS (RFC 2595 §4).

use culver_runtime::{Client as Who, Tls, TlsOptions, self_made_certificate};
use testkit::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::common::Host;

#[tokio::test]
async fn everything_before_the_handshake_is_forgotten() {
    let place = Place::new("pop3-stls").unwrap();
    let files = self_made_certificate(place.path(), "mail.test").unwrap();
    let certificate = files.certificate.clone();
    let mut host = Host::new();
    host.put_many(1);
    host.ctx.client = Who::default();
    host.ctx.starttls = Some(Tls::new(&TlsOptions { certificates: vec![files], ..TlsOptions::default() }).unwrap());

    let (mut ours, theirs) = duplex(64 * 1024);
    let session = tokio::spawn(culver_pop3::serve(theirs, host.ctx.clone()));
    // What somebody on the way put behind STLS is not taken for the client's.
    ours.write_all(b"CAPA\r\nUSER ann\r\nSTLS\r\nQUIT\r\nSTLS\r\n").await.unwrap();
    let mut plain = Vec::new();
    while !plain.ends_with(b"negotiation now.\r\n") {
        assert_ne!(ours.read_buf(&mut plain).await.unwrap(), 0, "{}", plain.escape_ascii());
    }
    let plain = String::from_utf8(plain).unwrap();
    assert!(plain.contains("\r\nSTLS\r\n") && !plain.contains("USER") && !plain.contains("SASL"), "{plain}");
    assert!(plain.contains("-ERR [AUTH]"), "{plain}");

    let mut tls = testkit::tls::connect(ours, &certificate, "mail.test").await.unwrap();
    tls.write_all(b"PASS secret word\r\nCAPA\r\nSTLS\r\nUSER ann\r\nPASS secret word\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut secret = String::new();
    tls.read_to_string(&mut secret).await.unwrap();
    let (before, after) = secret.split_once("+OK Logged in.\r\n").expect(&secret);
    assert!(before.starts_with("-ERR No username"), "{before}");
    assert!(before.contains("\r\nUSER\r\n") && !before.contains("\r\nSTLS\r\n"), "{before}");
    assert!(before.contains("-ERR TLS is already active"), "{before}");
    assert!(after.contains("Subject: 1\r\n") && after.ends_with("+OK Logging out, messages deleted.\r\n"), "{after}");
    session.await.unwrap();
    assert_eq!(host.uids().len(), 0);
}
