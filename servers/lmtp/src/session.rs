//! The session: commands in, replies out, pipelined (RFC 2920).

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime},
};

use culver_runtime::{Gone, Line, Lines, METRICS};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{error, info};

use crate::{
    SessionContext,
    command::{Command, Mail},
    delivery::Delivery,
    envelope::{Envelope, look_up},
    reply::Reply,
};

/// Longest command line, CR LF included. RFC 5321 §4.5.3.1.4 asks for 512; parameters make it longer.
const LINE_LEN_MAX: usize = 4096;

/// Serves one connection to its end. An error is the stream's: the client is gone.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    context: SessionContext,
) -> io::Result<()> {
    let mut session = Session::new(Lines::new(stream, &context.limits, context.stop.clone()), context);
    let began = Instant::now();
    let Err(end) = session.run().await;
    if let End::Said(reply) = &end {
        reply.write(&mut session.lines.output);
    }
    session.lines.close().await;
    info!(
        peer = %session.context.peer,
        reason = %end,
        messages = session.messages,
        bytes_in = session.lines.bytes_in,
        bytes_out = session.lines.bytes_out,
        seconds = began.elapsed().as_secs_f64(),
        "LMTP session ended"
    );
    match end {
        End::Said(_) | End::Gone(Gone::Disconnected) => Ok(()),
        End::Gone(Gone::Lost(error)) => Err(error),
        End::Gone(gone) => Err(io::Error::new(io::ErrorKind::TimedOut, gone.to_string())),
    }
}

/// How a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// With a reply that is still to be sent.
    #[error("{0:?}")]
    Said(Reply),
    /// The client is gone.
    #[error("{0}")]
    Gone(Gone),
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Silent => Self::Said(Reply::TIMEOUT),
            Gone::Stopping => Self::Said(Reply::STOPPING),
            gone => Self::Gone(gone),
        }
    }
}

pub(crate) enum Never {}

pub(crate) struct Session {
    pub(crate) lines: Lines,
    pub(crate) context: SessionContext,
    /// What the client called itself in LHLO.
    pub(crate) client_name: Option<String>,
    pub(crate) envelope: Envelope,
    pub(crate) chunks: Chunks,
    /// Commands in a row that were refused for what they are.
    pub(crate) refused: u32,
    pub(crate) messages: u64,
    /// The session's name in the log.
    pub(crate) id: String,
}

/// A message that comes in chunks (RFC 3030).
pub(crate) enum Chunks {
    /// None yet.
    None,
    /// Some have come.
    Open(Box<Delivery>),
    /// One was refused: nothing but RSET helps.
    Failed,
}

impl Session {
    fn new(lines: Lines, context: SessionContext) -> Self {
        Self {
            lines,
            context,
            client_name: None,
            envelope: Envelope::default(),
            chunks: Chunks::None,
            refused: 0,
            messages: 0,
            id: session_id(),
        }
    }

    async fn run(&mut self) -> Result<Never, End> {
        let greeting = format!("220 {} Culver LMTP ready\r\n", self.context.host_name);
        self.lines.output.extend_from_slice(greeting.as_bytes());
        loop {
            if self.lines.output.len() >= self.context.limits.output_step_len {
                self.lines.flush().await?;
            }
            let line = match self.lines.line(LINE_LEN_MAX, self.context.limits.idle_timeout).await? {
                Line::At(line) => line,
                Line::TooLong => {
                    self.refuse(Reply::LINE_TOO_LONG)?;
                    continue;
                }
            };
            METRICS.lmtp.commands.increment();
            match Command::parse(self.lines.text(&line)) {
                Ok(command) => self.execute(command).await?,
                Err(Reply::BAD_CHUNK) => return Err(End::Said(Reply::BAD_CHUNK)),
                Err(reply) => self.refuse(reply)?,
            }
        }
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        reply.write(&mut self.lines.output);
    }

