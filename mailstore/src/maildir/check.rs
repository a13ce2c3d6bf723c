//! What can be wrong with a Maildir mailbox, and putting it right: UID list and keywords, names, sizes in names.
//!
//! Files that no record knows, and records whose files are gone, are everyday: others come and go here by `mv` and `rm`,
//! and the next who opens the mailbox brings the index up to date.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use mailfs::FileSystemExt;
use mailindex::{
    engine::{LockFor, MessageStore, aside, inspect},
    state::State,
};
use mailtypes::{Keyword, MailboxName, Uid};

use super::{
    Shared,
    files::{Known, Listed, MaildirFiles},
    index,
    keywords::{self, Keywords},
    misspelt::misspelt,
    name,
    table::Folder,
    uidlist::{self, Uidlist},
};
use crate::{
    check::{Finding, FindingKind, Look, mend_index},
    indexed::{MessageFiles, PREFIX, from_index},
    mailbox_list::MailboxDirs,
    traits::{Result, StorageError},
};

pub(super) fn look(shared: &Arc<Shared>, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let files = MaildirFiles::new(shared, dirs);
    let seen = look.index(dirs)?;
    let state = seen.state.unwrap_or_else(State::empty);
    look.identity(dirs, &state, false);
    let list = look_at_uidlist(&files, &state, look)?;
    let keywords = look_at_keywords(&files, look)?;
    let mut listed = Vec::new();
    files.list_only(Folder::New, &mut listed)?;
    files.list_only(Folder::Cur, &mut listed)?;
    for (letter, meant) in misspelt(&keywords, &list, &listed, &state) {
        let said = keywords.name(letter).map_or("", Keyword::as_str);
        let what = format!("keyword {letter} is {said:?}, and the index has {meant} for all of its messages");
        let plan = format!("keep the file under another name, and call it {meant} again");
        look.found(Finding::new(FindingKind::Keywords, files.keywords_path(), what).plan(plan));
    }
    look.will_look_at(listed.len() as u64);
    look_at_names(&files, &list, &listed, look)?;
    look_at_messages(&files, &list, &listed, &state, look)
}

fn look_at_uidlist(files: &MaildirFiles, state: &State, look: &mut Look<'_>) -> Result<Uidlist> {
    let path = files.uidlist_path();
    let bytes = match files.fs().read_all(&path, uidlist::FILE_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => {
            if state.message_count() > 0 {
                let what = "the UID list is missing: which file has which UID is not known any more";
                let plan = "give all messages new UIDs, as whoever opens the mailbox next must do anyway";
                look.found(Finding::new(FindingKind::UidList, path, what).plan(plan));
            }
            return Ok(Uidlist::default());
        }
        Err(e) => return Err(e.into()),
    };
    let plan = "keep the file under another name, and write it anew with every line that makes sense";
    for flaw in uidlist::flaws(&bytes) {
        look.found(Finding::new(FindingKind::UidList, &path, flaw.what).at(flaw.offset).plan(plan));
    }
    let list = Uidlist::parse(&bytes);
    if let (Some(listed), Some(indexed)) = (list.header.uid_validity, state.uid_validity())
        && listed != indexed
    {
        let what = format!(
            "the UID list has UIDVALIDITY {}, the index {}: clients will take the mailbox for another one",
            listed.value(),
            indexed.value()
        );
        look.found(
            Finding::new(FindingKind::UidList, &path, what).plan("believe the UID list, and begin the index anew"),
        );
    }
    Ok(list)
}

fn look_at_keywords(files: &MaildirFiles, look: &mut Look<'_>) -> Result<Keywords> {
    let path = files.keywords_path();
    let bytes = match files.fs().read_all(&path, keywords::FILE_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(Keywords::default()),
        other => other?,
    };
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if !Keywords::is_line(line) {
            let what = "a line that gives no keyword a letter, or one that has one already";
            let plan = "keep the file under another name, and write it anew with the lines that do";
            look.found(Finding::new(FindingKind::Keywords, &path, what).at(offset).plan(plan));
        }
        offset += line.len() as u64;
    }
    Ok(Keywords::parse(&bytes))
}

fn is_still_there(files: &MaildirFiles, file: &Listed) -> Result<bool> {
    Ok(files.fs().exists(&files.path_of(file))?)
}

fn look_at_names(files: &MaildirFiles, list: &Uidlist, listed: &[Listed], look: &mut Look<'_>) -> Result<()> {
    let mut by_base: HashMap<&[u8], &Listed> = HashMap::with_capacity(listed.len());
    for file in listed {
        let (base, _) = name::split(&file.name);
        if let Some(other) = by_base.insert(base, file) {
            // One that was renamed between looks at the folders was seen twice.
            if !is_still_there(files, other)? || !is_still_there(files, file)? {
                continue;
            }
            let what =
                format!("{} is a file of the same name: of both only one is shown", files.path_of(other).display());
            let plan = "give one of them another name";
            look.found(Finding::new(FindingKind::NameTwice, files.path_of(file), what).plan(plan));
        }
    }
    let without = by_base.len().saturating_sub(list.records.iter().filter(|r| by_base.contains_key(&*r.base)).count());
    if without > 0 {
        let what = format!("{without} files have no UID yet; they get theirs when the mailbox is opened");
        look.found(Finding::new(FindingKind::BodyUnknown, &files.dirs.mail, what).noted());
    }
    Ok(())
}

