//! The server's side of the wire: bytes to events.
//!
//! A command is collected until its last line, its literals inline, and then parsed at once; a command that lies whole
//! in the input is parsed there and never copied. Invariants: at most `line_len_max + literal_len_max` bytes are held;
//! each command leads to exactly one of `Command`, `AppendEnd`, `Rejected` or an error, and by then its input is
//! consumed; the events do not depend on how the input is cut (RFC 9051 §2.2, RFC 7888).

use std::mem;

use crate::{
    AppendMessage, Command, CommandError, ErrorKind, Limits, Mailbox, Tag,
    error::Fault,
    line_buffer::{Line, LineBuffer, LineTooLong, take},
    literal::{Announcement, without_line_end},
    parse::{
        self,
        append::{AppendLine, append_line, append_message},
        cursor::Cursor,
    },
};

/// What the client's bytes mean.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// A command other than APPEND.
    Command {
        /// To be repeated in the answer.
        tag: Tag,
        /// What to do.
        command: Command,
    },
    /// The client waits to send a literal of a command that is not yet whole. Send a continuation and call
    /// [`Decoder::accept_literal`], or call [`Decoder::reject_literal`].
    Continue,
    /// An APPEND begins. Its messages follow, then `AppendEnd`; or `Rejected` or an error, upon which nothing may have
    /// been appended (RFC 3502).
    AppendStart {
        /// To be repeated in the answer.
        tag: Tag,
        /// Where to append.
        mailbox: Mailbox,
    },
    /// A message of the APPEND. Its text is not read before [`Decoder::accept_literal`] is called; send a continuation
    /// if that says so. [`Decoder::reject_literal`] ends the APPEND.
    AppendMessage(AppendMessage),
    /// More of the message's text; never empty.
    LiteralData(&'i [u8]),
    /// The message's text is complete.
    AppendMessageEnd,
    /// The APPEND is complete: answer it.
    AppendEnd,
    /// The command whose literal was rejected is over: answer it with NO or BAD.
    Rejected {
        /// To be repeated in the answer, where it had one that can be.
        tag: Option<Tag>,
    },
    /// DONE ended the IDLE: answer it.
    IdleDone,
    /// The client's answer to a challenge of AUTHENTICATE, in base64, its line end removed; may be empty.
    AuthenticateData(Vec<u8>),
    /// The client cancelled AUTHENTICATE with `*`: answer it with BAD.
    AuthenticateCancel,
}

/// Where in a command the input stands.
#[derive(Debug)]
enum State {
    /// In a line of a command.
    Line,
    /// After a line; the server has not yet said whether the literal may come.
    Asked(Asked),
    /// In a literal that is part of the command.
    Literal { left: usize },
    /// `AppendStart` is out, this is next.
    AppendPending(AppendMessage),
    /// In a message's text.
    AppendData { left: u64 },
    /// In the line after a message.
    AppendLine,
    /// In a literal of a command that has failed.
    SkipLiteral { left: u64, verdict: Verdict },
    /// In a line of a command that has failed.
    SkipLine { verdict: Verdict },
    /// The failed command is over.
    Failed { verdict: Verdict },
    /// Waiting for DONE.
    Idle,
    /// Waiting for a line of AUTHENTICATE.
    Authenticate,
    /// After a fatal error: the rest is thrown away.
    Closed,
}

/// A literal that the server has been asked about.
#[derive(Clone, Copy, Debug)]
struct Asked {
    len: u64,
    synchronizing: bool,
    /// It is a message's text.
    is_message: bool,
}

impl From<&AppendMessage> for Asked {
    fn from(message: &AppendMessage) -> Self {
        Self { len: message.len, synchronizing: message.synchronizing, is_message: true }
    }
}

/// How a failed command ends.
#[derive(Debug)]
enum Verdict {
    Rejected(Option<Tag>),
    Error(CommandError),
}

impl Verdict {
    fn tag(&self) -> Option<Tag> {
        match self {
            Self::Rejected(tag) => tag.clone(),
            Self::Error(error) => error.tag.clone(),
        }
    }
}

