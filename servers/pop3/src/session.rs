//! The session: reads commands, carries them out one by one, answers.

use std::time::Instant;

use culver_runtime::{Line, Lines, METRICS};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{info, warn};

use crate::{
    SessionContext,
    command::Command,
    end::End,
    reply::{self, Refusal},
    transaction::Transaction,
};

/// Longest command line, its end included. RFC 2449 §4 asks for 255; RFC 5034 §4 for 12,288 where SASL's messages are
/// sent.
pub(crate) const LINE_LEN_MAX: usize = 12 * 1024;

/// One connection's session.
pub(crate) struct Session {
    pub(crate) ctx: SessionContext,
    pub(crate) lines: Lines,
    pub(crate) state: State,
    pub(crate) counts: Counts,
    /// What USER said.
    pub(crate) user_given: Option<Vec<u8>>,
    pub(crate) failed_logins: u32,
    pub(crate) bad_commands: u32,
    pub(crate) began: Instant,
    /// The present command line: commands look at it while more is read.
    line: Vec<u8>,
}

pub(crate) enum State {
    Authorization,
    Transaction(Box<Transaction>),
    /// A storage step lost what it had taken along.
    Broken,
}

/// What a session did, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) retrieved: u64,
    pub(crate) tops: u64,
    pub(crate) deleted: u64,
}

enum Never {}

/// Serves one connection until it ends. Messages are deleted only where the client said QUIT; a step that runs on the
/// pool when this future is dropped runs to its end.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ctx: SessionContext) {
    let mut lines = Lines::new(stream, &ctx.limits, ctx.stop.clone());
    lines.set_deadline(Some(ctx.client.login_deadline(&ctx.limits)));
    let mut session = Session {
        lines,
        ctx,
        state: State::Authorization,
        counts: Counts::default(),
        user_given: None,
        failed_logins: 0,
        bad_commands: 0,
        began: Instant::now(),
        line: Vec::new(),
    };
    let Err(end) = session.run().await;
    session.end(&end).await;
}

impl Session {
    async fn run(&mut self) -> Result<Never, End> {
        self.ok("Culver ready.")?;
        loop {
            if self.lines.output.len() >= self.ctx.limits.output_step_len {
                self.lines.flush().await?;
            }
            if !self.read_line().await? {
                self.bad_command(Refusal::LINE_TOO_LONG)?;
                continue;
            }
            self.count_memory()?;
            self.counts.commands += 1;
            METRICS.pop3.commands.increment();
            let line = std::mem::take(&mut self.line);
            let command = Command::parse(&line);
            // Boxed, so that a connection that waits pays for none of the commands' futures.
            let done = match self.state {
                _ if matches!(command, Command::Capa) => self.capabilities(),
                State::Authorization => Box::pin(self.execute_authorization(command)).await,
                _ => Box::pin(self.execute_transaction(command)).await,
            };
            self.line = line;
            done?;
        }
    }

    /// Reads the next line into `self.line`; `false` if it was too long.
    pub(crate) async fn read_line(&mut self) -> Result<bool, End> {
        let limits = &self.ctx.limits;
        let time = match self.state {
            State::Authorization => limits.login_timeout,
            _ => limits.idle_timeout,
        };
        match self.lines.line(LINE_LEN_MAX, time).await? {
            Line::At(at) => {
                self.line.clear();
                self.line.extend_from_slice(self.lines.text(&at));
                Ok(true)
            }
            Line::TooLong => Ok(false),
        }
    }

    /// Counts what the session holds as its user's; a limit of memory ends it.
    fn count_memory(&mut self) -> Result<(), End> {
        let bytes = self.lines.capacity() + self.line.capacity();
        let State::Transaction(transaction) = &mut self.state else { return Ok(()) };
        let held = transaction.permit.hold(bytes + transaction.maildrop.ahead.bytes());
        held.map_err(|_| End::Refused("too much memory", Refusal::TOO_MUCH_MEMORY))
    }

    /// The line that [`Session::read_line`] read.
    pub(crate) fn take_line(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.line)
    }

    pub(crate) fn ok(&mut self, text: &str) -> Result<(), End> {
        self.bad_commands = 0;
        reply::ok(&mut self.lines.output, text);
        Ok(())
    }

    pub(crate) fn ok_fmt(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), End> {
        self.bad_commands = 0;
        reply::line(&mut self.lines.output, text);
        Ok(())
    }

    /// `-ERR` to a command that is one.
    pub(crate) fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        self.bad_commands = 0;
        refusal.write(&mut self.lines.output);
        Ok(())
    }

    /// `-ERR` to what is no command; after too many in a row the session ends.
    pub(crate) fn bad_command(&mut self, refusal: Refusal) -> Result<(), End> {
        refusal.write(&mut self.lines.output);
        self.bad_commands += 1;
        if self.bad_commands >= self.ctx.limits.bad_commands_max {
            return Err(End::Refused("too many bad commands", Refusal::TOO_MANY_BAD_COMMANDS));
        }
        Ok(())
    }

    pub(crate) fn user_for_log(&self) -> &str {
        match &self.state {
            State::Transaction(transaction) => transaction.user.as_str(),
            _ => "",
        }
    }

    /// Says why, where that helps, closes, and writes the session's line.
    async fn end(&mut self, end: &End) {
        if let Some(refusal) = end.last_words() {
            refusal.write(&mut self.lines.output);
        }
        if let End::Internal(error) = end {
            warn!(user = %self.user_for_log(), peer = self.ctx.peer.map(tracing::field::display), %error, "session broken");
        }
        self.lines.close().await;
        if !matches!(end, End::Quit) && matches!(self.state, State::Transaction(_)) {
            self.leave().await;
        }
        let Counts { commands, retrieved, tops, deleted } = self.counts;
        info!(
            user = %self.user_for_log(),
            peer = self.ctx.peer.map(tracing::field::display),
            reason = %end,
            seconds = self.began.elapsed().as_secs_f64(),
            bytes_in = self.lines.bytes_in,
            bytes_out = self.lines.bytes_out,
            commands,
            retrieved,
            tops,
            deleted,
            "POP3 session ended",
        );
    }
}
