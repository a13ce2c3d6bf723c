//! Steps that change a store, and what it shows.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod by_dovecot;
pub mod scenario;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use mailfs::FileSystem;
use mailindex::engine::{Background, Env, EnvOptions, Fsync};
use mailstore::{
    Batch, Columns, Cursor, FlagAction, FlagChange, ListOptions, ListPattern, MailStorage, Mailbox, Result, Rows,
    SaveMeta, ScanBudget, Section, ViewAs,
    dbox::MoveTo,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
    mdbox::{MdboxOptions, MdboxStorage},
    sdbox::{RecoveryReport, SdboxOptions, SdboxStorage},
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, Uid, UidSet};

/// Which backend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    #[default]
    Sdbox,
    Mdbox,
    Maildir,
    Mbox,
}

/// A store of any kind, open.
pub enum Opened {
    Sdbox(Env, SdboxStorage),
    Mdbox(Env, MdboxStorage),
    Maildir(Env, MaildirStorage),
    Mbox(Env, MboxStorage),
}

impl Opened {
    fn env(&self) -> &Env {
        match self {
            Self::Sdbox(env, _) | Self::Mdbox(env, _) | Self::Maildir(env, _) | Self::Mbox(env, _) => env,
        }
    }

    pub fn recover(&self) -> Result<RecoveryReport> {
        match self {
            Self::Sdbox(_, storage) => storage.recover(),
            Self::Mdbox(_, storage) => storage.recover(),
            Self::Maildir(_, storage) => storage.recover(),
            Self::Mbox(_, storage) => storage.recover(),
        }
    }
}

impl std::ops::Deref for Opened {
    type Target = dyn MailStorage;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Sdbox(_, storage) => storage,
            Self::Mdbox(_, storage) => storage,
            Self::Maildir(_, storage) => storage,
            Self::Mbox(_, storage) => storage,
        }
    }
}

/// How the engine is set.
#[derive(Clone, Copy, Default)]
pub struct Setting {
    pub format: Format,
    /// Flag changes are synced before they are acknowledged.
    pub always: bool,
    /// Files of an mdbox get no longer than that.
    pub file_len: u64,
    /// Logs are rotated at this length; 0: never.
    pub rotate_len: u64,
    /// Snapshots are written after so much log; 0: never.
    pub snapshot_len: u64,
    /// There is alternate storage (sdbox, mdbox).
    pub alt: bool,
}

