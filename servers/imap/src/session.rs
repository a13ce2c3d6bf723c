//! The session: reads commands, carries them out one by one, answers.

use std::{borrow::Cow, mem, sync::Arc, time::Instant};

use culver_runtime::{METRICS, TooMuchMemory, UserName};
use imap_proto::{
    AppendMessage, Command, CommandError, Decoder, ErrorKind, Event, Limits, Mailbox as WireMailbox, Tag,
    write::{self, Code, Status},
};
use mailstore::{Committed, MailStorage, StorageError, Ticket};
use mailtypes::{MailboxName, UidSet};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tracing::{debug, info, warn};

use crate::{
    SessionContext, capability,
    codes::{Target, code_of, is_ordinary},
    counts::Counts,
    end::End,
    features::Features,
    selected::Selected,
    state::State,
    sync::Sync,
    wire::{Waited, Wire},
};

/// A commit under way.
pub(crate) type Commit = oneshot::Receiver<mailstore::Result<Committed>>;

/// One connection's session.
pub(crate) struct Session {
    pub(crate) ctx: SessionContext,
    pub(crate) wire: Wire,
    pub(crate) decoder: Decoder,
    pub(crate) state: State,
    pub(crate) features: Features,
    pub(crate) counts: Counts,
    pub(crate) failed_logins: u32,
    bad_commands: u32,
    /// Bytes of memory that the command under way holds outside of the buffers.
    pub(crate) held_by_command: usize,
    /// Commands carried out since the answers were last sent.
    unsent_commands: u32,
    began: Instant,
}

/// What the decoder said, its borrow ended.
pub(crate) enum Incoming {
    Command(Tag, Command),
    Continue,
    AppendStart(Tag, WireMailbox),
    AppendMessage(AppendMessage),
    /// More of a message's text: so many bytes, which were appended to the buffer given.
    LiteralData,
    AppendMessageEnd,
    AppendEnd,
    Rejected(Option<Tag>),
    IdleDone,
    /// The client's answer to a challenge, in base64.
    AuthenticateData(Vec<u8>),
    Error(CommandError),
    /// Nothing that this session asks for.
    Other,
}

/// Serves one connection until it ends. What the client is told and what the log says of errors differ: the log has all.
/// A step that runs on the pool when this future is dropped runs to its end.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ctx: SessionContext) {
    let mut session = Session::new(stream, ctx);
    let end = match session.run().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    session.end(&end).await;
}

enum Never {}

/// How often the text of a command may lie in memory while it is carried out: as the client sent it, and as what searches
/// compare with.
const COMMAND_COPIES: usize = 2;

