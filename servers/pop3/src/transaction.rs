//! The commands of a user who has logged in (RFC 1939 §5, §6).

use std::{mem, time::Instant};

use culver_runtime::{METRICS, UserName, UserPermit};
use mailstore::StorageError;
use tokio::sync::oneshot;
use tracing::warn;

use crate::{
    ahead::Ahead,
    command::{self, Command},
    end::End,
    ids::{Ids, ReadingIds},
    locks::SessionLock,
    maildrop::Maildrop,
    reply::{self, Refusal},
    retrieve::{Begun, Retrieval},
    session::{Session, State},
};

/// A user's session.
pub(crate) struct Transaction {
    pub(crate) user: UserName,
    pub(crate) maildrop: Maildrop,
    pub(crate) ids: Option<Ids>,
    /// His place among the connections.
    pub(crate) permit: UserPermit,
    pub(crate) _lock: SessionLock,
}

/// What a listing tells of each message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listing {
    Sizes,
    Ids,
}

impl Session {
    pub(crate) async fn execute_transaction(&mut self, command: Command<'_>) -> Result<(), End> {
        match command {
            Command::Stat => {
                let (count, size) = self.maildrop()?.stat();
                self.ok_fmt(format_args!("+OK {count} {size}"))
            }
            Command::List(b"") => self.list_all(Listing::Sizes).await,
            Command::List(argument) => match self.find(command::number(argument))? {
                Ok(index) => self.list_one(Listing::Sizes, index),
                Err(refusal) => self.refuse(refusal),
            },
            Command::Uidl(b"") => match self.read_ids().await? {
                true => self.list_all(Listing::Ids).await,
                false => Ok(()),
            },
            Command::Uidl(argument) => match self.find(command::number(argument))? {
                Ok(index) if self.read_ids().await? => self.list_one(Listing::Ids, index),
                Ok(_) => Ok(()),
                Err(refusal) => self.refuse(refusal),
            },
            Command::Retr(argument) => match self.find(command::number(argument))? {
                Ok(index) => self.retrieve(index, None).await,
                Err(refusal) => self.refuse(refusal),
            },
            Command::Top(arguments) => {
                let parsed = command::number_and_lines(arguments);
                let lines = parsed.map_or(0, |(_, lines)| lines);
                match self.find(parsed.map(|(number, _)| number))? {
                    Ok(index) => self.retrieve(index, Some(lines)).await,
                    Err(refusal) => self.refuse(refusal),
                }
            }
            Command::Dele(argument) => match self.find(command::number(argument))? {
                Ok(index) => {
                    self.transaction()?.maildrop.delete(index);
                    self.ok("Marked to be deleted.")
                }
                Err(refusal) => self.refuse(refusal),
            },
            Command::Rset => {
                self.transaction()?.maildrop.reset();
                self.ok("")
            }
            Command::Noop => self.ok(""),
            Command::Last if self.ctx.options.last => {
                let last = self.maildrop()?.last();
                self.ok_fmt(format_args!("+OK {last}"))
            }
            Command::Quit => self.update().await,
            _ => self.bad_command(Refusal::UNKNOWN_COMMAND),
        }
    }

    pub(crate) fn transaction(&mut self) -> Result<&mut Transaction, End> {
        match &mut self.state {
            State::Transaction(transaction) => Ok(transaction),
            _ => Err(End::Internal("nobody has logged in".to_owned())),
        }
    }

    fn maildrop(&mut self) -> Result<&Maildrop, End> {
        self.transaction().map(|transaction| &transaction.maildrop)
    }

    /// The message that a command means.
    fn find(&mut self, number: Result<u64, Refusal>) -> Result<Result<usize, Refusal>, End> {
        let maildrop = self.maildrop()?;
        Ok(number.and_then(|number| maildrop.find(number)))
    }

    fn list_one(&mut self, listing: Listing, index: usize) -> Result<(), End> {
        self.bad_commands = 0;
        self.lines.output.extend_from_slice(b"+OK ");
        self.list_line(listing, index, &mut String::new())
    }

