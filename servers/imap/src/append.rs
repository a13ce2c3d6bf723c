//! APPEND of one or more messages (RFC 3501 §6.3.11, RFC 3502): all of them or none.
//!
//! A message's text is gathered up to a step's length and then handed to the store on the pool. While the client sends
//! nothing, the session holds that buffer and the begun save, and no thread.

use std::sync::Arc;

use culver_runtime::METRICS;
use imap_proto::{AppendMessage, FlagList, Mailbox as WireMailbox, Tag, write::Code};
use mailstore::{Batch, BatchItem, Mailbox, NulPolicy, Result as StorageResult, Save, SaveMeta, Saved, StorageError};
use mailtypes::UidSet;

use crate::{
    codes::Target,
    end::End,
    session::{Commit, Incoming, Session, committed, in_flight},
    sync::Sync,
};

/// An APPEND under way.
struct Append {
    mailbox: Arc<dyn Mailbox>,
    /// Messages that are whole.
    done: Vec<Whole>,
    /// Bytes of memory that they hold.
    held_by_done: usize,
    /// The message whose text comes.
    now: Option<Incomplete>,
    /// What is wrong; the rest of the command is read and thrown away.
    failed: Option<Failure>,
}

struct Whole {
    message: Saved,
    flags: FlagList,
}

struct Incomplete {
    message: AppendMessage,
    save: Option<Box<dyn Save>>,
    /// The client sent all of it.
    is_whole: bool,
}

enum Failure {
    Storage(StorageError),
    Said(Option<Code<'static>>, &'static str),
}

/// What an APPEND's end found.
enum Over {
    /// All messages are there; this is the end of the last one's text.
    Whole(Vec<u8>),
    /// The command was answered, or needs no answer.
    Answered,
}

impl Session {
    pub(crate) async fn append(&mut self, tag: Tag, mailbox: WireMailbox) -> Result<(), End> {
        self.counts.commands += 1;
        METRICS.imap.commands.increment();
        if self.state.account().is_none() {
            return self.refuse_append(&tag, "Please login first.").await;
        }
        let opened = match mailbox.name(self.separator()) {
            Ok(name) => match self.on_storage(move |storage| storage.mailbox(&name)).await? {
                Ok(mailbox) => Ok(mailbox),
                Err(error) => Err(Failure::Storage(error)),
            },
            Err(_) => Err(Failure::Said(Some(Code::Cannot), "Invalid mailbox name")),
        };
        let mut append = match opened {
            Ok(mailbox) => Append { mailbox, done: Vec::new(), held_by_done: 0, now: None, failed: None },
            Err(failure) => {
                self.skip_append().await?;
                return self.append_failed(&tag, &failure);
            }
        };
        match self.take_messages(&tag, &mut append).await? {
            Over::Whole(text) => self.commit_append(&tag, append, text).await,
            Over::Answered => Ok(()),
        }
    }

    async fn take_messages(&mut self, tag: &Tag, append: &mut Append) -> Result<Over, End> {
        let mut text = Vec::new();
        loop {
            match self.next_event(&mut text).await? {
                Incoming::AppendMessage(message) => {
                    self.store_text(append, &mut text).await?;
                    if let Some(failure) = self.refusal(append, &message) {
                        append.failed.get_or_insert(failure);
                    }
                    if append.failed.is_some() {
                        self.decoder.reject_literal();
                    } else {
                        let most = self.ctx.limits.output_step_len.saturating_add(self.ctx.limits.input_step_len);
                        text.reserve_exact(usize::try_from(message.len).unwrap_or(usize::MAX).min(most));
                        append.now = Some(Incomplete { message, save: None, is_whole: false });
                        self.accept_literal();
                    }
                }
                Incoming::LiteralData => {
                    if append.failed.is_some() {
                        text.clear();
                    } else if text.len() >= self.ctx.limits.output_step_len {
                        self.store_text(append, &mut text).await?;
                    }
                }
                Incoming::AppendMessageEnd => {
                    if let Some(now) = &mut append.now {
                        now.is_whole = true;
                    }
                }
                Incoming::AppendEnd => {
                    return match append.failed.take() {
                        Some(failure) => self.append_failed(tag, &failure).map(|()| Over::Answered),
                        None => Ok(Over::Whole(text)),
                    };
                }
                Incoming::Rejected(_) => {
                    let failure = append.failed.take().unwrap_or(Failure::Said(None, "Append refused."));
                    return self.append_failed(tag, &failure).map(|()| Over::Answered);
                }
                Incoming::Error(error) => return self.command_error(&error).map(|()| Over::Answered),
                _ => {}
            }
        }
    }

    /// Why a message is not taken, as far as can be said before its text comes.
    fn refusal(&self, append: &Append, message: &AppendMessage) -> Option<Failure> {
        if message.len == 0 {
            return Some(Failure::Said(Some(Code::Cannot), "Can't save a zero byte message."));
        }
        if append.done.len() >= self.ctx.limits.multiappend_count_max {
            return Some(Failure::Said(Some(Code::Limit), "Too many messages in one APPEND."));
        }
        None
    }

