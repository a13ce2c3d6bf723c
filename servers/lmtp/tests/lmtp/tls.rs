//! STARTTLS (RFC 3207).

use culver_lmtp::Options;
use culver_runtime::{Limits, Tls, TlsOptions, self_made_certificate};
use testkit::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{Client, messages_of};

#[tokio::test]
async fn everything_before_the_handshake_is_forgotten() {
    let place = Place::new("lmtp-starttls").unwrap();
    let files = self_made_certificate(place.path(), "mail.test").unwrap();
    let certificate = files.certificate.clone();
    let tls = Tls::new(&TlsOptions { certificates: vec![files], ..TlsOptions::default() }).unwrap();
    let mut client = Client::with(Limits::default(), Options::default(), |context| context.starttls = Some(tls)).await;
    // What somebody on the way put behind STARTTLS is not taken for the client's.
    client.send("LHLO x\r\nSTARTTLS now\r\nMAIL FROM:<>\r\nSTARTTLS\r\nRCPT TO:<ann>\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250-", "250-", "250-STARTTLS", "250 SIZE"]).await;
    client.replies(&["501", "250", "220 2.0.0"]).await;

    let Client { read, write, stores, _stopper } = client;
    let stream = read.into_inner().unsplit(write);
    let mut tls = testkit::tls::connect(stream, &certificate, "mail.test").await.unwrap();
    tls.write_all(
        b"RCPT TO:<ann>\r\nMAIL FROM:<>\r\nLHLO x\r\nSTARTTLS\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n.\r\nQUIT\r\n",
    )
    .await
    .unwrap();
    let mut replies = String::new();
    tls.read_to_string(&mut replies).await.unwrap();
    let codes: Vec<_> = replies.lines().filter(|line| &line[3..4] == " ").map(|line| &line[..3]).collect();
    assert_eq!(codes, ["503", "503", "250", "503", "250", "250", "354", "250", "221"], "{replies}");
    assert!(!replies.contains("STARTTLS"), "{replies}");
    let inbox = messages_of(&stores.of("ann"), "INBOX");
    assert!(inbox[0].contains("with LMTPS\r\n") && inbox[0].contains("(using TLSv1.3 with cipher "), "{}", inbox[0]);
}
