//! mailindex and mailstore, on the real disk without syncs: the work is ours, the waiting is the disk's.

use std::{cell::Cell, hint::black_box, sync::Arc};

use mailfs::RealDisk;
use mailindex::engine::{Background, Env, EnvOptions, Fsync};
use mailstore::{
    Batch, Column, Columns, Cursor, FlagAction, FlagChange, MailStorage, Mailbox, Rows, SaveMeta, ScanBudget, View,
    ViewAs,
    sdbox::{SdboxOptions, SdboxStorage},
    search::search,
    sort::sort,
    thread::thread,
};
use mailtypes::{Flag, MailboxName, SearchKey, SortCriterion, SortKey, ThreadAlgorithm};
use tempfile::TempDir;

use crate::{Work, messages};

/// Messages of the mailbox that is read.
const MESSAGES: u64 = 500;

/// A store in a folder of its own.
struct Place {
    env: Env,
    storage: Arc<SdboxStorage>,
    folder: TempDir,
}

impl Place {
    fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let (env, storage) = open(&folder);
        Self { env, storage, folder }
    }

    fn filled() -> Self {
        let place = Self::empty();
        messages(MESSAGES).chunks(100).for_each(|messages| save(&*place.inbox(), messages));
        place.env.flush().unwrap();
        place
    }

    fn inbox(&self) -> Arc<dyn Mailbox> {
        self.storage.mailbox(&MailboxName::inbox()).unwrap()
    }
}

fn open(folder: &TempDir) -> (Env, Arc<SdboxStorage>) {
    let options = EnvOptions { fsync: Fsync::Never, background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    let storage = SdboxStorage::create(&env, folder.path(), SdboxOptions::default()).unwrap();
    (env, Arc::new(storage))
}

fn save(mailbox: &dyn Mailbox, messages: &[Vec<u8>]) {
    let mut batch = Batch::new();
    for message in messages {
        let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(message).unwrap();
        batch = batch.save(save.finish().unwrap(), Flag::Seen.into(), Vec::new());
    }
    mailbox.submit(batch).unwrap().wait().unwrap();
}

/// Work on a view of the filled mailbox.
fn reading(work: impl Fn(&dyn View) + 'static) -> Box<dyn FnMut()> {
    let place = Place::filled();
    let view = place.inbox().view(&ViewAs::default()).unwrap();
    // What can be cached is, and what can be in memory too.
    work(&*view);
    view.flush_cache();
    Box::new(move || {
        black_box(&place);
        work(&*view);
    })
}

fn scan(view: &dyn View, columns: &Columns) {
    let (uids, mut rows, mut at) = (view.uids(), Rows::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        rows.clear();
        let budget = ScanBudget { until: None, ..ScanBudget::default() };
        at = view.scan(&uids, cursor, columns, budget, &mut rows).unwrap();
        black_box(&rows);
    }
}

pub(crate) fn all() -> Vec<Work> {
    vec![
        Work {
            name: "mailindex/open a mailbox of 500",
            prepare: || {
                let Place { env, storage, folder } = Place::filled();
                drop((storage, env));
                Box::new(move || {
                    let (_env, storage) = open(&folder);
                    black_box(storage.mailbox(&MailboxName::inbox()).unwrap().status().unwrap());
                })
            },
        },
        Work {
            name: "mailindex/commit a change of flags on 500",
            prepare: || {
                let place = Place::filled();
                let (inbox, add) = (place.inbox(), Cell::new(true));
                let uids = inbox.view(&ViewAs::default()).unwrap().uids();
                Box::new(move || {
                    black_box(&place);
                    let action = if add.replace(!add.get()) { FlagAction::Add } else { FlagAction::Remove };
                    let change = FlagChange {
                        uids: uids.clone(),
                        action,
                        flags: Flag::Flagged.into(),
                        keywords: Vec::new(),
                        unchanged_since: None,
                    };
                    inbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
                })
            },
        },
        Work {
            name: "mailstore/save and commit 10 messages",
            prepare: || {
                let place = Place::empty();
                let (inbox, messages) = (place.inbox(), messages(10));
                Box::new(move || {
                    black_box(&place);
                    save(&*inbox, &messages);
                })
            },
        },
        Work { name: "mailstore/flags of 500 messages", prepare: || reading(|view| scan(view, &Columns::flags())) },
        Work {
            name: "mailstore/cached envelopes of 500 messages",
            prepare: || reading(|view| scan(view, &Columns::flags().with(Column::Envelope))),
        },
        Work {
            name: "mailstore/search subjects of 500 messages",
            prepare: || {
                reading(|view| {
                    let key = SearchKey::Header("Subject".to_owned(), "message 12".to_owned());
                    black_box(search(key, view).unwrap());
                })
            },
        },
        Work {
            name: "mailstore/search bodies of 500 messages",
            prepare: || reading(|view| drop(black_box(search(SearchKey::Body("body, 12".to_owned()), view).unwrap()))),
        },
        Work {
            name: "mailstore/sort 500 messages by subject",
            prepare: || {
                reading(|view| {
                    let by = [SortCriterion { reverse: false, key: SortKey::Subject }];
                    black_box(sort(SearchKey::All, &by, view).unwrap());
                })
            },
        },
        Work {
            name: "mailstore/thread 500 messages by references",
            prepare: || {
                reading(|view| drop(black_box(thread(SearchKey::All, ThreadAlgorithm::References, view).unwrap())))
            },
        },
    ]
}
