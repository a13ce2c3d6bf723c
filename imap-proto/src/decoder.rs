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

/// What became of a look at the input.
enum Step<'i> {
    /// It led to this.
    Event(Event<'i>),
    /// It is used up, or a literal waits to be accepted.
    Wait,
    /// The state is another: look again.
    Again,
}

impl<'i> Step<'i> {
    fn after(event: Option<Event<'i>>) -> Self {
        event.map_or(Self::Again, Self::Event)
    }
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
            match self.step(input)? {
                Step::Event(event) => return Ok(Some(event)),
                Step::Wait => return Ok(None),
                Step::Again => {}
            }
        }
    }

    /// Reads what the state asks for. Whoever is called sets the state anew unless it is to be `Line`.
    fn step<'i>(&mut self, input: &mut &'i [u8]) -> Result<Step<'i>, CommandError> {
        match mem::replace(&mut self.state, State::Line) {
            State::Line => self.read_command_line(input),
            State::Asked(asked) => {
                self.state = State::Asked(asked);
                Ok(Step::Wait)
            }
            State::Literal { left } => Ok(self.read_literal(input, left)),
            State::AppendPending(message) => {
                self.state = State::Asked(Asked::from(&message));
                Ok(Step::Event(Event::AppendMessage(message)))
            }
            State::AppendData { left } => Ok(self.read_message(input, left)),
            State::AppendLine => self.read_line_after_message(input),
            State::SkipLiteral { left, verdict } => Ok(self.skip_literal(input, left, verdict)),
            State::SkipLine { verdict } => self.skip_line(input, verdict),
            State::Failed { verdict } => self.end_failed(verdict).map(Step::Event),
            State::Idle => self.read_awaited_line(input, State::Idle, Self::idle_line),
            State::Authenticate => self.read_awaited_line(input, State::Authenticate, Self::authenticate_line),
            State::Closed => {
                self.state = State::Closed;
                *input = &[];
                Ok(Step::Wait)
            }
        }
    }

    fn read_command_line<'i>(&mut self, input: &mut &'i [u8]) -> Result<Step<'i>, CommandError> {
        let line = self.buffer.take_line(input, self.limits.line_len_max);
        match self.or_close(line, |this| parse::leading_tag(this.buffer.as_bytes()))? {
            Some(line) => self.command_line(line).map(Step::after),
            None => Ok(Step::Wait),
        }
    }

    fn read_literal<'i>(&mut self, input: &mut &'i [u8], left: usize) -> Step<'i> {
        match self.buffer.take_literal(input, left) {
            0 => Step::Again,
            left => {
                self.state = State::Literal { left };
                Step::Wait
            }
        }
    }

    /// More of a message's text, or its end.
    fn read_message<'i>(&mut self, input: &mut &'i [u8], left: u64) -> Step<'i> {
        if left == 0 {
            self.state = State::AppendLine;
            return Step::Event(Event::AppendMessageEnd);
        }
        let chunk = take(input, usize::try_from(left).unwrap_or(usize::MAX));
        self.state = State::AppendData { left: left - chunk.len() as u64 };
        if chunk.is_empty() { Step::Wait } else { Step::Event(Event::LiteralData(chunk)) }
    }

    fn read_line_after_message<'i>(&mut self, input: &mut &'i [u8]) -> Result<Step<'i>, CommandError> {
        self.state = State::AppendLine;
        let line = self.buffer.take_line(input, self.limits.line_len_max);
        match self.or_close(line, |this| this.append_tag.take())? {
            Some(line) => self.line_after_message(line).map(Step::after),
            None => Ok(Step::Wait),
        }
    }

    fn skip_literal<'i>(&mut self, input: &mut &'i [u8], left: u64, verdict: Verdict) -> Step<'i> {
        let left = left - take(input, usize::try_from(left).unwrap_or(usize::MAX)).len() as u64;
        if left > 0 {
            self.state = State::SkipLiteral { left, verdict };
            return Step::Wait;
        }
        self.state = State::SkipLine { verdict };
        Step::Again
    }

    fn skip_line<'i>(&mut self, input: &mut &'i [u8], verdict: Verdict) -> Result<Step<'i>, CommandError> {
        let line = self.buffer.take_line(input, self.limits.line_len_max);
        match self.or_close(line, |_| verdict.tag())? {
            Some(line) => self.skipped_line(line, verdict).map(|()| Step::Again),
            None => {
                self.state = State::SkipLine { verdict };
                Ok(Step::Wait)
            }
        }
    }

    fn end_failed<'i>(&mut self, verdict: Verdict) -> Result<Event<'i>, CommandError> {
        self.start_command();
        match verdict {
            Verdict::Rejected(tag) => Ok(Event::Rejected { tag }),
            Verdict::Error(error) => Err(error),
        }
    }

    /// A line that is no command, which the client was asked for.
    fn read_awaited_line<'i>(
        &mut self,
        input: &mut &'i [u8],
        waiting: State,
        read: impl FnOnce(&mut Self, Line<'_>) -> Result<Event<'static>, CommandError>,
    ) -> Result<Step<'i>, CommandError> {
        self.state = waiting;
        let line = self.buffer.take_line(input, self.limits.line_len_max);
        match self.or_close(line, |_| None)? {
            Some(line) => read(self, line).map(Step::Event),
            None => Ok(Step::Wait),
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
    fn skipped_line(&mut self, line: Line<'_>, verdict: Verdict) -> Result<(), CommandError> {
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

    fn idle_line(&mut self, line: Line<'_>) -> Result<Event<'static>, CommandError> {
        let is_done = self.waited_for(line, |line| line.trim_ascii_end().eq_ignore_ascii_case(b"DONE"));
        if is_done { Ok(Event::IdleDone) } else { Err(Fault::syntax("Expected DONE.").of(None)) }
    }

    fn authenticate_line(&mut self, line: Line<'_>) -> Result<Event<'static>, CommandError> {
        Ok(self.waited_for(line, |line| match line {
            b"*" => Event::AuthenticateCancel,
            data => Event::AuthenticateData(data.to_vec()),
        }))
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