fn look_at_messages(
    files: &MaildirFiles,
    list: &Uidlist,
    listed: &[Listed],
    state: &State,
    look: &mut Look<'_>,
) -> Result<()> {
    let uids: HashMap<&[u8], Uid> = list.records.iter().map(|r| (&*r.base, r.uid)).collect();
    let mut there_are = Vec::with_capacity(listed.len());
    for file in listed {
        look.step();
        let (base, _) = name::split(&file.name);
        let path = files.path_of(file);
        let uid = uids.get(base).copied();
        there_are.extend(uid);
        let Some(there) = files.fs().metadata(&path)? else { continue };
        let told = name::size_in(base, b'S');
        if let Some(told) = told.filter(|told| *told != there.len) {
            let what = format!("its name says that it has {told} bytes, and it has {}", there.len);
            let finding = Finding::new(FindingKind::SizeWrong, &path, what);
            let finding = finding.plan("take the sizes out of its name; flags and UID stay");
            look.found(Finding { uid, ..finding });
        }
        if let Some(uid) = uid.filter(|uid| look.deep && state.contains(*uid)) {
            match MessageFiles::open(files, state, uid) {
                Ok(message) => look.body(&path, uid, &*message),
                Err(e) => look.bad_body(&path, uid, &e),
            }
        }
    }
    there_are.sort_unstable();
    let gone = state.uids().difference(&there_are.into_iter().collect());
    if !gone.is_empty() {
        let what = format!("the files of UIDs {gone} are gone; the index learns of it when the mailbox is opened");
        look.found(Finding::new(FindingKind::BodyMissing, &files.dirs.mail, what).noted());
    }
    Ok(())
}

pub(super) fn mend(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
    let files = Arc::new(MaildirFiles::new(shared, dirs));
    let store = Arc::clone(&files) as Arc<dyn MessageStore>;
    let has = |kind: FindingKind| found.iter().any(|finding| finding.is_problem() && finding.kind == kind);
    if has(FindingKind::UidList) && files.fs().exists(&files.uidlist_path())? {
        aside::link(&**files.fs(), &files.uidlist_path())?;
    }
    // First, and even if no look came so far as to find it: whoever opens the mailbox, and whoever carries out what is
    // pending, gives the messages what the files say.
    spell(name, &files, look_again(shared, &files)?)?;
    // What has to be gone over is, by opening.
    mend_index(&shared.env, name, dirs, &store)?;
    let opened = index::open(shared, name, dirs)?;
    let state = opened.indexed().refresh(false)?;
    if has(FindingKind::UidList) || has(FindingKind::Keywords) || has(FindingKind::SizeWrong) {
        let wrong: Vec<PathBuf> = found
            .iter()
            .filter(|finding| finding.is_problem() && finding.kind == FindingKind::SizeWrong)
            .map(|finding| finding.path.clone())
            .collect();
        write_anew(name, &files, &state, has(FindingKind::Keywords), &wrong)?;
    }
    opened.indexed().refresh(false).map(|_| ())
}

/// The index as it is now.
fn look_again(shared: &Shared, files: &MaildirFiles) -> Result<State> {
    let seen = inspect(&shared.env, &files.dirs.index, PREFIX);
    let seen = seen.map_err(|e| StorageError::Io((&e).into()))?;
    Ok(seen.state.unwrap_or_else(State::empty))
}

/// Gives keywords the names back that the index has of them.
fn spell(name: &MailboxName, files: &Arc<MaildirFiles>, state: State) -> Result<()> {
    let timeout = files.shared.env.options().lock_timeout;
    let _lock = files.lock(timeout, true, LockFor::Messages).map_err(|e| from_index(name, &e))?;
    let mut known = files.known();
    files.load(&mut known)?;
    let list = match files.fs().read_all(&files.uidlist_path(), uidlist::FILE_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => Uidlist::parse(&other?),
    };
    let mut listed = Vec::new();
    files.list_only(Folder::New, &mut listed)?;
    files.list_only(Folder::Cur, &mut listed)?;
    let meant = misspelt(&known.keywords, &list, &listed, &state);
    if meant.is_empty() {
        return Ok(());
    }
    aside::link(&**files.fs(), &files.keywords_path())?;
    meant.iter().for_each(|(letter, keyword)| known.keywords.rename(*letter, keyword));
    Ok(files.save_keywords(&mut known)?)
}

/// Writes UID list and keywords anew, and takes sizes that are wrong out of names.
fn write_anew(
    name: &MailboxName,
    files: &Arc<MaildirFiles>,
    state: &State,
    keywords: bool,
    wrong: &[PathBuf],
) -> Result<()> {
    let timeout = files.shared.env.options().lock_timeout;
    let _lock = files.lock(timeout, true, LockFor::Messages).map_err(|e| from_index(name, &e))?;
    let mut known = files.known();
    files.load(&mut known)?;
    files.find_all(&mut known)?;
    if keywords {
        aside::link(&**files.fs(), &files.keywords_path())?;
        files.save_keywords(&mut known)?;
    }
    let written = files.take_sizes_away(&mut known, state, wrong);
    if written.is_err() {
        *known = Known::default();
    }
    Ok(written?)
}