/// A change.
pub enum Step {
    Append { mailbox: &'static str, first: u32, count: u32 },
    Copy { from: &'static str, to: &'static str },
    Flags { mailbox: &'static str, uid: u32, seen: bool },
    Keyword { mailbox: &'static str, uid: u32 },
    Altmove { mailbox: &'static str, first: u32, last: u32, to: MoveTo },
    Purge,
    Expunge { mailbox: &'static str, first: u32, last: u32 },
    Create(&'static str),
    Rename(&'static str, &'static str),
    RenameInbox(&'static str),
    Delete(&'static str),
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    Flush,
    Drain,
}

/// A message as shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    pub uid: u32,
    pub number: u32,
    pub flags: Flags,
    pub keywords: Vec<String>,
}

/// All that a store shows: mailboxes with their messages, `None` for those that cannot be selected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    mailboxes: BTreeMap<String, Option<Vec<Message>>>,
    subscriptions: Vec<String>,
}

impl Shown {
    /// Without levels that neither are mailboxes nor lead to any: one that was under way may leave its level behind.
    pub fn without_empty_levels(mut self) -> Self {
        let names: Vec<String> = self.mailboxes.iter().filter(|m| m.1.is_some()).map(|m| m.0.clone()).collect();
        let leads = |level: &str| names.iter().any(|name| name.starts_with(&format!("{level}/")));
        self.mailboxes.retain(|name, messages| messages.is_some() || leads(name));
        self
    }

    /// Without some messages of a mailbox.
    pub fn without(mut self, mailbox: &str, which: impl Fn(&Message) -> bool) -> Self {
        if let Some(Some(messages)) = self.mailboxes.get_mut(mailbox) {
            messages.retain(|message| !which(message));
        }
        self
    }

    pub fn messages(&self, mailbox: &str) -> Vec<Message> {
        self.mailboxes.get(mailbox).cloned().flatten().unwrap_or_default()
    }
}

pub fn open(fs: &Arc<dyn FileSystem>, root: &Path, setting: Setting, create: bool) -> Result<Opened> {
    let never = u64::MAX;
    let or_never = |len: u64| if len == 0 { never } else { len };
    let options = EnvOptions {
        background: Background::Manual,
        fsync: if setting.always { Fsync::Always } else { Fsync::Optimized },
        rotate_len_min: or_never(setting.rotate_len),
        rotate_len_max: or_never(setting.rotate_len),
        rotate_age_min: Duration::ZERO,
        snapshot_log_len_min: or_never(setting.snapshot_len),
        ..EnvOptions::default()
    };
    let env = Env::new(Arc::clone(fs), options);
    Ok(match setting.format {
        Format::Sdbox => {
            let alt = setting.alt.then(|| root.with_file_name("alt"));
            let list = ListOptions { alt, ..ListOptions::default() };
            let options = SdboxOptions { list, ..SdboxOptions::default() };
            let opened = if create {
                SdboxStorage::create(&env, root, options)
            } else {
                SdboxStorage::open(&env, root, options)
            };
            Opened::Sdbox(env, opened?)
        }
        Format::Mdbox => {
            let alt = setting.alt.then(|| root.with_file_name("alt"));
            let list = ListOptions { alt, ..ListOptions::default() };
            let options = MdboxOptions { rotate_size: setting.file_len, list, ..MdboxOptions::default() };
            let opened = if create {
                MdboxStorage::create(&env, root, options)
            } else {
                MdboxStorage::open(&env, root, options)
            };
            Opened::Mdbox(env, opened?)
        }
        Format::Maildir => {
            let (places, options) = (MaildirPlaces::default(), MaildirOptions::default());
            let opened = if create {
                MaildirStorage::create(&env, root, &places, options)
            } else {
                MaildirStorage::open(&env, root, &places, options)
            };
            Opened::Maildir(env, opened?)
        }
        Format::Mbox => {
            let (places, options) =
                (MboxPlaces::default(), MboxOptions { local_zone: |_| 0, ..MboxOptions::default() });
            let opened = if create {
                MboxStorage::create(&env, root, &places, options)
            } else {
                MboxStorage::open(&env, root, &places, options)
            };
            Opened::Mbox(env, opened?)
        }
    })
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn uids(first: u32, last: u32) -> UidSet {
    let mut set = UidSet::new();
    set.insert_range(Uid::new(first).unwrap()..=Uid::new(last).unwrap());
    set
}

fn message(number: u32) -> Vec<u8> {
    let line = format!("line of message {number}\r\n");
    format!("Subject: message {number}\r\n\r\n{}", line.repeat(number as usize % 7 + 1)).into_bytes()
}

fn submit(mailbox: &dyn Mailbox, batch: Batch) -> Result<()> {
    mailbox.submit(batch)?.wait().map(|_| ())
}

fn flag_change(uid: u32, action: FlagAction, flags: Flags, keywords: Vec<Keyword>) -> Batch {
    let uids = uids(uid, uid);
    Batch::new().flags(FlagChange { uids, action, flags, keywords, unchanged_since: None })
}

pub fn run_step(storage: &Opened, step: &Step) -> Result<()> {
    let open = |mailbox: &str| storage.mailbox(&name(mailbox));
    match *step {
        Step::Append { mailbox, first, count } => {
            let mailbox = open(mailbox)?;
            let mut batch = Batch::new();
            for number in first..first + count {
                let mut save = mailbox.begin_save(SaveMeta::default(), None)?;
                save.write(&message(number))?;
                batch = batch.save(save.finish()?, Flag::Flagged.into(), vec![Keyword::new("new").unwrap()]);
            }
            submit(&*mailbox, batch)
        }
        Step::Copy { from, to } => {
            let source = open(from)?;
            let uids = source.view(&ViewAs::default())?.uids();
            submit(&*open(to)?, Batch::new().copy(source, uids))
        }
        Step::Flags { mailbox, uid, seen } => {
            let action = if seen { FlagAction::Add } else { FlagAction::Remove };
            submit(&*open(mailbox)?, flag_change(uid, action, Flag::Seen.into(), Vec::new()))
        }
        Step::Keyword { mailbox, uid } => {
            let keywords = vec![Keyword::new("$Label1").unwrap(), Keyword::new("new").unwrap()];
            submit(&*open(mailbox)?, flag_change(uid, FlagAction::Replace, Flag::Answered.into(), keywords))
        }
        Step::Altmove { mailbox, first, last, to } => match storage {
            Opened::Sdbox(_, sdbox) => sdbox.move_messages(&name(mailbox), &uids(first, last), to).map(|_| ()),
            Opened::Mdbox(_, mdbox) => mdbox.move_messages(&name(mailbox), &uids(first, last), to).map(|_| ()),
            Opened::Maildir(..) | Opened::Mbox(..) => Ok(()),
        },
        Step::Purge => match storage {
            Opened::Mdbox(_, mdbox) => mdbox.purge().map(|_| ()),
            Opened::Sdbox(..) | Opened::Maildir(..) | Opened::Mbox(..) => Ok(()),
        },
        Step::Expunge { mailbox, first, last } => submit(&*open(mailbox)?, Batch::new().expunge(uids(first, last))),
        Step::Create(mailbox) => storage.create(&name(mailbox)),
        Step::Rename(from, to) => storage.rename(&name(from), &name(to)),
        Step::RenameInbox(to) => storage.rename(&MailboxName::inbox(), &name(to)),
        Step::Delete(mailbox) => storage.delete(&name(mailbox)),
        Step::Subscribe(mailbox) => storage.subscribe(&name(mailbox)),
        Step::Unsubscribe(mailbox) => storage.unsubscribe(&name(mailbox)),
        Step::Flush => storage.env().flush().map_err(|e| mailstore::StorageError::Io(e.to_string().into())),
        Step::Drain => {
            storage.env().drain();
            Ok(())
        }
    }
}

pub fn show(storage: &Opened) -> Result<Shown> {
    let mut mailboxes = BTreeMap::new();
    for info in storage.list(&ListPattern::all())? {
        let messages = if info.selectable { Some(show_mailbox(&*storage.mailbox(&info.name)?)?) } else { None };
        mailboxes.insert(info.name.to_string(), messages);
    }
    let subscriptions = storage.subscriptions()?.iter().map(ToString::to_string).collect();
    Ok(Shown { mailboxes, subscriptions })
}

fn show_mailbox(mailbox: &dyn Mailbox) -> Result<Vec<Message>> {
    let view = mailbox.view(&ViewAs::default())?;
    let mut rows = Rows::new();
    let budget = ScanBudget { bytes: usize::MAX, rows: usize::MAX, until: None };
    let rest = view.scan(&view.uids(), Cursor::START, &Columns::flags(), budget, &mut rows)?;
    assert_eq!(rest, None);
    let mut messages = Vec::new();
    for row in &rows.rows {
        let mut bytes = vec![0; 4096];
        let len = view.body(row.uid)?.read_at(Section::WHOLE, 0, &mut bytes)?;
        let number = (1..100).find(|n| message(*n) == bytes[..len]);
        let number =
            number.ok_or_else(|| mailstore::StorageError::Io(format!("message {} is none of ours", row.uid).into()))?;
        let keywords = rows.keywords(row).iter().map(ToString::to_string).collect();
        messages.push(Message { uid: row.uid.value(), number, flags: row.flags, keywords });
    }
    Ok(messages)
}
