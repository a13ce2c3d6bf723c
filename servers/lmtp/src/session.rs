//! The session: commands in, replies out, pipelined (RFC 2920).

use std::{
    borrow::Cow,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use culver_runtime::{AuthError, Limits, Logins, Stop, StoragePool, StorageProvider, User};
use smtp_proto::{Error as SyntaxError, MailFrom, RcptTo, Request};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tracing::{error, info};

use crate::{data::DataDecoder, delivery::Delivery, reply::Reply};

/// What a session needs besides its stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The host's name for the greeting.
    pub host_name: Arc<str>,
    /// Who is at the other end, for the log.
    pub peer: Arc<str>,
    /// The limits.
    pub limits: Arc<Limits>,
    /// Knows the recipients.
    pub logins: Logins,
    /// Where storage work is done.
    pub pool: StoragePool,
    /// Opens the recipients' stores.
    pub storages: Arc<dyn StorageProvider>,
    /// Hears when to stop.
    pub stop: Stop,
}

/// Longest command line, CR LF included. RFC 5321 §4.5.3.1.4 asks for 512; parameters make it longer.
const LINE_LEN_MAX: usize = 4096;

/// Serves one connection to its end. An error is the stream's: the client is gone.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, context: SessionContext) -> io::Result<()> {
    let mut session = Session::new(stream, context);
    let began = Instant::now();
    let ended = session.run().await;
    info!(
        peer = %session.context.peer,
        messages = session.messages,
        bytes_in = session.bytes_in,
        bytes_out = session.bytes_out,
        seconds = began.elapsed().as_secs_f64(),
        "LMTP session ended"
    );
    ended
}