impl Session {
    fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ctx: SessionContext) -> Self {
        let limits = &ctx.limits;
        let prelogin = Limits {
            line_len_max: limits.line_len_max.min(limits.prelogin_literal_len_max * 2),
            literal_len_max: limits.prelogin_literal_len_max,
            message_len_max: limits.prelogin_literal_len_max as u64,
            ..Limits::default()
        };
        Self {
            wire: Wire::new(stream, limits, ctx.stop.clone(), ctx.client.login_deadline(limits)),
            decoder: Decoder::new(prelogin),
            state: State::NotAuthenticated,
            features: Features::default(),
            counts: Counts::default(),
            failed_logins: 0,
            bad_commands: 0,
            held_by_command: 0,
            unsent_commands: 0,
            began: Instant::now(),
            ctx,
        }
    }

    /// Wider limits, for a user.
    pub(crate) fn set_limits_of_user(&mut self) {
        let limits = &self.ctx.limits;
        self.decoder.set_limits(Limits {
            line_len_max: limits.line_len_max,
            literal_len_max: limits.literal_len_max,
            message_len_max: limits.message_len_max,
            search_depth_max: limits.search_depth_max,
            ..Limits::default()
        });
    }

    async fn run(&mut self) -> Result<Never, End> {
        let capabilities = self.capabilities();
        write::greeting(&mut self.wire.output, &capabilities, "Culver ready.");
        loop {
            let limits = &self.ctx.limits;
            if self.wire.output.len() >= limits.output_step_len || self.unsent_commands >= limits.pipelined_commands_max
            {
                self.wire.flush().await?;
                self.unsent_commands = 0;
            }
            match self.next_event(&mut Vec::new()).await? {
                // Boxed, so that a connection that waits pays for none of the commands' futures.
                Incoming::Command(tag, command) => Box::pin(self.execute(tag, command)).await?,
                Incoming::AppendStart(tag, mailbox) => {
                    Box::pin(self.append(tag, mailbox)).await?;
                    self.held_by_command = 0;
                }
                Incoming::Continue => self.accept_literal(),
                Incoming::Error(error) => self.command_error(&error)?,
                Incoming::Rejected(Some(tag)) => self.bad(&tag, "Command refused.")?,
                _ => {}
            }
        }
    }

    /// Lets the literal of a command come.
    pub(crate) fn accept_literal(&mut self) {
        if self.decoder.accept_literal() {
            write::continuation(&mut self.wire.output, "OK");
        }
    }

    /// The next thing the client wants. Sends what is to be sent before it waits. A message's text is appended to
    /// `literal`.
    pub(crate) async fn next_event(&mut self, literal: &mut Vec<u8>) -> Result<Incoming, End> {
        loop {
            let collected = self.decoder.held_capacity();
            let decoded = self.decode(literal);
            if let Some(Incoming::Command(..)) = decoded {
                // The buffer is free again, and the command has taken its place.
                self.count_memory(collected * COMMAND_COPIES)?;
            } else {
                self.count_memory(literal.capacity())?;
            }
            if let Some(incoming) = decoded {
                return Ok(incoming);
            }
            self.wire.flush().await?;
            self.unsent_commands = 0;
            let limits = &self.ctx.limits;
            let between = self.decoder.is_between_commands();
            let (time, end) = match &self.state {
                State::NotAuthenticated => (limits.login_timeout, End::Inactive),
                _ if between => (limits.idle_timeout, End::Inactive),
                _ => (limits.stall_timeout, End::Inactive),
            };
            if self.wire.read(time).await? == Waited::TimedOut {
                return Err(end);
            }
        }
    }

    /// Counts what the session holds, and `more`, as its user's; a limit of memory ends it.
    fn count_memory(&mut self, more: usize) -> Result<(), End> {
        let bytes = self.wire.capacity() + self.decoder.held_capacity() + self.held_by_command + more;
        let Some(account) = self.state.account_mut() else { return Ok(()) };
        account.permit.hold(bytes).map_err(|limit| {
            End::Refused(match limit {
                TooMuchMemory::Session => "Too much memory for one session (limits.session_memory_max).",
                TooMuchMemory::User => "Too much memory for one user's sessions (limits.user_memory_max).",
            })
        })
    }

    /// What is in the input already.
    pub(crate) fn decode(&mut self, literal: &mut Vec<u8>) -> Option<Incoming> {
        let input = self.wire.input();
        let mut rest = input;
        let event = self.decoder.next(&mut rest);
        let used = input.len() - rest.len();
        let incoming = match event {
            Ok(None) => None,
            Ok(Some(event)) => Some(match event {
                Event::Command { tag, command } => Incoming::Command(tag, command),
                Event::Continue => Incoming::Continue,
                Event::AppendStart { tag, mailbox } => Incoming::AppendStart(tag, mailbox),
                Event::AppendMessage(message) => Incoming::AppendMessage(message),
                Event::LiteralData(bytes) => {
                    literal.extend_from_slice(bytes);
                    Incoming::LiteralData
                }
                Event::AppendMessageEnd => Incoming::AppendMessageEnd,
                Event::AppendEnd => Incoming::AppendEnd,
                Event::Rejected { tag } => Incoming::Rejected(tag),
                Event::IdleDone => Incoming::IdleDone,
                Event::AuthenticateData(answer) => Incoming::AuthenticateData(answer),
                _ => Incoming::Other,
            }),
            Err(error) => Some(Incoming::Error(error)),
        };
        self.wire.consume(used);
        incoming
    }

    async fn execute(&mut self, tag: Tag, command: Command) -> Result<(), End> {
        if self.wire.is_stopping() {
            return Err(End::Stopping);
        }
        self.counts.commands += 1;
        self.unsent_commands += 1;
        METRICS.imap.commands.increment();
        match command {
            Command::Capability => {
                let capabilities = self.capabilities();
                write::capability(&mut self.wire.output, &capabilities);
                self.finish(&tag, Sync::ALL, "Capability completed.").await
            }
            Command::Noop => self.finish(&tag, Sync::ALL, "NOOP completed.").await,
            Command::Logout => {
                write::bye(&mut self.wire.output, None, "Logging out");
                self.ok(&tag, "Logout completed.");
                Err(End::Logout)
            }
            Command::Id { .. } => {
                let fields = &self.ctx.options.id;
                let fields: Vec<_> = fields.iter().map(|(field, value)| (&**field, Some(&**value))).collect();
                write::id(&mut self.wire.output, &fields);
                self.finish(&tag, Sync::ALL, "ID completed.").await
            }
            Command::StartTls => self.starttls(&tag).await,
            Command::Authenticate { mechanism, initial } => self.authenticate(&tag, &mechanism, initial).await,
            Command::Compress { algorithm } => self.compress(&tag, &algorithm).await,
            Command::Login { user, password } => self.login(&tag, &user, password).await,
            command => match &self.state {
                State::NotAuthenticated | State::Broken => self.bad(&tag, "Please login first."),
                State::Authenticated(_) => self.execute_authenticated(tag, command).await,
                State::Selected(..) => self.execute_selected(tag, command).await,
            },
        }
    }

    async fn execute_authenticated(&mut self, tag: Tag, command: Command) -> Result<(), End> {
        match command {
            Command::Enable { capabilities } => self.enable(&tag, &capabilities).await,
            Command::Select { mailbox, params } => self.select(&tag, &mailbox, params, false).await,
            Command::Examine { mailbox, params } => self.select(&tag, &mailbox, params, true).await,
            Command::Create { mailbox, uses } => self.create(&tag, &mailbox, &uses).await,
            Command::Delete { mailbox } => self.delete(&tag, &mailbox).await,
            Command::Rename { from, to } => self.rename(&tag, &from, &to).await,
            Command::Subscribe { mailbox } => self.subscribe(&tag, &mailbox).await,
            Command::Unsubscribe { mailbox } => self.unsubscribe(&tag, &mailbox).await,
            Command::List(list) => self.list(&tag, &list).await,
            Command::Lsub { reference, pattern } => self.lsub(&tag, &reference, &pattern).await,
            Command::Namespace => self.namespace(&tag).await,
            Command::Status { mailbox, items } => self.status(&tag, &mailbox, items).await,
            Command::Idle => self.idle(&tag).await,
            _ => self.bad(&tag, "No mailbox selected."),
        }
    }

    async fn execute_selected(&mut self, tag: Tag, command: Command) -> Result<(), End> {
        match command {
            Command::Check => self.check(&tag).await,
            Command::Close => self.close(&tag).await,
            Command::Unselect => self.unselect(&tag).await,
            Command::Expunge => self.expunge(&tag, None).await,
            Command::UidExpunge { set } => self.expunge(&tag, Some(set)).await,
            Command::Search(search) => self.search(&tag, search).await,
            Command::Sort(sort) => self.sort(&tag, sort).await,
            Command::Thread(thread) => self.thread(&tag, thread).await,
            Command::Fetch(fetch) => self.fetch(&tag, fetch).await,
            Command::Store(store) => self.store(&tag, store).await,
            Command::Copy { uid, set, mailbox } => self.copy(&tag, uid, &set, &mailbox).await,
            Command::Move { uid, set, mailbox } => self.move_messages(&tag, uid, &set, &mailbox).await,
            command => self.execute_authenticated(tag, command).await,
        }
    }

    pub(crate) fn capabilities(&self) -> Cow<'static, str> {
        match self.state {
            State::NotAuthenticated => capability::before_login(&self.ctx).into(),
            _ => capability::after_login(&self.ctx),
        }
    }

    /// Tells changes, then OK.
    pub(crate) async fn finish(&mut self, tag: &Tag, sync: Sync, text: &'static str) -> Result<(), End> {
        self.finish_with(tag, sync, None, text).await
    }

    /// Tells changes, then OK with a code.
    pub(crate) async fn finish_with(
        &mut self,
        tag: &Tag,
        sync: Sync,
        code: Option<Code<'_>>,
        text: &'static str,
    ) -> Result<(), End> {
        let synced = self.sync(sync).await;
        self.answer_synced(tag, synced, code, text)
    }

    pub(crate) fn ok(&mut self, tag: &Tag, text: &'static str) {
        self.ok_with(tag, None, text);
    }

    pub(crate) fn ok_with(&mut self, tag: &Tag, code: Option<Code<'_>>, text: &'static str) {
        self.bad_commands = 0;
        write::tagged(&mut self.wire.output, tag, Status::Ok, code, text);
    }

    pub(crate) fn no(&mut self, tag: &Tag, code: Option<Code<'_>>, text: &'static str) -> Result<(), End> {
        self.bad_commands = 0;
        write::no(&mut self.wire.output, tag, code, text);
        Ok(())
    }

    /// BAD; after too many in a row the session ends.
    pub(crate) fn bad(&mut self, tag: &Tag, text: &'static str) -> Result<(), End> {
        write::bad(&mut self.wire.output, tag, text);
        self.count_bad()
    }

    pub(crate) fn command_error(&mut self, error: &CommandError) -> Result<(), End> {
        write::command_error(&mut self.wire.output, error);
        if let (ErrorKind::BadCharset { saves: true }, Some(selected)) = (error.kind, self.state.selected()) {
            // RFC 5182 §2.1: a search that was to be saved and fails leaves nothing saved.
            selected.save_result(UidSet::new());
        }
        if error.is_fatal() {
            // BYE was said with the answer.
            info!(peer = self.ctx.peer.map(tracing::field::display), %error, "input cannot be followed");
            return Err(End::Disconnected);
        }
        debug!(peer = self.ctx.peer.map(tracing::field::display), %error, "bad command");
        self.count_bad()
    }

    fn count_bad(&mut self) -> Result<(), End> {
        self.bad_commands += 1;
        if self.bad_commands >= self.ctx.limits.bad_commands_max {
            return Err(End::Refused("Too many invalid IMAP commands."));
        }
        Ok(())
    }

    /// NO, for a storage error: the code and a text for the client, everything for the log.
    pub(crate) fn storage_error(
        &mut self,
        tag: &Tag,
        doing: &'static str,
        error: &StorageError,
        target: Target,
    ) -> Result<(), End> {
        if is_ordinary(error) {
            debug!(user = %self.user_for_log(), %error, doing, "refused");
        } else {
            warn!(user = %self.user_for_log(), peer = self.ctx.peer.map(tracing::field::display), %error, doing, "storage error");
        }
        self.no(tag, code_of(error, target), error.client_text())
    }

    /// The name of a mailbox that a command gave; `None` if it named none and was answered.
    pub(crate) fn name_of(&mut self, tag: &Tag, mailbox: &WireMailbox) -> Result<Option<MailboxName>, End> {
        match mailbox.name(self.separator()) {
            Ok(name) => Ok(Some(name)),
            Err(_) => self.no(tag, Some(Code::Cannot), "Invalid mailbox name").map(|()| None),
        }
    }

    /// What the client sees between the levels of a name.
    pub(crate) fn separator(&self) -> char {
        self.state.account().map_or(MailboxName::SEPARATOR, |account| account.storage.separator())
    }

    pub(crate) fn user_for_log(&self) -> String {
        self.state.account().map_or_else(String::new, |account| account.user.to_string())
    }

    /// Runs a step of work with the user's mail, on the pool.
    pub(crate) async fn on_storage<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&dyn MailStorage) -> T + Send + 'static,
    ) -> Result<T, End> {
        let (user, storage) = self.account()?;
        let pool = self.ctx.pool.clone();
        pool.run(&user, move || step(&*storage)).await.map_err(|error| End::Internal(error.to_string()))
    }

    pub(crate) fn account(&self) -> Result<(UserName, Arc<dyn MailStorage>), End> {
        let account = self.state.account().ok_or_else(|| End::Internal("no user".to_owned()))?;
        Ok((account.user.clone(), Arc::clone(&account.storage)))
    }

    /// Runs a step of work with the selected mailbox, on the pool; its output is appended to what is to be sent.
    pub(crate) async fn on_selected<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Selected, &mut Vec<u8>) -> T + Send + 'static,
    ) -> Result<T, End> {
        let (account, mut selected) = match mem::replace(&mut self.state, State::Broken) {
            State::Selected(account, selected) => (account, selected),
            other => {
                self.state = other;
                return Err(End::Internal("no mailbox is selected".to_owned()));
            }
        };
        let mut out = mem::take(&mut self.wire.output);
        let step = move || {
            let value = step(&mut selected, &mut out);
            (selected, out, value)
        };
        let pool = self.ctx.pool.clone();
        match pool.run(&account.user, step).await {
            Ok((selected, out, value)) => {
                self.wire.output = out;
                self.state = State::Selected(account, selected);
                Ok(value)
            }
            Err(error) => {
                self.state = State::Authenticated(account);
                Err(End::Internal(error.to_string()))
            }
        }
    }

    /// Runs a step that needs memory only, here.
    pub(crate) fn here<T>(&mut self, step: impl FnOnce(&mut Selected, &mut Vec<u8>) -> T) -> Result<T, End> {
        match self.state.selected() {
            Some(selected) => Ok(step(selected, &mut self.wire.output)),
            None => Err(End::Internal("no mailbox is selected".to_owned())),
        }
    }

    /// Says BYE where that helps, closes, and writes the session's line.
    async fn end(&mut self, end: &End) {
        if let Some(text) = end.bye() {
            write::bye(&mut self.wire.output, None, text);
        }
        if let End::Internal(error) = end {
            warn!(user = %self.user_for_log(), peer = self.ctx.peer.map(tracing::field::display), %error, "session broken");
        }
        if !matches!(end, End::Lost(_) | End::Stalled) {
            self.wire.close().await;
        }
        let Counts { commands, bodies, fetched, appended, copied, expunged } = self.counts;
        info!(
            user = %self.user_for_log(),
            peer = self.ctx.peer.map(tracing::field::display),
            reason = %end,
            seconds = self.began.elapsed().as_secs_f64(),
            bytes_in = self.wire.bytes_in,
            bytes_out = self.wire.bytes_out,
            commands,
            bodies,
            fetched,
            appended,
            copied,
            expunged,
            "IMAP session ended",
        );
    }
}

/// Lets a commit go on without a thread. To be called on the pool: the backend may begin with the work here.
pub(crate) fn in_flight(ticket: Ticket) -> Commit {
    let (tell, told) = oneshot::channel();
    let began = Instant::now();
    // Nobody hears it when the session is gone.
    ticket.on_done(move |outcome| {
        METRICS.commit.observe(began.elapsed());
        drop(tell.send(outcome));
    });
    told
}

/// Waits for a commit.
pub(crate) async fn committed(commit: Commit) -> mailstore::Result<Committed> {
    commit.await.unwrap_or_else(|_| Err(StorageError::Unavailable("the commit was given up".into())))
}
