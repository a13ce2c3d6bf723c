//! Looks whether a destination shows what its source shows, message by message.

use std::fmt;

use mailtypes::{MailboxName, Uid, UidSet};

use super::{
    ConvertOptions, Names,
    kept::{Bytes, compare_bytes},
    message::{Known, guid_of_place, known, of_row, pop3_of},
};
use crate::traits::{
    Column, Columns, Cursor, Keeps, ListPattern, MailStorage, Mailbox, MailboxIdentity, Result, Rows, ScanBudget,
    StorageError, View, ViewAs,
};

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VerifyProgress {
    /// Messages that were compared.
    pub done: u64,
    /// Messages that the source has.
    pub size: u64,
    /// Differences.
    pub different: u64,
}

/// Something that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The mailbox, as it is called in the source.
    pub mailbox: MailboxName,
    /// The message; the mailbox itself if not given.
    pub uid: Option<Uid>,
    /// What of it.
    pub what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "{}, message {uid}: {}", self.mailbox, self.what),
            None => write!(f, "{}: {}", self.mailbox, self.what),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifySummary {
    /// Counts.
    pub progress: VerifyProgress,
    /// Differences, at most [`VerifySummary::DIFFERENCES_MAX`] of them.
    pub differences: Vec<Difference>,
    /// Messages that were saved at another time, as far as the store tells. Stores have that in their caches at best, so
    /// it counts for no difference.
    pub other_save_dates: u64,
    /// Messages whose bytes the format cannot keep as they are, and which are as it keeps them: with a line end that it
    /// needs, without header fields that it has for itself.
    pub fitted: u64,
}

impl VerifySummary {
    /// Differences that are named; more are only counted.
    pub const DIFFERENCES_MAX: usize = 1000;
}

/// Compares all mailboxes of a source that are asked for with what was made of them: names, GUID, UIDVALIDITY, UIDNEXT,
/// HIGHESTMODSEQ, UIDs; of each message flags, keywords, mod-sequence, INTERNALDATE, GUID and POP3 id, and every byte; and
/// the subscriptions. What the destination cannot hold is not compared. Reads both stores whole.
///
/// # Errors
/// Those of the source; what the destination cannot show is a difference.
pub fn verify(
    source: &dyn MailStorage,
    destination: &dyn MailStorage,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(&VerifyProgress),
) -> Result<VerifySummary> {
    let infos = source.list(&ListPattern::all())?;
    let names = Names::of(&infos, destination);
    let keeps = destination.keeps();
    let mut run = Verification { options, keeps, tell: progress, summary: VerifySummary::default() };
    let wanted: Vec<_> = infos.iter().filter(|info| info.selectable && options.mailboxes.matches(&info.name)).collect();
    for info in &wanted {
        run.summary.progress.size += source.status(&info.name).map_or(0, |status| u64::from(status.messages));
    }
    for info in wanted {
        let ours = source.mailbox(&info.name)?;
        match destination.mailbox(names.get(&info.name).unwrap_or(&info.name)) {
            Ok(theirs) => run.mailbox(&*ours, &*theirs)?,
            Err(_) => run.differs(&info.name, None, "it cannot be opened in the destination"),
        }
    }
    let there = destination.subscriptions()?;
    for name in source.subscriptions()? {
        if names.subscribed(&name, destination).is_some_and(|to| !there.contains(&to)) {
            run.differs(&name, None, "it is not subscribed to in the destination");
        }
    }
    (run.tell)(&run.summary.progress);
    Ok(run.summary)
}

struct Verification<'a> {
    options: &'a ConvertOptions,
    keeps: Keeps,
    tell: &'a mut dyn FnMut(&VerifyProgress),
    summary: VerifySummary,
}

