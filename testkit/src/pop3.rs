//! A blocking POP3 client (RFC 1939).

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::wire::Input;

/// A connection past the greeting.
#[derive(Debug)]
pub struct Pop3 {
    input: Input<TcpStream>,
}

/// An answer: its first line, and the lines that follow where it has several, dots taken off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The first line.
    pub first: String,
    /// The others; `None` where it has one line only.
    pub lines: Option<Vec<Vec<u8>>>,
}

impl Answer {
    /// Whether it is `+OK`.
    pub fn is_ok(&self) -> bool {
        self.first.starts_with("+OK")
    }
}

impl Pop3 {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut pop3 = Self { input: Input::new(stream) };
        let greeting = pop3.answer(false)?;
        ensure!(greeting.is_ok(), "greeted with {}", greeting.first);
        Ok(pop3)
    }

    /// Connects and logs in.
    pub fn login(address: SocketAddr, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut pop3 = Self::connect(address)?;
        for command in [format!("USER {user}"), format!("PASS {password}")] {
            let answer = pop3.command(&command)?;
            ensure!(answer.is_ok(), "login of {user}: {}", answer.first);
        }
        Ok(pop3)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.input.stream();
        Ok(stream.write_all(bytes)?)
    }

    /// Sends a command and reads its answer.
    pub fn command(&mut self, command: &str) -> anyhow::Result<Answer> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.answer(has_lines(command)).with_context(|| format!("the answer to {command}"))
    }

    /// Reads an answer, which has several lines if it is `+OK` and `with_lines` is set.
    pub fn answer(&mut self, with_lines: bool) -> anyhow::Result<Answer> {
        let first = String::from_utf8_lossy(&self.input.line()?).into_owned();
        let mut answer = Answer { first, lines: None };
        if with_lines && answer.is_ok() {
            let mut lines = Vec::new();
            loop {
                let line = self.input.line()?;
                match line.strip_prefix(b".") {
                    Some(b"") => break,
                    Some(stuffed) => lines.push(stuffed.to_vec()),
                    None => lines.push(line),
                }
            }
            answer.lines = Some(lines);
        }
        Ok(answer)
    }
}

/// Whether the answer to a command, if it is `+OK`, has several lines.
fn has_lines(command: &str) -> bool {
    let (keyword, argument) = command.split_once(' ').unwrap_or((command, ""));
    match keyword.to_ascii_uppercase().as_str() {
        "RETR" | "TOP" | "CAPA" => true,
        "LIST" | "UIDL" | "AUTH" => argument.is_empty(),
        _ => false,
    }
}
