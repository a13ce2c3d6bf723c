//! Messages of every kind, and numbers to choose among them by.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use mailtypes::MailboxName;

const MULTIPART: &[u8] = b"From: Ann <ann@example.org>\r\nTo: bob@example.org, \"C, D\" <c@example.org>\r\n\
    Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"xx\"\r\n\r\n\
    preamble\r\n--xx\r\nContent-Type: text/plain; charset=utf-8\r\n\r\none\r\n--xx\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inner\r\n\r\ninner body\r\n--xx\r\nContent-Type: application/octet-stream\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\nAAECAw==\r\n--xx--\r\n";

pub fn messages() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = vec![
        b"Subject: plain\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n\r\nbody\r\n"
            .to_vec(),
        b"Subject: LF only\n\nline\nline without end".to_vec(),
        b"Subject: mixed\r\n\r\na\nb\r\nc\r\r\nd\re\r\n\r\n".to_vec(),
        b"no header at all\r\n".to_vec(),
        b"Subject: header only\r\n".to_vec(),
        b"\r\nbody only\r\n".to_vec(),
        b"Subject: 8bit\r\n\r\nn\xe4chste \xff\xfe\r\n".to_vec(),
        MULTIPART.to_vec(),
    ];
    let mut long = b"Subject: long\r\n\r\n".to_vec();
    (0..9000).for_each(|n| long.extend_from_slice(format!("line {n} of a message\r\n").as_bytes()));
    messages.push(long);
    messages
}

pub fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

/// Numbers that look random and are the same each time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