impl Verification<'_> {
    fn differs(&mut self, mailbox: &MailboxName, uid: Option<Uid>, what: &'static str) {
        self.summary.progress.different += 1;
        if self.summary.differences.len() < VerifySummary::DIFFERENCES_MAX {
            self.summary.differences.push(Difference { mailbox: mailbox.clone(), uid, what });
        }
    }

    fn mailbox(&mut self, source: &dyn Mailbox, destination: &dyn Mailbox) -> Result<()> {
        let name = source.name();
        if source.guid() != destination.guid() {
            self.differs(name, None, "the mailbox's GUID");
        }
        if source.uid_validity() != destination.uid_validity() {
            self.differs(name, None, "UIDVALIDITY");
        }
        let one = source.view(&ViewAs::default())?;
        let Ok(other) = destination.view(&ViewAs::default()) else {
            self.differs(name, None, "it cannot be read in the destination");
            return Ok(());
        };
        if one.uid_next() != other.uid_next() {
            self.differs(name, None, "UIDNEXT");
        }
        if one.highest_modseq() != other.highest_modseq() {
            self.differs(name, None, "HIGHESTMODSEQ");
        }
        let (ours, theirs) = (one.uids(), other.uids());
        for uid in ours.difference(&theirs).iter() {
            self.differs(name, Some(uid), "it is missing in the destination");
            self.summary.progress.done += 1;
        }
        for uid in theirs.difference(&ours).iter() {
            self.differs(name, Some(uid), "the source does not have it");
        }
        let identity = MailboxIdentity { guid: source.guid(), uid_validity: source.uid_validity() };
        self.messages(name, identity, &*one, &*other, &ours.intersection(&theirs))
    }

    fn messages(
        &mut self,
        name: &MailboxName,
        identity: MailboxIdentity,
        one: &dyn View,
        other: &dyn View,
        common: &UidSet,
    ) -> Result<()> {
        let columns = Columns::flags() | Column::InternalDate | Column::SaveDate | Column::Guid;
        let budget = || ScanBudget { until: None, ..ScanBudget::default() };
        let flags_there = known(other)?;
        let (mut rows, mut there) = (Rows::new(), Rows::new());
        let mut at = (!common.is_empty()).then_some(Cursor::START);
        while let Some(cursor) = at {
            rows.clear();
            at = one.scan(common, cursor, &columns, budget(), &mut rows)?;
            let uids: UidSet = rows.rows.iter().map(|row| row.uid).collect();
            there.clear();
            let mut rest = Some(Cursor::START);
            while let Some(cursor) = rest {
                rest = match other.scan(&uids, cursor, &columns, budget(), &mut there) {
                    Ok(rest) => rest,
                    Err(_) => break,
                };
            }
            for row in &rows.rows {
                self.summary.progress.done += 1;
                let theirs = there.rows.binary_search_by_key(&row.uid, |other| other.uid).ok();
                let Some(theirs) = theirs.and_then(|at| there.rows.get(at)).filter(|row| !row.expunged) else {
                    self.differs(name, Some(row.uid), "it cannot be read in the destination");
                    continue;
                };
                let mine = of_row(row, &rows);
                let known_there = flags_there.binary_search_by_key(&row.uid, |known| known.uid).ok();
                let their = known_there.and_then(|at| flags_there.get(at));
                self.flags(name, &mine, their);
                if row.internal_date.map(|date| date.unix) != theirs.internal_date.map(|date| date.unix) {
                    self.differs(name, Some(row.uid), "INTERNALDATE");
                }
                let guid = row.guid.filter(|guid| !guid.is_zero()).unwrap_or(guid_of_place(&identity, row.uid));
                if self.keeps.guids && theirs.guid != Some(guid) {
                    self.differs(name, Some(row.uid), "GUID");
                }
                if row.save_date != theirs.save_date {
                    self.summary.other_save_dates += 1;
                }
                self.text(name, row.uid, one, other)?;
            }
            (self.tell)(&self.summary.progress);
        }
        Ok(())
    }

    fn flags(&mut self, name: &MailboxName, ours: &Known, theirs: Option<&Known>) {
        let Some(theirs) = theirs else { return };
        if ours.flags != theirs.flags {
            self.differs(name, Some(ours.uid), "flags");
        }
        if ours.keywords != theirs.keywords {
            self.differs(name, Some(ours.uid), "keywords");
        }
        if ours.modseq != theirs.modseq {
            self.differs(name, Some(ours.uid), "mod-sequence");
        }
    }

    fn text(&mut self, name: &MailboxName, uid: Uid, one: &dyn View, other: &dyn View) -> Result<()> {
        if self.keeps.pop3 {
            let ours = pop3_of(one, uid, self.options.file_names_as_uidls)?;
            if !pop3_of(other, uid, false).is_ok_and(|theirs| theirs == ours) {
                self.differs(name, Some(uid), "POP3 id");
            }
        }
        let mut ours = match one.body(uid) {
            // It went meanwhile.
            Err(StorageError::Expunged { .. }) => return Ok(()),
            other => other?,
        };
        let compared = other.body(uid).and_then(|mut theirs| compare_bytes(&mut *ours, &mut *theirs, self.keeps));
        match compared {
            Ok(Bytes::Same) => {}
            Ok(Bytes::Fitted) => self.summary.fitted += 1,
            Ok(Bytes::Different) => self.differs(name, Some(uid), "its bytes"),
            Err(_) => self.differs(name, Some(uid), "its bytes cannot be read"),
        }
        Ok(())
    }
}