    fn list_line(&mut self, listing: Listing, index: usize, id: &mut String) -> Result<(), End> {
        let State::Transaction(transaction) = &self.state else {
            return Err(End::Internal("nobody has logged in".to_owned()));
        };
        let (maildrop, number) = (&transaction.maildrop, index + 1);
        match listing {
            Listing::Sizes => {
                reply::line(&mut self.lines.output, format_args!("{number} {}", maildrop.size(index)));
            }
            Listing::Ids => {
                id.clear();
                let format = &self.ctx.options.uidl_format;
                match &transaction.ids {
                    Some(ids) => ids.write(index, format, maildrop, id),
                    None => Ids::default().write(index, format, maildrop, id),
                }
                reply::line(&mut self.lines.output, format_args!("{number} {id}"));
            }
        }
        Ok(())
    }

    /// Writes a line a message, as fast as the client takes them.
    async fn list_all(&mut self, listing: Listing) -> Result<(), End> {
        match listing {
            Listing::Sizes => {
                let (count, _) = self.maildrop()?.stat();
                self.ok_fmt(format_args!("+OK {count} messages:"))?;
            }
            Listing::Ids => self.ok("")?,
        }
        let mut id = String::new();
        let mut next = self.maildrop()?.next_shown(0);
        while let Some(index) = next {
            self.list_line(listing, index, &mut id)?;
            next = self.maildrop()?.next_shown(index + 1);
            if self.lines.output.len() >= self.ctx.limits.output_step_len {
                self.lines.flush().await.map_err(End::Midway)?;
            }
        }
        self.lines.output.extend_from_slice(b".\r\n");
        Ok(())
    }

    /// Reads what unique ids need, once a session. If that fails, the command is answered.
    async fn read_ids(&mut self) -> Result<bool, End> {
        let options = self.ctx.options.clone();
        let transaction = self.transaction()?;
        if transaction.ids.is_some() {
            return Ok(true);
        }
        let mut reading = ReadingIds::new(&options, &transaction.maildrop);
        loop {
            let step = self.on_maildrop(move |maildrop, _| {
                let outcome = reading.step(maildrop);
                (reading, outcome)
            });
            let (still_reading, outcome) = step.await?;
            reading = still_reading;
            match outcome {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return self.storage_error("UIDL", &error).map(|()| false),
            }
        }
        let finish = self.on_maildrop(move |maildrop, _| reading.finish(&options, maildrop)).await?;
        self.transaction()?.ids = Some(finish);
        Ok(true)
    }

