//! An index made anew from what the store knows of its messages, with what is left of the old one.
//!
//! The new log is a reset (`prev_file_seq` 0): whatever was before it is void, for Dovecot too.
//!
//! Going over the messages takes its time, in which others may change the mailbox, if its log was fit for that. So what is
//! left of the old index is read once more under the log's lock: where it goes on from what the caller has read, what was
//! written since is in the new one too.

use std::{borrow::Cow, path::Path, sync::Arc, time::Duration};

use mailtypes::{Uid, UidSet};
use zerocopy::IntoBytes;

use super::{
    Env, IndexError, Result, aside, create, load,
    log_file::{LogFile, LogLock, Opened},
    paths::Paths,
    recover, rotate, snapshot_writer,
};
use crate::{
    log::{Generation, KeywordAction, Origin, RawLogHeader, Transaction},
    snapshot::{SnapshotStamp, SnapshotTooLarge, encode},
    state::{ExtensionSpec, RawIndexHeader, RecordFlags, State},
};

/// Extensions whose header data is worth keeping. (The others' can be computed, or are what is being rebuilt.)
const KEPT_HEADERS: [ExtensionSpec; 4] = [
    ExtensionSpec::DBOX_HDR,
    ExtensionSpec::MDBOX_HDR,
    ExtensionSpec::HDR_POP3_UIDL,
    // The mailbox's name, for a list that is lost; as long as it is.
    ExtensionSpec { name: "box-name", hdr_size: 0, record_size: 0, record_align: 0, no_shrink: true },
];

/// Fields of messages that are kept: which number of an mdbox's map a message has, and its GUID; and what tells one message of
/// an mbox from another whose UID is not in the file yet.
const KEPT_FIELDS: [ExtensionSpec; 3] =
    [ExtensionSpec::MDBOX, ExtensionSpec::GUID, ExtensionSpec::record("header-md5", 16, 1)];

/// How often a log is opened anew that somebody rotates.
const ROTATIONS_MAX: usize = 4;

/// A message that the store has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RebuildMessage {
    /// Its UID.
    pub uid: Uid,
    /// The flags it gets if the old index does not know it.
    pub flags: RecordFlags,
}

/// Makes a mailbox's index anew: exactly these messages, in ascending order of UID; flags, keywords, UID validity and
/// kept extension headers from `keep` where it knows them; then `more` (a UID validity where there is none, extension
/// headers). Old files are kept as `culver.damaged.*`. All mod-sequences jump.
///
/// Where the present log goes on from `keep`, what others have written since counts: flags, messages that came, messages
/// that went.
pub fn rebuild(
    env: &Env,
    dir: &Path,
    prefix: &str,
    messages: &[RebuildMessage],
    keep: Option<&State>,
    more: Transaction,
) -> Result<()> {
    let content = |now: Option<&State>| match keep.zip(now) {
        Some((read, now)) => content(&with_changes(messages, read, now), Some(now), more.clone()),
        None => content(messages, keep, more.clone()),
    };
    replace_with(env, dir, prefix, keep, |now| Cow::Owned(content(now)))
}

/// Makes an index anew of this content, in the place of whatever is there, by one rename; where another makes one at the
/// same time, that one stays. Its number, and those of its log
/// and its mod-sequences, go on from what is there and from `keep`. Old files are kept as `culver.damaged.*`.
pub fn replace(env: &Env, dir: &Path, prefix: &str, keep: Option<&State>, content: &Transaction) -> Result<()> {
    replace_with(env, dir, prefix, keep, |_| Cow::Borrowed(content))
}

/// What a rebuild finds as the log, with its lock.
enum Old {
    /// There is none.
    Missing,
    Log(Arc<LogFile>, LogLock),
    /// Somebody else has made the index anew.
    Replaced,
}

fn lock_old(env: &Env, paths: &Paths) -> Result<Old> {
    let fs = &**env.fs();
    let mut before: Option<Arc<LogFile>> = None;
    for _ in 0..ROTATIONS_MAX {
        let (Opened::Usable(log) | Opened::Damaged(log, _)) = LogFile::open(fs, &paths.log)? else {
            return Ok(Old::Missing);
        };
        let is_next = |before: &Arc<LogFile>| {
            log.header.indexid == before.header.indexid && log.header.prev_file_seq == before.header.file_seq
        };
        if !before.as_ref().is_none_or(is_next) {
            return Ok(Old::Replaced);
        }
        let lock = log.lock(fs, env.options().lock_timeout, true)?;
        let there = fs.metadata(&paths.log)?;
        if there.is_some_and(|there| (there.device, there.inode) == (log.device, log.inode)) {
            return Ok(Old::Log(log, lock));
        }
        before = Some(log);
    }
    Ok(Old::Replaced)
}

