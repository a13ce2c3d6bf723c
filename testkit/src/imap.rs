//! A blocking IMAP client that keeps what the server said as it said it.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::wire::{Input, Token, tokens};

/// A connection.
#[derive(Debug)]
pub struct Imap {
    input: Input<TcpStream>,
    tag: u32,
}

/// A FETCH response: sequence number, and attributes in pairs of name (upper case) and value.
pub type Fetched = (u32, Vec<(String, Token)>);

/// What a command brought: the untagged responses, then the tagged one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Untagged, without the `* `.
    pub untagged: Vec<Vec<u8>>,
    /// `OK`, `NO` or `BAD`.
    pub status: String,
    /// What follows the status.
    pub text: String,
}

impl Answer {
    /// Whether the server said OK.
    pub fn is_ok(&self) -> bool {
        self.status == "OK"
    }

    /// The arguments of a response code such as `APPENDUID`.
    pub fn code(&self, name: &str) -> Option<Vec<String>> {
        code_of(&self.text, name)
    }

    /// The FETCH responses.
    pub fn fetches(&self) -> anyhow::Result<Vec<Fetched>> {
        let mut fetches = Vec::new();
        for line in &self.untagged {
            let tokens = tokens(line).map_err(|e| anyhow::anyhow!("{e}: {}", String::from_utf8_lossy(line)))?;
            let [Token::Atom(seq), Token::Atom(word), Token::List(items)] = &tokens[..] else { continue };
            if word != b"FETCH" {
                continue;
            }
            let pairs = items.chunks(2).map(|pair| match pair {
                [name, value] => Ok((name.text().to_uppercase(), value.clone())),
                _ => bail!("an attribute without a value"),
            });
            fetches.push((std::str::from_utf8(seq)?.parse()?, pairs.collect::<anyhow::Result<_>>()?));
        }
        Ok(fetches)
    }

    /// The numbers of the SEARCH response.
    pub fn search(&self) -> Vec<u32> {
        let lines = self.untagged.iter().filter_map(|line| line.strip_prefix(b"SEARCH"));
        lines
            .flat_map(|line| String::from_utf8_lossy(line).split_whitespace().flat_map(str::parse).collect::<Vec<_>>())
            .collect()
    }

    /// The number before `word`, as in `12 EXISTS`; the last one wins.
    pub fn number(&self, word: &str) -> Option<u32> {
        let lines = self.untagged.iter().rev().map(|line| String::from_utf8_lossy(line).into_owned());
        lines.filter_map(|line| line.strip_suffix(word).and_then(|n| n.trim().parse().ok())).next()
    }

    /// The arguments of an untagged `OK [NAME …]`.
    pub fn untagged_code(&self, name: &str) -> Option<Vec<String>> {
        let lines = self.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        lines.filter_map(|line| line.strip_prefix("OK ").and_then(|text| code_of(text, name))).next()
    }
}

fn code_of(text: &str, name: &str) -> Option<Vec<String>> {
    let code = text.strip_prefix('[')?.split_once(']')?.0;
    let mut words = code.split(' ');
    (words.next()? == name).then(|| words.map(str::to_owned).collect())
}

/// How long to wait for any answer before the test has failed.
const PATIENCE: Duration = Duration::from_secs(120);

impl Imap {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut imap = Self { input: Input::new(stream), tag: 0 };
        let greeting = imap.input.line()?;
        if !greeting.starts_with(b"* OK") {
            bail!("greeting: {}", String::from_utf8_lossy(&greeting));
        }
        Ok(imap)
    }

    /// Connects and logs in.
    pub fn login(address: SocketAddr, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut imap = Self::connect(address)?;
        imap.ok(&format!("LOGIN {user} {password}"))?;
        Ok(imap)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.input.stream();
        Ok(stream.write_all(bytes)?)
    }

    /// Reads one response, literals included.
    pub fn response(&mut self) -> anyhow::Result<Vec<u8>> {
        Ok(self.input.response()?)
    }

    /// Waits at most that long for each response from now on.
    pub fn patience(&mut self, patience: Duration) -> anyhow::Result<()> {
        Ok(self.input.stream().set_read_timeout(Some(patience))?)
    }

    /// Sends a command and reads to its tagged answer.
    pub fn command(&mut self, command: &str) -> anyhow::Result<Answer> {
        let tag = self.begin(command)?;
        self.finish(&tag)
    }

    /// Sends a command and returns its tag; [`Imap::finish`] reads the answer.
    pub fn begin(&mut self, command: &str) -> anyhow::Result<String> {
        let tag = self.tag();
        self.send(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// The tag for the next command.
    pub fn tag(&mut self) -> String {
        self.tag += 1;
        format!("t{}", self.tag)
    }

    /// A response read as the tagged answer to a command, if it is that.
    pub fn answer(tag: &str, response: &[u8]) -> Option<Answer> {
        let rest = response.strip_prefix(tag.as_bytes())?;
        let rest = String::from_utf8_lossy(rest);
        let (status, text) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
        Some(Answer { untagged: Vec::new(), status: status.to_owned(), text: text.to_owned() })
    }

    /// Reads to the tagged answer.
    pub fn finish(&mut self, tag: &str) -> anyhow::Result<Answer> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            if let Some(line) = response.strip_prefix(b"* ") {
                untagged.push(line.to_vec());
            } else if let Some(answer) = Self::answer(tag, &response) {
                return Ok(Answer { untagged, ..answer });
            } else if !response.starts_with(b"+") {
                bail!("neither untagged nor ours: {}", String::from_utf8_lossy(&response));
            }
        }
    }

    /// Like [`Imap::command`], and anything but OK is an error.
    pub fn ok(&mut self, command: &str) -> anyhow::Result<Answer> {
        let answer = self.command(command)?;
        if !answer.is_ok() {
            bail!("{command}: {} {}", answer.status, answer.text);
        }
        Ok(answer)
    }

    /// What the server shows between the levels of a name.
    pub fn separator(&mut self) -> anyhow::Result<char> {
        for line in self.ok("LIST \"\" \"\"")?.untagged {
            if let [Token::Atom(word), _, separator, _] = &tokens(&line).map_err(anyhow::Error::msg)?[..]
                && word == b"LIST"
            {
                return separator.text().chars().next().context("an empty separator");
            }
        }
        bail!("LIST without an answer")
    }

    /// Appends one message by a non-synchronizing literal.
    pub fn append(&mut self, mailbox: &str, flags: &str, date: Option<&str>, message: &[u8]) -> anyhow::Result<Answer> {
        self.append_many(mailbox, &[(flags, date, message)])
    }

    /// Appends several messages in one command (MULTIAPPEND): flags, date, message.
    pub fn append_many(&mut self, mailbox: &str, messages: &[(&str, Option<&str>, &[u8])]) -> anyhow::Result<Answer> {
        let tag = self.tag();
        let mut command = format!("{tag} APPEND {}", quote(mailbox)).into_bytes();
        for (flags, date, message) in messages {
            let date = date.map_or_else(String::new, |date| format!(" \"{date}\""));
            command.extend_from_slice(format!(" ({flags}){date} {{{}+}}\r\n", message.len()).as_bytes());
            command.extend_from_slice(message);
        }
        command.extend_from_slice(b"\r\n");
        self.send(&command)?;
        self.finish(&tag)
    }
}

/// A quoted string.
pub fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