    /// Refuses what is no command, or none here; after too many in a row the session ends.
    pub(crate) fn refuse(&mut self, reply: Reply) -> Result<(), End> {
        self.reply(reply);
        self.refused += 1;
        if self.refused >= self.context.limits.bad_commands_max {
            return Err(End::Said(Reply::TOO_MANY_ERRORS));
        }
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Lhlo(name) => self.hello(name),
            Command::Hello => return self.refuse(Reply::USE_LHLO),
            Command::StartTls => return self.start_tls().await,
            Command::Mail(mail) => return self.mail(mail),
            Command::Rcpt(address) => {
                if let Some(reply) = self.refusal_of_rcpt() {
                    return self.refuse(reply);
                }
                self.rcpt(address).await;
            }
            // Boxed, so that a connection that waits pays for none of these.
            Command::Data => return Box::pin(self.data()).await,
            Command::Bdat { len, last } => return Box::pin(self.bdat(len, last)).await,
            Command::Rset => {
                self.reset();
                self.reply(Reply::OK);
            }
            Command::Noop => self.reply(Reply::OK),
            Command::Vrfy => self.reply(Reply::NO_EXPANSION),
            Command::Quit => return Err(End::Said(Reply::BYE)),
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self) {
        self.envelope = Envelope::default();
        self.chunks = Chunks::None;
    }

    fn hello(&mut self, name: String) {
        self.reset();
        self.client_name = Some(name);
        let offers_tls = self.context.starttls.is_some() && self.context.client.tls.is_none();
        let answer = format!(
            "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n{}250 \
             SIZE {}\r\n",
            self.context.host_name,
            if offers_tls { "250-STARTTLS\r\n" } else { "" },
            self.context.limits.message_len_max
        );
        self.lines.output.extend_from_slice(answer.as_bytes());
    }

    /// STARTTLS (RFC 3207): what was said before is forgotten, and what was sent behind it without encryption too.
    async fn start_tls(&mut self) -> Result<(), End> {
        let Some(tls) = self.context.starttls.clone() else { return self.refuse(Reply::NO_TLS) };
        if self.context.client.tls.is_some() {
            return self.refuse(Reply::TLS_ACTIVE);
        }
        self.reply(Reply::START_TLS);
        self.context.client.tls = Some(self.lines.start_tls(&tls).await?);
        self.reset();
        self.client_name = None;
        Ok(())
    }

    fn mail(&mut self, mail: Mail) -> Result<(), End> {
        if self.client_name.is_none() {
            return self.refuse(Reply::SAY_LHLO_FIRST);
        }
        if !matches!(self.chunks, Chunks::None) {
            return self.refuse(Reply::IN_CHUNKS);
        }
        if self.envelope.sender.is_some() {
            return self.refuse(Reply::SENDER_GIVEN);
        }
        if mail.size > self.context.limits.message_len_max {
            self.reply(Reply::TOO_LARGE);
            return Ok(());
        }
        self.refused = 0;
        self.envelope = Envelope { sender: Some(mail.from), utf8: mail.utf8, ..Envelope::default() };
        self.reply(Reply::SENDER_OK);
        Ok(())
    }

    fn refusal_of_rcpt(&self) -> Option<Reply> {
        match self.chunks {
            Chunks::None if self.envelope.sender.is_none() => Some(Reply::MAIL_FIRST),
            Chunks::None => None,
            _ => Some(Reply::IN_CHUNKS),
        }
    }

    async fn rcpt(&mut self, address: crate::address::Address) {
        if !self.envelope.utf8 && !address.is_ascii() {
            return self.reply(Reply::NEEDS_SMTPUTF8);
        }
        if self.envelope.recipients.len() >= self.context.limits.recipients_max {
            return self.reply(Reply::TOO_MANY_RECIPIENTS);
        }
        let found = look_up(&address, &self.context.logins, &self.context.options).await;
        let reply = match found {
            Ok(Some(target)) => {
                self.envelope.add(address, target);
                Reply::RECIPIENT_OK
            }
            Ok(None) => Reply::NO_SUCH_USER,
            Err(error) => {
                error!(peer = %self.context.peer, %error, "recipient not looked up");
                Reply::TRY_LATER
            }
        };
        self.reply(reply);
    }
}

/// A name that no other session of this host has, as far as can be told.
fn session_id() -> String {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}.{:x}.{number:x}", since.as_micros(), std::process::id())
}