/// The mailbox as it is, for one who holds the log's lock, if it has gone on from a state that was read before. Where it
/// cannot be read as a whole, those who had it open before go on nevertheless: what they wrote stands in the log behind
/// the place up to which the state was read.
fn gone_on(env: &Env, paths: &Paths, log: &Arc<LogFile>, read: &State) -> Result<Option<State>> {
    let Some(at) = read.position().filter(|_| read.index_id() == log.header.indexid.get()) else { return Ok(None) };
    if at.file_seq == log.seq() && u64::from(at.offset) == log.handle.len()? {
        return Ok(None);
    }
    let now = match load::load(&**env.fs(), paths) {
        Ok(loaded) => Some(loaded.live.state),
        Err(IndexError::Corrupt(_) | IndexError::NotFound { .. }) => {
            load::continue_from(&**env.fs(), paths, log, read.clone())?.ok().map(|(now, _)| now)
        }
        Err(e) => return Err(e),
    };
    // Else no more can be read of it than there was.
    Ok(now.filter(|now| now.index_id() == read.index_id() && now.position() > Some(at)))
}

/// The messages of a mailbox that was in the state `read` before they were looked for, and is in the state `now`: without
/// those that went since, with those that came.
fn with_changes(messages: &[RebuildMessage], read: &State, now: &State) -> Vec<RebuildMessage> {
    let (had, has) = (read.uids(), now.uids());
    let came = |uid: Uid| (read.next_uid()..now.next_uid()).contains(&uid);
    let went = |uid: Uid| !has.contains(uid) && (had.contains(uid) || came(uid));
    let mut all: Vec<_> = messages.iter().filter(|message| !went(message.uid)).copied().collect();
    let known: UidSet = all.iter().map(|message| message.uid).collect();
    let new = has.difference(&known).iter().filter(|uid| came(*uid)).collect::<Vec<_>>();
    all.extend(new.into_iter().map(|uid| RebuildMessage { uid, flags: RecordFlags::NONE }));
    all.sort_unstable_by_key(|message| message.uid);
    all
}

fn replace_with<'c>(
    env: &Env,
    dir: &Path,
    prefix: &str,
    keep: Option<&State>,
    content: impl FnOnce(Option<&State>) -> Cow<'c, Transaction>,
) -> Result<()> {
    let paths = Paths::new(dir, prefix);
    let fs = &**env.fs();
    let held = match lock_old(env, &paths)? {
        Old::Missing => None,
        Old::Log(log, lock) => Some((log, lock)),
        // What he made is not replaced.
        Old::Replaced => return Ok(()),
    };
    let old = held.as_ref().map(|(log, _)| log);
    let now = match old.zip(keep) {
        Some((old, read)) => gone_on(env, &paths, old, read)?,
        None => None,
    };
    if now.is_some() {
        tracing::info!(dir = %dir.display(), "the mailbox was changed while its messages were gone over");
    }
    let content = content(now.as_ref());
    let keep = now.as_ref().or(keep);
    let old_seq = old.map_or(0, |log| log.seq()).max(keep.and_then(State::position).map_or(0, |at| at.file_seq));
    let index_id = keep.map(State::index_id).filter(|id| *id != 0).unwrap_or_else(|| env.unix_time().max(1));
    let modseq = keep.map_or(1, |state| state.highest_modseq().value());
    let seq = old_seq.saturating_add(1).max(RawLogHeader::FIRST_SEQ);
    let header = RawLogHeader::first(index_id, seq, env.unix_time(), modseq);
    let (bytes, state) = create::first_log(&paths, &header, &content)?;
    debug_assert!(bytes.starts_with(header.as_bytes()), "a log begins with its header");

    for path in [&paths.log, &paths.log2, &paths.index, &paths.backup] {
        if fs.metadata(path)?.is_some() {
            aside::link(fs, path)?;
        }
    }
    let _new_lock = match old {
        Some(_) => {
            if !rotate::clear_newlock(fs, &paths)? {
                return Err(IndexError::LockTimeout { path: paths.newlock.clone(), waited: Duration::ZERO });
            }
            recover::replace_log(env, &paths, &bytes)?;
            None
        }
        // Another may be faster: what is his is not replaced.
        None => {
            let is_ours = create::publish_log(env, &paths, &bytes)?;
            let Opened::Usable(log) = LogFile::open(fs, &paths.log)? else { return Ok(()) };
            if !is_ours {
                return Ok(());
            }
            Some(log.lock(fs, env.options().lock_timeout, true)?)
        }
    };
    write_snapshot(env, &paths, &state)?;
    match fs.unlink(&paths.log2) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}