    /// RETR, or TOP with so many lines of the body.
    async fn retrieve(&mut self, index: usize, lines: Option<u64>) -> Result<(), End> {
        let len_max = self.ctx.limits.output_step_len;
        if lines.is_none()
            && let Some(answer) = self.transaction()?.maildrop.ahead.take(index)
        {
            self.transaction()?.maildrop.mark_shown(index);
            self.bad_commands = 0;
            self.counts.retrieved += 1;
            self.lines.output.extend_from_slice(&answer);
            if self.lines.output.len() >= len_max {
                self.lines.flush().await.map_err(End::Midway)?;
            }
            return Ok(());
        }
        let first = self.on_maildrop(move |maildrop, out| {
            let mut retrieval = match Retrieval::begin(maildrop, index, lines, out) {
                Begun::Shown(retrieval) => retrieval,
                Begun::Refused(error) => return Err(error),
            };
            if lines.is_none() {
                maildrop.mark_shown(index);
            }
            let outcome = retrieval.step(out, len_max);
            if lines.is_none() && matches!(outcome, Ok(true)) {
                Ahead::shown(maildrop, index);
            }
            Ok((retrieval, outcome))
        });
        let (mut retrieval, mut outcome) = match first.await? {
            Ok(begun) => begun,
            Err(error) => {
                if let Some(error) = error {
                    self.log_storage_error("RETR", &error);
                }
                return Ok(());
            }
        };
        self.bad_commands = 0;
        loop {
            match outcome {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    self.log_storage_error("RETR", &error);
                    return Err(End::BrokenOff(error));
                }
            }
            if self.lines.output.len() >= len_max {
                self.lines.flush().await.map_err(End::Midway)?;
            }
            let step = self.on_maildrop(move |_, out| {
                let outcome = retrieval.step(out, len_max);
                (retrieval, outcome)
            });
            (retrieval, outcome) = step.await?;
        }
        match lines {
            None => self.counts.retrieved += 1,
            Some(_) => self.counts.tops += 1,
        }
        Ok(())
    }

    /// QUIT: the UPDATE state. What was deleted goes in one commit, and is gone for good when the client is told.
    async fn update(&mut self) -> Result<(), End> {
        let options = self.ctx.options.clone();
        let deletes = self.maildrop()?.deleted_count();
        let submitted = self.on_maildrop(move |maildrop, _| {
            let Some(batch) = maildrop.changes(&options) else { return Ok(None) };
            let (tell, told) = oneshot::channel();
            // Nobody hears it when the session is gone.
            maildrop.mailbox.submit(batch)?.on_done(move |outcome| drop(tell.send(outcome)));
            Ok(Some(told))
        });
        let began = Instant::now();
        let outcome = match submitted.await? {
            Ok(Some(commit)) => {
                let committed = commit.await;
                METRICS.commit.observe(began.elapsed());
                let given_up = || StorageError::Unavailable("the commit was given up".into());
                committed.unwrap_or_else(|_| Err(given_up())).map(|_| ())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.counts.deleted = deletes as u64;
                self.ok(if deletes > 0 { "Logging out, messages deleted." } else { "Logging out." })?;
                Err(End::Quit)
            }
            Err(error) => {
                self.log_storage_error("QUIT", &error);
                let refusal = if deletes > 0 { Refusal::NOT_ALL_DELETED } else { Refusal::INTERNAL };
                Err(End::Refused("changes could not be committed", refusal))
            }
        }
    }

    /// The client is gone without QUIT: nothing is deleted, but what was shown was seen. Nobody waits for it.
    pub(crate) async fn leave(&mut self) {
        let options = self.ctx.options.clone();
        let step = self.on_maildrop(move |maildrop, _| match maildrop.changes_without_quit(&options) {
            Some(batch) => maildrop.mailbox.submit(batch).map(drop),
            None => Ok(()),
        });
        if let Ok(Err(error)) = step.await {
            self.log_storage_error("leaving", &error);
        }
    }

    /// Runs a step of work with the maildrop, on the pool; its output is appended to what is to be sent.
    async fn on_maildrop<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Maildrop, &mut Vec<u8>) -> T + Send + 'static,
    ) -> Result<T, End> {
        let mut transaction = match mem::replace(&mut self.state, State::Broken) {
            State::Transaction(transaction) => transaction,
            other => {
                self.state = other;
                return Err(End::Internal("nobody has logged in".to_owned()));
            }
        };
        let mut out = mem::take(&mut self.lines.output);
        let user = transaction.user.clone();
        let step = move || {
            let value = step(&mut transaction.maildrop, &mut out);
            (transaction, out, value)
        };
        let (transaction, out, value) =
            self.ctx.pool.run(&user, step).await.map_err(|error| End::Internal(error.to_string()))?;
        self.lines.output = out;
        self.state = State::Transaction(transaction);
        Ok(value)
    }

    fn storage_error(&mut self, doing: &'static str, error: &StorageError) -> Result<(), End> {
        self.log_storage_error(doing, error);
        reply::write_storage_error(&mut self.lines.output, error);
        Ok(())
    }

    fn log_storage_error(&self, doing: &'static str, error: &StorageError) {
        warn!(user = %self.user_for_log(), peer = self.ctx.peer.map(tracing::field::display), %error, doing, "storage error");
    }
}
