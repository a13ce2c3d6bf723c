//! Small changes of a mailbox that somebody waits for.

use std::sync::Arc;

use mailindex::{
    engine::{self, CommitError, CommitOp, CommitOutcome, CommitPoint, Completion, MailboxIndex, OpError, completion},
    state::State,
};
use mailtypes::MailboxName;

use super::{from_commit, lost};
use crate::traits::Result;

/// Has `prepare` say what is to be appended, and waits until it is in force: what `prepare` told, and the mailbox then.
/// No message may come or go by it.
pub(crate) fn change<T, F>(name: &MailboxName, index: &Arc<MailboxIndex>, prepare: F) -> Result<(T, State)>
where
    T: Send + 'static,
    F: FnMut(&mut CommitPoint<'_>) -> T + Send + 'static,
{
    carry(name, index, prepare, false)
}

/// The same for changes by which messages go.
pub(crate) fn change_messages<T, F>(name: &MailboxName, index: &Arc<MailboxIndex>, prepare: F) -> Result<(T, State)>
where
    T: Send + 'static,
    F: FnMut(&mut CommitPoint<'_>) -> T + Send + 'static,
{
    carry(name, index, prepare, true)
}

/// The same, for those who wait later.
pub(super) fn begin_messages<T, F>(
    name: &MailboxName,
    index: &Arc<MailboxIndex>,
    prepare: F,
) -> Completion<Result<(T, State)>>
where
    T: Send + 'static,
    F: FnMut(&mut CommitPoint<'_>) -> T + Send + 'static,
{
    begin(name, index, prepare, true)
}

fn carry<T, F>(name: &MailboxName, index: &Arc<MailboxIndex>, prepare: F, messages: bool) -> Result<(T, State)>
where
    T: Send + 'static,
    F: FnMut(&mut CommitPoint<'_>) -> T + Send + 'static,
{
    begin(name, index, prepare, messages).wait().unwrap_or_else(|| Err(lost()))
}

fn begin<T, F>(
    name: &MailboxName,
    index: &Arc<MailboxIndex>,
    prepare: F,
    messages: bool,
) -> Completion<Result<(T, State)>>
where
    T: Send + 'static,
    F: FnMut(&mut CommitPoint<'_>) -> T + Send + 'static,
{
    let (completer, completion) = completion(index);
    let (name, completer) = (name.clone(), Some(completer));
    index.enqueue(Box::new(Change { name, prepare, messages, told: None, completer }));
    completion
}

struct Change<T, F> {
    name: MailboxName,
    prepare: F,
    messages: bool,
    told: Option<T>,
    completer: Option<engine::Completer<Result<(T, State)>>>,
}

impl<T: Send, F: FnMut(&mut CommitPoint<'_>) -> T + Send> CommitOp for Change<T, F> {
    fn touches_messages(&self) -> bool {
        self.messages
    }

    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        self.told = Some((self.prepare)(at));
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let told = self.told.take();
        let result = match outcome {
            Ok(outcome) => told.map(|told| (told, outcome.state.clone())).ok_or_else(lost),
            Err(error) => Err(from_commit(&self.name, &error)),
        };
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}