fn content(messages: &[RebuildMessage], keep: Option<&State>, more: Transaction) -> Transaction {
    let mut transaction = more;
    if let Some(state) = keep {
        keep_headers(&mut transaction, state);
    }
    for message in messages {
        let known = keep.and_then(|state| state.record_of(message.uid));
        transaction.append(message.uid, known.map_or(message.flags, |record| record.record_flags()));
    }
    if let Some(state) = keep {
        keep_fields(&mut transaction, state, messages);
        keep_keywords(&mut transaction, state, messages);
    }
    let after_last = messages.last().and_then(|message| message.uid.successor()).unwrap_or(Uid::MIN);
    let next_uid = keep.map_or(after_last, |state| state.next_uid().max(after_last));
    transaction.header_update(RawIndexHeader::NEXT_UID, &next_uid.value().to_le_bytes());
    transaction
}

fn keep_headers(transaction: &mut Transaction, state: &State) {
    if let Some(uid_validity) = state.uid_validity() {
        transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
    }
    for spec in &KEPT_HEADERS {
        // One that was introduced and never filled must not stand in the way of a new one.
        let is_filled = |hdr: &[u8]| hdr.iter().any(|byte| *byte != 0);
        if let Some(extension) = state.extension(spec.name).filter(|extension| is_filled(extension.hdr())) {
            let spec = ExtensionSpec { hdr_size: spec.hdr_size.max(extension.hdr_size()), ..*spec };
            transaction.ext_intro(&spec, Origin::External);
            transaction.ext_header(&spec, 0, extension.hdr(), Origin::External);
        }
    }
    if state.has_modseqs() {
        transaction.enable_modseqs();
    }
    let recent = state.first_recent_uid().value();
    transaction.header_update(RawIndexHeader::FIRST_RECENT_UID, &recent.to_le_bytes());
}

fn keep_fields(transaction: &mut Transaction, state: &State, messages: &[RebuildMessage]) {
    for spec in &KEPT_FIELDS {
        let Some(extension) = state.extension_index(spec.name) else { continue };
        for record in messages.iter().filter_map(|message| state.record_of(message.uid)) {
            let field = record.field(extension);
            if field.iter().any(|byte| *byte != 0) {
                let field = field.get(..usize::from(spec.record_size)).unwrap_or(field);
                transaction.ext_record(spec, Generation::Current, record.uid(), field, Origin::External);
            }
        }
    }
}

fn keep_keywords(transaction: &mut Transaction, state: &State, messages: &[RebuildMessage]) {
    let mut by_bit: Vec<UidSet> = vec![UidSet::new(); state.keywords().len()];
    for record in messages.iter().filter_map(|message| state.record_of(message.uid)) {
        for bit in record.keyword_bits().iter() {
            if let Some(uids) = by_bit.get_mut(usize::from(bit)) {
                uids.insert(record.uid());
            }
        }
    }
    for (name, uids) in state.keywords().iter().zip(by_bit) {
        if let Some(keyword) = name.keyword() {
            transaction.keyword(KeywordAction::Add, keyword, &uids, Origin::External);
        }
    }
}

/// Puts a snapshot of the state in the place of the present one; for one who holds the log's lock.
pub(super) fn write_snapshot(env: &Env, paths: &Paths, state: &State) -> Result<()> {
    let fs = &**env.fs();
    let unwritable = |e: SnapshotTooLarge| IndexError::Unwritable { dir: paths.dir.clone(), what: e.to_string() };
    let bytes = encode(state, &SnapshotStamp::default()).map_err(unwritable)?;
    let temp = paths.temp("index", env.random());
    let file = paths.create(fs, &temp)?;
    file.write_at(&bytes, 0)?;
    if env.syncs() {
        file.sync_data()?;
    }
    snapshot_writer::replace(env, paths, &temp)
}