struct Session<S> {
    stream: S,
    context: SessionContext,
    /// What was read and not yet used begins at `used`.
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    greeted: bool,
    sender: bool,
    recipients: Vec<User>,
    refused: u32,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What a command leads to.
enum Next {
    Command,
    Data,
    Quit,
}

/// What reading a line brought.
enum Line {
    /// A line lies at this place of the input, CR LF included.
    At(std::ops::Range<usize>),
    TooLong,
    /// The client is gone.
    Closed,
    Silent,
    Stopping,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, context: SessionContext) -> Self {
        Self {
            stream,
            context,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            greeted: false,
            sender: false,
            recipients: Vec::new(),
            refused: 0,
            messages: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let greeting = format!("220 {} Culver LMTP ready\r\n", self.context.host_name);
        self.output.extend_from_slice(greeting.as_bytes());
        loop {
            let line = match self.read_line().await? {
                Line::At(line) => line,
                Line::TooLong => {
                    self.refuse(Reply::LINE_TOO_LONG);
                    continue;
                }
                Line::Closed => return Ok(()),
                Line::Silent => return self.end(Reply::TIMEOUT).await,
                Line::Stopping => return self.end(Reply::STOPPING).await,
            };
            let next = self.command(line).await;
            if self.refused >= self.context.limits.bad_commands_max {
                return self.end(Reply::TOO_MANY_ERRORS).await;
            }
            match next {
                Next::Command => {}
                Next::Data => {
                    if !self.receive().await? {
                        return Ok(());
                    }
                }
                Next::Quit => return self.end(Reply::BYE).await,
            }
        }
    }

    async fn end(&mut self, reply: Reply) -> io::Result<()> {
        reply.write(&mut self.output);
        self.flush().await?;
        self.stream.shutdown().await
    }

    fn refuse(&mut self, reply: Reply) {
        self.refused += 1;
        reply.write(&mut self.output);
    }

    /// Finds the next line. Replies are sent before waiting for more, so that all that answer one packet go in one.
    async fn read_line(&mut self) -> io::Result<Line> {
        let mut searched = 0;
        let mut too_long = false;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.input[self.used + searched..]) {
                let line = self.used..self.used + searched + at + 1;
                self.used = line.end;
                return Ok(if too_long || line.len() > LINE_LEN_MAX { Line::TooLong } else { Line::At(line) });
            }
            searched = self.input.len() - self.used;
            if searched > LINE_LEN_MAX {
                // The rest of such a line is dropped as it comes.
                too_long = true;
                self.used = self.input.len();
                searched = 0;
            }
            match self.fill(self.context.limits.idle_timeout).await? {
                Fill::Bytes => {}
                Fill::Closed => return Ok(Line::Closed),
                Fill::Silent => return Ok(Line::Silent),
                Fill::Stopping => return Ok(Line::Stopping),
            }
        }
    }

    async fn fill(&mut self, patience: Duration) -> io::Result<Fill> {
        self.flush().await?;
        self.input.drain(..self.used);
        self.used = 0;
        self.input.reserve(self.context.limits.input_step_len);
        let read = timeout(patience, self.stream.read_buf(&mut self.input));
        let read = tokio::select! {
            read = read => read,
            () = self.context.stop.stopping() => return Ok(Fill::Stopping),
        };
        match read {
            Ok(Ok(0)) => Ok(Fill::Closed),
            Ok(Ok(len)) => {
                self.bytes_in += len as u64;
                Ok(Fill::Bytes)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Fill::Silent),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.bytes_out += self.output.len() as u64;
        let written = timeout(self.context.limits.stall_timeout, async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        });
        written.await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.output.clear();
        Ok(())
    }

    async fn command(&mut self, line: std::ops::Range<usize>) -> Next {
        let line = &self.input[line];
        if let Some(name) = bare_recipient(line) {
            let name = name.to_owned();
            self.rcpt(&name).await;
            return Next::Command;
        }
        let request = Request::parse(&mut line.iter()).map(Request::<Cow<'_, str>>::into_owned);
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                self.refuse(match error {
                    SyntaxError::UnknownCommand | SyntaxError::NeedsMoreData { .. } => Reply::UNKNOWN_COMMAND,
                    SyntaxError::InvalidSenderAddress | SyntaxError::InvalidRecipientAddress => Reply::BAD_ADDRESS,
                    SyntaxError::UnsupportedParameter { .. } | SyntaxError::InvalidParameter { .. } => {
                        Reply::BAD_PARAMETER
                    }
                    _ => Reply::SYNTAX,
                });
                return Next::Command;
            }
        };
        match request {
            Request::Lhlo { .. } => self.hello(),
            Request::Ehlo { .. } | Request::Helo { .. } => self.refuse(Reply::USE_LHLO),
            Request::Mail { from } => self.mail(&from),
            Request::Rcpt { to: RcptTo { address, .. } } => self.rcpt(&address).await,
            Request::Data => return self.data(),
            Request::Rset => {
                self.reset();
                Reply::OK.write(&mut self.output);
            }
            Request::Noop { .. } => Reply::OK.write(&mut self.output),
            Request::Vrfy { .. } => Reply::NO_EXPANSION.write(&mut self.output),
            Request::Quit => return Next::Quit,
            _ => self.refuse(Reply::NOT_SUPPORTED),
        }
        Next::Command
    }

    fn reset(&mut self) {
        self.sender = false;
        self.recipients.clear();
    }

    fn hello(&mut self) {
        self.reset();
        self.greeted = true;
        let answer = format!(
            "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {}\r\n",
            self.context.host_name, self.context.limits.message_len_max
        );
        self.output.extend_from_slice(answer.as_bytes());
    }

    fn mail(&mut self, from: &MailFrom<String>) {
        if !self.greeted {
            return self.refuse(Reply::SAY_LHLO_FIRST);
        }
        if self.sender {
            return self.refuse(Reply::SENDER_GIVEN);
        }
        if from.size as u64 > self.context.limits.message_len_max {
            return Reply::TOO_LARGE.write(&mut self.output);
        }
        self.refused = 0;
        self.sender = true;
        Reply::SENDER_OK.write(&mut self.output);
    }

    async fn rcpt(&mut self, address: &str) {
        if !self.sender {
            return self.refuse(Reply::MAIL_FIRST);
        }
        if self.recipients.len() >= self.context.limits.recipients_max {
            return Reply::TOO_MANY_RECIPIENTS.write(&mut self.output);
        }
        let reply = match self.lookup(address).await {
            Ok(Some(user)) => {
                self.recipients.push(user);
                Reply::RECIPIENT_OK
            }
            Ok(None) => Reply::NO_SUCH_USER,
            Err(error) => {
                error!(peer = %self.context.peer, %error, "recipient not looked up");
                Reply::TRY_LATER
            }
        };
        reply.write(&mut self.output);
    }

    /// The user of an address: by the whole address, else by its local part. Which domains are ours is the MTA's matter.
    async fn lookup(&mut self, address: &str) -> Result<Option<User>, AuthError> {
        if let Some(user) = self.context.logins.lookup(address).await? {
            return Ok(Some(user));
        }
        match address.rsplit_once('@') {
            Some((local_part, _)) => self.context.logins.lookup(local_part).await,
            None => Ok(None),
        }
    }

    fn data(&mut self) -> Next {
        if !self.sender {
            self.refuse(Reply::MAIL_FIRST);
            return Next::Command;
        }
        if self.recipients.is_empty() {
            self.refuse(Reply::NO_RECIPIENT);
            return Next::Command;
        }
        Reply::GO_AHEAD.write(&mut self.output);
        Next::Data
    }

    /// Takes a message in; `false` when the client went away in the middle of it: nothing is delivered then.
    async fn receive(&mut self) -> io::Result<bool> {
        let context = self.context.clone();
        let mut delivery = Delivery::new(&self.recipients, context.limits.message_len_max);
        let mut decoder = DataDecoder::default();
        loop {
            self.used += decoder.decode(&self.input[self.used..], delivery.spool());
            delivery.flush_if_full(&context.pool, &context.storages).await;
            if decoder.is_end() {
                break;
            }
            match self.fill(context.limits.stall_timeout).await? {
                Fill::Bytes => {}
                Fill::Closed => return Ok(false),
                Fill::Silent => return self.end(Reply::TIMEOUT).await.map(|()| false),
                Fill::Stopping => return self.end(Reply::STOPPING).await.map(|()| false),
            }
        }
        delivery.finish(&context.pool, &context.storages, &context.peer, &mut self.output).await;
        self.messages += 1;
        self.reset();
        Ok(true)
    }
}

/// The name in `RCPT TO:<NAME>`, which SMTP's grammar does not know and LMTP's users do: a local user without a domain.
fn bare_recipient(line: &[u8]) -> Option<&str> {
    let (command, path) = line.trim_ascii_end().split_at_checked(b"RCPT TO:".len())?;
    let name = path.trim_ascii_start().strip_prefix(b"<")?.strip_suffix(b">")?;
    let is_bare = !name.is_empty() && !name.iter().any(|b| b"@<>\" ,:;\\".contains(b));
    (command.eq_ignore_ascii_case(b"RCPT TO:") && is_bare).then(|| std::str::from_utf8(name).ok()).flatten()
}

/// What waiting for bytes brought.
enum Fill {
    Bytes,
    Closed,
    Silent,
    Stopping,
}