    /// Hands the text gathered to the store.
    async fn store_text(&mut self, append: &mut Append, text: &mut Vec<u8>) -> Result<(), End> {
        let Some(now) = append.now.take() else { return Ok(()) };
        let bytes = std::mem::take(text);
        let mailbox = Arc::clone(&append.mailbox);
        let stored = self.on_storage(move |_| now.store(&*mailbox, &bytes).map(|stored| (stored, bytes))).await?;
        match stored {
            Ok((stored, mut bytes)) => {
                match stored {
                    Stored::Incomplete(now) => append.now = Some(now),
                    Stored::Whole(whole) => self.keep(append, whole),
                }
                bytes.clear();
                *text = bytes;
            }
            Err(error) => append.failed = Some(Failure::Storage(error)),
        }
        if append.failed.is_some() {
            append.forget_messages();
        }
        let held_by_now = append.now.as_ref().and_then(|now| now.save.as_ref()).map_or(0, |save| save.held_len());
        self.held_by_command = append.held_by_done + held_by_now;
        Ok(())
    }

    /// Keeps a message that is whole until all are. Where many are kept, each holds little; where even that is too much,
    /// none is appended.
    fn keep(&self, append: &mut Append, mut whole: Whole) {
        let most = self.ctx.limits.session_memory_max / 2;
        if append.held_by_done + whole.message.0.held_len() > most / 4 {
            whole.message.0.shrink();
        }
        append.held_by_done += whole.message.0.held_len() + size_of::<Whole>();
        append.done.push(whole);
        if append.held_by_done > most {
            append.failed = Some(Failure::Said(Some(Code::Limit), "Too much in one APPEND."));
        }
    }

    /// Writes the end of the last message and commits all of them, in one step.
    async fn commit_append(&mut self, tag: &Tag, append: Append, text: Vec<u8>) -> Result<(), End> {
        let Append { mailbox, done, now, .. } = append;
        let submit = move |_: &dyn mailstore::MailStorage| -> StorageResult<Commit> {
            let last = match now.map(|now| now.store(&*mailbox, &text)).transpose()? {
                Some(Stored::Whole(whole)) => Some(whole),
                _ => None,
            };
            let items = done.into_iter().chain(last).map(Whole::into_item).collect();
            mailbox.submit(Batch { items }).map(in_flight)
        };
        let outcome = match self.on_storage(submit).await? {
            Ok(commit) => committed(commit).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(committed) => {
                self.counts.appended += committed.saved.len() as u64;
                let uids: UidSet = committed.saved.iter().copied().collect();
                let code = Code::AppendUid { uid_validity: committed.uid_validity, uids: &uids };
                self.finish_with(tag, Sync::ALL, Some(code), "Append completed.").await
            }
            Err(error) => self.append_failed(tag, &Failure::Storage(error)),
        }
    }

    fn append_failed(&mut self, tag: &Tag, failure: &Failure) -> Result<(), End> {
        match failure {
            Failure::Storage(error) => self.storage_error(tag, "APPEND", error, Target::Destination),
            Failure::Said(code, text) => self.no(tag, *code, text),
        }
    }

    async fn refuse_append(&mut self, tag: &Tag, text: &'static str) -> Result<(), End> {
        self.skip_append().await?;
        self.bad(tag, text)
    }

    /// Reads the rest of an APPEND that fails and throws it away; a client that waits is told at once.
    async fn skip_append(&mut self) -> Result<(), End> {
        let mut text = Vec::new();
        loop {
            match self.next_event(&mut text).await? {
                Incoming::AppendMessage(_) => self.decoder.reject_literal(),
                Incoming::Error(error) if error.is_fatal() => return self.command_error(&error),
                Incoming::Rejected(_) | Incoming::AppendEnd | Incoming::Error(_) => return Ok(()),
                _ => text.clear(),
            }
        }
    }
}

enum Stored {
    Incomplete(Incomplete),
    Whole(Whole),
}

impl Append {
    /// Forgets all that came: none of it will be appended.
    fn forget_messages(&mut self) {
        self.done = Vec::new();
        self.held_by_done = 0;
        self.now = None;
    }
}

impl Whole {
    fn into_item(self) -> BatchItem {
        let Self { message, flags: FlagList { flags, keywords } } = self;
        BatchItem::Save { message, flags, keywords, kept: None }
    }
}

impl Incomplete {
    /// Writes a piece of the text; on the pool.
    fn store(self, mailbox: &dyn Mailbox, bytes: &[u8]) -> StorageResult<Stored> {
        let Self { message, save, is_whole } = self;
        let mut save = match save {
            Some(save) => save,
            None => {
                // A literal8 may have NULs (RFC 3516 §4.4), and they are what the client wants kept.
                let nuls = message.binary.then_some(NulPolicy::Keep);
                let meta = SaveMeta { internal_date: message.date, nuls, ..SaveMeta::default() };
                mailbox.begin_save(meta, Some(message.len))?
            }
        };
        save.write(bytes)?;
        if !is_whole {
            return Ok(Stored::Incomplete(Self { message, save: Some(save), is_whole }));
        }
        Ok(Stored::Whole(Whole { message: save.finish()?, flags: message.flags }))
    }
}
