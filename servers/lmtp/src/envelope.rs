//! A message's sender and recipients. A recipient who was named twice gets one copy, and a reply each time.

use culver_runtime::{AuthError, Logins, User};
use mailtypes::MailboxName;

use crate::{DetailMailbox, Options, address::Address};

/// The sender and the recipients that were accepted.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) sender: Option<Address>,
    /// Whether the sender said SMTPUTF8.
    pub(crate) utf8: bool,
    /// In the order of RCPT, each with the index of its target.
    pub(crate) recipients: Vec<(Address, usize)>,
    pub(crate) targets: Vec<Target>,
}

/// Who gets a copy, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) user: User,
    /// The mailbox that the detail names; INBOX if there is none.
    pub(crate) mailbox: Option<MailboxName>,
}

impl Envelope {
    pub(crate) fn add(&mut self, address: Address, target: Target) {
        let known = self.targets.iter().position(|have| *have == target);
        let index = known.unwrap_or_else(|| {
            self.targets.push(target);
            self.targets.len() - 1
        });
        self.recipients.push((address, index));
    }

    /// The recipient, if there is one only.
    pub(crate) fn only_recipient(&self) -> Option<&Address> {
        match &self.recipients[..] {
            [(address, _)] => Some(address),
            _ => None,
        }
    }
}

/// Who an address means: its whole, else its local part; and the same without the detail. Which domains are ours is the
/// MTA's matter.
pub(crate) async fn look_up(
    address: &Address,
    logins: &Logins,
    options: &Options,
) -> Result<Option<Target>, AuthError> {
    if let Some(user) = user_of(address, logins).await? {
        return Ok(Some(Target { user, mailbox: None }));
    }
    let Some((base, detail)) = address.split_detail(&options.recipient_delimiter) else { return Ok(None) };
    let user = user_of(&base, logins).await?;
    // A detail that cannot name a mailbox, such as `../x`, is none.
    let mailbox = match options.detail {
        DetailMailbox::Ignore => None,
        _ => MailboxName::new(detail).ok().filter(|name| !name.is_inbox()),
    };
    Ok(user.map(|user| Target { user, mailbox }))
}

async fn user_of(address: &Address, logins: &Logins) -> Result<Option<User>, AuthError> {
    let found = logins.lookup(&address.plain()).await?;
    match address.domain {
        Some(_) if found.is_none() => logins.lookup(&address.local).await,
        _ => Ok(found),
    }
}
