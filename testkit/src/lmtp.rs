//! A blocking LMTP client (RFC 2033).

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::wire::Input;

/// A connection that has said LHLO.
#[derive(Debug)]
pub struct Lmtp {
    input: Input<TcpStream>,
    /// The extensions that the server offers, a line each.
    pub extensions: Vec<String>,
}

impl Lmtp {
    /// Connects and says LHLO.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut lmtp = Self { input: Input::new(stream), extensions: Vec::new() };
        lmtp.expect(220)?;
        lmtp.send(b"LHLO test.example\r\n")?;
        lmtp.extensions = lmtp.expect(250)?.lines().skip(1).map(str::to_owned).collect();
        Ok(lmtp)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.input.stream();
        Ok(stream.write_all(bytes)?)
    }

    /// Reads a reply: its code, and its text a line each.
    pub fn reply(&mut self) -> anyhow::Result<(u16, String)> {
        let mut text = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.input.line()?).into_owned();
            let (code, rest) = line.split_at_checked(3).context("a reply has three digits")?;
            text.push(rest.get(1..).unwrap_or_default().to_owned());
            if !rest.starts_with('-') {
                return Ok((code.parse().with_context(|| line.clone())?, text.join("\n")));
            }
        }
    }

    /// Reads a reply and insists on its code.
    pub fn expect(&mut self, code: u16) -> anyhow::Result<String> {
        let (got, text) = self.reply()?;
        if got != code {
            bail!("expected {code}, got {got} {text}");
        }
        Ok(text)
    }

    /// Delivers a message to recipients, pipelined; a reply for each recipient, in order.
    pub fn deliver(&mut self, recipients: &[&str], message: &[u8]) -> anyhow::Result<Vec<(u16, String)>> {
        let mut envelope = b"MAIL FROM:<sender@test.example>\r\n".to_vec();
        for recipient in recipients {
            envelope.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        envelope.extend_from_slice(b"DATA\r\n");
        self.send(&envelope)?;
        self.expect(250)?;
        let mut replies = Vec::new();
        for _ in recipients {
            replies.push(self.reply()?);
        }
        let accepted = replies.iter().filter(|(code, _)| *code == 250).count();
        let (code, text) = self.reply()?;
        if code != 354 {
            bail!("DATA: {code} {text} after {replies:?}");
        }
        self.send(&dot_stuffed(message))?;
        let mut outcomes = Vec::new();
        for _ in 0..accepted {
            outcomes.push(self.reply()?);
        }
        let mut outcomes = outcomes.into_iter();
        let after_data =
            |(code, text)| if code == 250 { outcomes.next().unwrap_or((0, String::new())) } else { (code, text) };
        Ok(replies.into_iter().map(after_data).collect())
    }
}

/// The message with CRLF line ends, leading dots doubled, and the final dot.
pub fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32 + 8);
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
