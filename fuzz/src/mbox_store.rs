//! An mbox of any bytes as a mailbox that is written to.

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Batch, Columns, Cursor, FlagAction, FlagChange, MailStorage, Mailbox, Rows, ScanBudget, Section, View, ViewAs,
    mbox::{FromLine, MboxOptions, MboxPlaces, MboxStorage},
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, Uid, UidSet};

/// UID, flags, keywords and text of a message.
type Shown = (Uid, Flags, Vec<String>, Vec<u8>);

/// The first byte says what is done, the rest is the file. Each message reads the same by one read and by many; and when
/// some get flags and keywords, and one is expunged, the others stay what they were, with their UIDs.
pub fn mbox_store(data: &[u8]) {
    let Some((&choice, file)) = data.split_first() else { return };
    let fs = SimDisk::new().as_file_system();
    fs.create_dir(Path::new("/mail"), 0o700).expect("a disk in memory");
    fs.write_atomic(Path::new("/mail/inbox"), file, 0o600, false).expect("a disk in memory");
    let Some(before) = with_inbox(&fs, |inbox| show(inbox, 3)) else { return };
    let look = |piece_len| with_inbox(&fs, |inbox| show(inbox, piece_len)).expect("it could be opened before");
    same(&before, &look(1000));
    let marked: UidSet =
        before.iter().map(|message| message.0).filter(|uid| choice >> (uid.value() % 4) & 1 == 1).collect();
    let keywords = (0..3).map(|n| Keyword::new(&format!("a-keyword-of-some-length-{n}")).expect("a keyword")).collect();
    let uids = marked.clone();
    let change =
        FlagChange { uids, action: FlagAction::Add, flags: Flag::Flagged.into(), keywords, unchanged_since: None };
    with_inbox(&fs, |inbox| commit(inbox, Batch::new().flags(change)));
    let after = look(7);
    same(&before, &after);
    for (uid, flags, keywords, _) in &after {
        let is_marked = !marked.contains(*uid) || flags.contains(Flag::Flagged) && keywords.len() >= 3;
        assert!(is_marked, "what was marked stays marked");
    }
    fs.remove_tree(Path::new("/mail/.imap/INBOX"), 100).expect("a disk in memory");
    let anew = look(1000);
    same(&after, &anew);
    assert_eq!(marks(&after), marks(&anew), "all of it stands in the file");
    let gone = anew.get(usize::from(choice >> 4)).map(|message| message.0);
    with_inbox(&fs, |inbox| commit(inbox, Batch::new().expunge(gone.into_iter().collect())));
    let kept: Vec<Shown> = anew.into_iter().filter(|message| Some(message.0) != gone).collect();
    same(&kept, &look(1000));
}

fn marks(messages: &[Shown]) -> Vec<(Flags, &[String])> {
    messages.iter().map(|(_, flags, keywords, _)| (*flags, &keywords[..])).collect()
}

fn same(before: &[Shown], after: &[Shown]) {
    let uids = |all: &[Shown]| all.iter().map(|message| message.0).collect::<Vec<_>>();
    assert_eq!(uids(before), uids(after), "messages stay, with their UIDs");
    for ((_, _, _, before), (_, _, _, after)) in before.iter().zip(after) {
        // One line that would be part of another field, or a separator, gets a line end.
        let is_one_line = FromLine::parse(before).is_some() || matches!(before.first(), Some(b' ' | b'\t'));
        let with_end = is_one_line && after.strip_suffix(b"\r\n") == Some(before);
        assert!(before == after || with_end, "a text stays");
    }
}

/// As a process does that comes anew, and that does what was put off before it goes. `None` for what is no mailbox.
fn with_inbox<T>(fs: &Arc<dyn FileSystem>, work: impl FnOnce(&dyn Mailbox) -> T) -> Option<T> {
    let env = Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() });
    let options = MboxOptions { local_zone: |_| 0, ..MboxOptions::default() };
    let storage = MboxStorage::open(&env, Path::new("/mail"), &MboxPlaces::default(), options).ok()?;
    let inbox = storage.mailbox(&MailboxName::inbox()).ok()?;
    let done = work(&*inbox);
    drop((inbox, storage));
    env.drain();
    Some(done)
}

fn commit(inbox: &dyn Mailbox, batch: Batch) {
    inbox.submit(batch).expect("a batch").wait().expect("the disk does not fail");
}

fn show(inbox: &dyn Mailbox, piece_len: usize) -> Vec<Shown> {
    let view = inbox.view(&ViewAs::default()).expect("the disk does not fail");
    let (uids, mut rows, mut all, mut at) = (view.uids(), Rows::new(), Vec::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        rows.clear();
        let budget = ScanBudget { until: None, ..ScanBudget::default() };
        at = view.scan(&uids, cursor, &Columns::flags(), budget, &mut rows).expect("the disk does not fail");
        for row in &rows.rows {
            let mut keywords: Vec<_> = rows.keywords(row).iter().map(ToString::to_string).collect();
            keywords.sort();
            all.push((row.uid, row.flags, keywords, text(&*view, row.uid, piece_len)));
        }
    }
    all
}

fn text(view: &dyn View, uid: Uid, piece_len: usize) -> Vec<u8> {
    let mut body = view.body(uid).expect("it is there");
    let (mut text, mut piece) = (Vec::new(), vec![0; piece_len]);
    loop {
        let read = body.read_at(Section::WHOLE, text.len() as u64, &mut piece).expect("the disk does not fail");
        if read == 0 {
            break;
        }
        text.extend_from_slice(&piece[..read]);
    }
    text
}