/// Turns a client's bytes into events. Holds what it must of one command, and no more.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    /// The command so far, or the line.
    buffer: LineBuffer,
    /// Of the APPEND that is under way.
    append_tag: Option<Tag>,
}

impl Decoder {
    /// At the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Line, buffer: LineBuffer::default(), append_tag: None }
    }

    /// Other limits from here on, as after a login.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes held at present.
    pub fn buffered_len(&self) -> usize {
        self.buffer.as_bytes().len()
    }

    /// Bytes of memory taken for what is held or about to come.
    pub fn held_capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether no part of a command has been read.
    pub fn is_between_commands(&self) -> bool {
        matches!(self.state, State::Line) && self.buffer.as_bytes().is_empty()
    }

    /// Reads from the front of `input`, which is left with what was not read, up to the next event.
    ///
    /// `Ok(None)`: the input is used up, or a literal waits for [`accept_literal`](Self::accept_literal) or
    /// [`reject_literal`](Self::reject_literal). May be called again after an error, for the next command. Linear in
    /// the bytes read.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, CommandError> {
        loop {
            match mem::replace(&mut self.state, State::Line) {
                State::Line => {
                    let line = self.buffer.take_line(input, self.limits.line_len_max);
                    let Some(line) = self.or_close(line, |this| parse::leading_tag(this.buffer.as_bytes()))? else {
                        return Ok(None);
                    };
                    if let Some(event) = self.command_line(line)? {
                        return Ok(Some(event));
                    }
                }
                State::Asked(asked) => {
                    self.state = State::Asked(asked);
                    return Ok(None);
                }
                State::Literal { left } => {
                    let left = self.buffer.take_literal(input, left);
                    if left > 0 {
                        self.state = State::Literal { left };
                        return Ok(None);
                    }
                }
                State::AppendPending(message) => {
                    self.state = State::Asked(Asked::from(&message));
                    return Ok(Some(Event::AppendMessage(message)));
                }
                State::AppendData { left: 0 } => {
                    self.state = State::AppendLine;
                    return Ok(Some(Event::AppendMessageEnd));
                }
                State::AppendData { left } => {
                    let chunk = take(input, usize::try_from(left).unwrap_or(usize::MAX));
                    self.state = State::AppendData { left: left - chunk.len() as u64 };
                    return Ok((!chunk.is_empty()).then_some(Event::LiteralData(chunk)));
                }
                State::AppendLine => {
                    self.state = State::AppendLine;
                    let line = self.buffer.take_line(input, self.limits.line_len_max);
                    let Some(line) = self.or_close(line, |this| this.append_tag.take())? else { return Ok(None) };
                    if let Some(event) = self.line_after_message(line)? {
                        return Ok(Some(event));
                    }
                }
                State::SkipLiteral { left, verdict } => {
                    let skipped = take(input, usize::try_from(left).unwrap_or(usize::MAX)).len() as u64;
                    if skipped < left {
                        self.state = State::SkipLiteral { left: left - skipped, verdict };
                        return Ok(None);
                    }
                    self.state = State::SkipLine { verdict };
                }
                State::SkipLine { verdict } => {
                    let line = self.buffer.take_line(input, self.limits.line_len_max);
                    let Some(line) = self.or_close(line, |_| verdict.tag())? else {
                        self.state = State::SkipLine { verdict };
                        return Ok(None);
                    };
                    self.skip_line(line, verdict)?;
                }
                State::Failed { verdict } => {
                    self.start_command();
                    return match verdict {
                        Verdict::Rejected(tag) => Ok(Some(Event::Rejected { tag })),
                        Verdict::Error(error) => Err(error),
                    };
                }
                waiting @ (State::Idle | State::Authenticate) => {
                    let is_idle = matches!(waiting, State::Idle);
                    self.state = waiting;
                    let line = self.buffer.take_line(input, self.limits.line_len_max);
                    let Some(line) = self.or_close(line, |_| None)? else { return Ok(None) };
                    return if is_idle { self.idle_line(line) } else { Ok(Some(self.authenticate_line(line))) };
                }
                State::Closed => {
                    self.state = State::Closed;
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// The literal of the last `Continue` or `AppendMessage` may come. Says whether the client waits for a continuation
    /// (`+ OK`), to be sent now. Does nothing and says no at any other time.
    #[must_use = "a client that waits must be sent a continuation"]
    pub fn accept_literal(&mut self) -> bool {
        let State::Asked(asked) = self.state else { return false };
        self.state = match usize::try_from(asked.len) {
            Ok(left) if !asked.is_message => {
                self.buffer.expect_literal(left);
                State::Literal { left }
            }
            _ => State::AppendData { left: asked.len },
        };
        asked.synchronizing
    }

    /// The command of the last `Continue` or `AppendMessage` fails. What of it is already on its way is skipped, then
    /// `Rejected` says that the server may answer. Does nothing at any other time.
    pub fn reject_literal(&mut self) {
        let State::Asked(asked) = self.state else { return };
        let tag = self.append_tag.take().or_else(|| parse::leading_tag(self.buffer.as_bytes()));
        self.fail(Verdict::Rejected(tag), asked.len, asked.synchronizing);
    }

    /// The next line is the client's DONE. To be called upon IDLE, once the continuation is sent. Any other line is an
    /// error without a tag, and ends the IDLE too: answer its tag with BAD.
    pub fn begin_idle(&mut self) {
        self.begin_waiting(State::Idle);
    }

    /// The next line is the client's answer to a challenge. To be called each time one is sent.
    pub fn begin_authenticate(&mut self) {
        self.begin_waiting(State::Authenticate);
    }

    fn begin_waiting(&mut self, state: State) {
        if self.is_between_commands() {
            self.state = state;
        }
    }

    /// A line too long ends the connection.
    fn or_close<T>(
        &mut self,
        line: Result<T, LineTooLong>,
        tag: impl FnOnce(&mut Self) -> Option<Tag>,
    ) -> Result<T, CommandError> {
        line.map_err(|LineTooLong| {
            let tag = tag(self);
            self.close(CommandError { tag, kind: ErrorKind::LineTooLong, text: "Line too long." })
        })
    }

    /// A command's line is complete: the command is too, or a literal follows.
    fn command_line<'i>(&mut self, line: Line<'_>) -> Result<Option<Event<'i>>, CommandError> {
        let Some(announced) = self.buffer.announced(line) else {
            let parsed = parse::command(self.buffer.through(line), &self.limits);
            self.start_command();
            return parsed.map(|(tag, command)| Some(Event::Command { tag, command }));
        };
        self.buffer.hold(line);
        let head = self.buffer.as_bytes().get(..announced.at).unwrap_or_default();
        match append_line(head, &announced, &self.limits) {
            Ok(AppendLine::Message(tag, mailbox, message)) => {
                if announced.len > self.limits.message_len_max {
                    return self.too_big(Some(tag), &announced).map(|()| None);
                }
                self.buffer.clear();
                self.append_tag = Some(tag.clone());
                self.state = State::AppendPending(message);
                Ok(Some(Event::AppendStart { tag, mailbox }))
            }
            Ok(AppendLine::Other | AppendLine::MailboxLiteral) => self.buffered_literal(&announced),
            Err(error) => self.fail_or_close(Verdict::Error(error), &announced).map(|()| None),
        }
    }

    /// A literal that is to be held in the buffer, if there is room.
    fn buffered_literal<'i>(&mut self, announced: &Announcement) -> Result<Option<Event<'i>>, CommandError> {
        let room = self.limits.literal_len_max.saturating_sub(self.buffer.literals_len());
        let Some(left) = usize::try_from(announced.len).ok().filter(|&len| len <= room) else {
            return self.too_big(parse::leading_tag(self.buffer.as_bytes()), announced).map(|()| None);
        };
        if announced.synchronizing {
            self.state = State::Asked(Asked { len: announced.len, synchronizing: true, is_message: false });
            return Ok(Some(Event::Continue));
        }
        self.buffer.expect_literal(left);
        self.state = State::Literal { left };
        Ok(None)
    }

    /// The line after a message of an APPEND is complete.
    fn line_after_message<'i>(&mut self, line: Line<'_>) -> Result<Option<Event<'i>>, CommandError> {
        let tag = self.append_tag.clone();
        let announced = self.buffer.announced(line);
        let bytes = self.buffer.through(line);
        let Some(announced) = announced else {
            let end = Cursor::new(bytes).end();
            self.start_command();
            return match end {
                Ok(()) => Ok(Some(Event::AppendEnd)),
                Err(_) => Err(Fault::syntax("Invalid APPEND arguments.").of(tag)),
            };
        };
        let head = bytes.get(..announced.at).unwrap_or_default();
        let message = append_message(&mut Cursor::new(head), &announced, &self.limits);
        self.buffer.clear();
        match message {
            Ok(message) if message.len <= self.limits.message_len_max => {
                self.state = State::Asked(Asked::from(&message));
                Ok(Some(Event::AppendMessage(message)))
            }
            Ok(_) => self.too_big(tag, &announced).map(|()| None),
            Err(fault) => self.fail_or_close(Verdict::Error(fault.of(tag)), &announced).map(|()| None),
        }
    }

    fn too_big(&mut self, tag: Option<Tag>, announced: &Announcement) -> Result<(), CommandError> {
        let error = CommandError { tag, kind: ErrorKind::TooBig, text: "Literal too long." };
        self.fail_or_close(Verdict::Error(error), announced)
    }

    /// The command fails; a literal that is on its way is skipped, or ends the connection.
    fn fail_or_close(&mut self, verdict: Verdict, announced: &Announcement) -> Result<(), CommandError> {
        if !announced.synchronizing && announced.len > self.limits.message_len_max {
            let tag = verdict.tag();
            return Err(self.close(CommandError { tag, kind: ErrorKind::LiteralTooLong, text: "Literal too long." }));
        }
        self.fail(verdict, announced.len, announced.synchronizing);
        Ok(())
    }

    /// The command fails. A client that waits will not send its literal, nor the rest of the command.
    fn fail(&mut self, verdict: Verdict, len: u64, synchronizing: bool) {
        self.start_command();
        self.state = if synchronizing { State::Failed { verdict } } else { State::SkipLiteral { left: len, verdict } };
    }

    /// A line of a failed command is complete.
    fn skip_line(&mut self, line: Line<'_>, verdict: Verdict) -> Result<(), CommandError> {
        let announced = self.buffer.announced(line);
        self.buffer.clear();
        match announced {
            Some(announced) => self.fail_or_close(verdict, &announced),
            None => {
                self.state = State::Failed { verdict };
                Ok(())
            }
        }
    }

    fn idle_line<'i>(&mut self, line: Line<'_>) -> Result<Option<Event<'i>>, CommandError> {
        let is_done = self.waited_for(line, |line| line.trim_ascii_end().eq_ignore_ascii_case(b"DONE"));
        if is_done { Ok(Some(Event::IdleDone)) } else { Err(Fault::syntax("Expected DONE.").of(None)) }
    }

    fn authenticate_line<'i>(&mut self, line: Line<'_>) -> Event<'i> {
        self.waited_for(line, |line| match line {
            b"*" => Event::AuthenticateCancel,
            data => Event::AuthenticateData(data.to_vec()),
        })
    }

    /// Reads a line that is no command, and goes back to commands.
    fn waited_for<T>(&mut self, line: Line<'_>, read: impl FnOnce(&[u8]) -> T) -> T {
        let read = read(without_line_end(self.buffer.through(line)));
        self.start_command();
        read
    }

    fn start_command(&mut self) {
        self.buffer.clear();
        self.append_tag = None;
        self.state = State::Line;
    }

    /// The input cannot be followed any longer.
    fn close(&mut self, error: CommandError) -> CommandError {
        self.start_command();
        self.state = State::Closed;
        error
    }
}
