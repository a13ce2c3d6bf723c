//! Whose deed it is that a message of a Maildir has a UID that nobody was told.
//!
//! Dovecot 2.3.19 does so of itself, with nobody else on the store. A message that is moved away and back keeps its file's name, and its
//! line with the new UID may come into the UID list while the one with the old UID is still there. A process of Dovecot's that knows
//! the old line says "Duplicate file entry", reads the list again, and then passes over the new line as one that it has: from
//! then on it does not find the message under its new UID. What it is to remove under that UID it leaves there; when it
//! writes the list, the line is gone, and whoever looks next takes the file for a new one; or it takes the file for one
//! that is expunged, and gives it another UID itself, which it says too. What its log does not tell of that very message is
//! not excused. No Culver puts a name into the list that stands there already.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{
    ledger::{Misplaced, Was},
    worker::OWN,
};
use crate::interop::{SharedStore, StoreFormat, turn_about::REAPPEARED};

/// The setting that has Culver tell of each file that it finds and gives a UID.
pub(super) const TELLING: &str = "log.level=info,mailstore::maildir::sync=debug";

/// How it says so.
const NEW_FILE: &str = "a new file";

/// Dovecot's word for one file with two UIDs, and for what it does about it. Where it does not say the second, it takes the new
/// UID, as it should.
const DUPLICATE: &str = "Duplicate file entry";
const READ_AGAIN: &str = "retrying by re-reading";

/// The UID list of a mailbox.
const UIDLIST: &str = "dovecot-uidlist";

/// What the logs and the UID lists of a Maildir store tell.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// The base names of the messages that are there, by mailbox and UID.
    bases: BTreeMap<(String, u32), String>,
    /// What Dovecot said, by mailbox and base name.
    dovecots: BTreeMap<(String, String), Vec<Deed>>,
    /// UIDs that a Culver gave to files that it found.
    culvers: BTreeSet<(String, u32)>,
}

/// What Dovecot says that it did with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    /// It gave the file another UID, since it knew it under this one, and as expunged.
    GaveAnother { old: u32 },
    /// It lost sight of the message's new UID.
    LostSight { new: u32 },
}

impl Deeds {
    /// Of a Maildir store with these mailboxes.
    pub(super) fn of(store: &SharedStore, mailboxes: &BTreeSet<String>, dovecots_log: &str, culvers_log: &str) -> Self {
        let (root, format) = (store.root(), store.format());
        let mut deeds = Self::default();
        for mailbox in mailboxes {
            let path = format.maildir_folder(&root, mailbox).join(UIDLIST);
            // A mailbox without a list has no message with a UID.
            deeds.note_uidlist(mailbox, &fs::read_to_string(path).unwrap_or_default());
        }
        deeds.note_logs(format, &root, dovecots_log, culvers_log);
        deeds
    }

    fn note_uidlist(&mut self, mailbox: &str, list: &str) {
        let bases = list.lines().skip(1).filter_map(of_uidlist);
        self.bases.extend(bases.map(|(uid, base)| ((lasting(mailbox), uid), base.to_owned())));
    }

    fn note_logs(&mut self, format: StoreFormat, root: &Path, dovecots_log: &str, culvers_log: &str) {
        let mailbox_of = |folder| Some(lasting(&format.maildir_mailbox(root, Path::new(folder))?));
        for (folder, base, deed) in dovecots_log.lines().filter_map(of_dovecots_log) {
            let Some(mailbox) = mailbox_of(folder) else { continue };
            self.dovecots.entry((mailbox, base.to_owned())).or_default().push(deed);
        }
        let given = culvers_log.lines().filter_map(of_culvers_log);
        self.culvers.extend(given.filter_map(|(folder, uid)| Some((mailbox_of(folder)?, uid))));
    }

    /// Whether Dovecot says that it was it: `Err` tells what is known instead.
    pub(super) fn are_dovecots(&self, what: &Misplaced) -> Result<(), String> {
        let mailbox = lasting(&what.mailbox);
        let Some(base) = self.bases.get(&(mailbox.clone(), what.uid)) else {
            return Err("no UID list has it".to_owned());
        };
        let said = self.dovecots.get(&(mailbox.clone(), base.clone())).map_or(&[][..], Vec::as_slice);
        let is_culvers = self.culvers.contains(&(mailbox, what.uid));
        // A UID that came after it has nothing to do with it.
        let is_of = |had: &u32| *had < what.uid && said.iter().any(|deed| deed.is_of_message(*had, is_culvers));
        let is_excused = match &what.was {
            Was::Promised(had) => is_of(had),
            Was::Ended(told) => told.iter().any(is_of),
        };
        match is_excused {
            true => Ok(()),
            false => {
                let giver = if is_culvers { "given by Culver" } else { "not given by Culver" };
                Err(format!("{giver}, file {base}, of which Dovecot says {said:?}"))
            }
        }
    }
}

impl Deed {
    /// Whether it is why a message that had that UID has one that a Culver gave it, or that none did.
    fn is_of_message(self, had: u32, given_by_culver: bool) -> bool {
        match self {
            // Had it been expunged under the UID that it had, somebody else would have to answer for that.
            Self::GaveAnother { old } => old < had && !given_by_culver,
            Self::LostSight { new } => new == had,
        }
    }
}

/// A mailbox by a name that it keeps: those of one worker alone get another one now and then.
fn lasting(mailbox: &str) -> String {
    match mailbox.split_once('-') {
        Some((own, _)) if own.starts_with(OWN) => own.to_owned(),
        _ => mailbox.to_owned(),
    }
}

/// UID and base name.
fn of_uidlist(line: &str) -> Option<(u32, &str)> {
    let (uid, rest) = line.split_once(' ')?;
    let at = rest.find(':')?;
    Some((uid.parse().ok()?, rest.get(at + 1..)?))
}

/// The folder of the mailbox, the base name, and what was done to it.
fn of_dovecots_log(line: &str) -> Option<(&str, &str, Deed)> {
    if let Some((before, after)) = line.split_once(REAPPEARED) {
        let folder = before.split_once("Maildir ")?.1.trim_end().strip_suffix(':')?;
        let (old, rest) = after.split_once("(old uid=")?.1.split_once(", file=")?;
        let name = rest.trim_end().strip_suffix(')')?;
        let base = name.split_once(':').map_or(name, |(base, _)| base);
        return Some((folder, base, Deed::GaveAnother { old: old.parse().ok()? }));
    }
    let (before, after) = line.split_once(DUPLICATE).filter(|(_, after)| after.contains(READ_AGAIN))?;
    let path = before.split_once("Warning: ")?.1.trim_end().strip_suffix(':')?;
    let folder = path.strip_suffix(UIDLIST)?.strip_suffix('/')?;
    let (base, rest) = after.split_once(": ")?.1.split_once(" (uid ")?;
    let new = rest.split_once(" -> ")?.1.split_once(')')?.0;
    Some((folder, base, Deed::LostSight { new: new.parse().ok()? }))
}

/// The folder of the mailbox, and the UID that a file got there.
fn of_culvers_log(line: &str) -> Option<(&str, u32)> {
    let fields = line.split_once(NEW_FILE)?.1;
    let field = |name: &str| fields.split_whitespace().find_map(|field| field.strip_prefix(name));
    Some((field("dir=")?, field("uid=")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/mail/ann";

    /// Archive's UIDs 8 (file `b`) and 9 (file `c`) with these logs.
    fn deeds(dovecots_log: &str, culvers_log: &str) -> Deeds {
        let mut deeds = Deeds::default();
        deeds.note_uidlist("Archive", "3 V1 N10\n8 :b\n9 W5 S4 :c\n");
        deeds.note_logs(StoreFormat::Maildir, Path::new(ROOT), dovecots_log, culvers_log);
        deeds
    }

    fn misplaced(uid: u32, was: Was) -> Misplaced {
        Misplaced { mailbox: "Archive".to_owned(), uid, worker: 1, is_dovecots: true, was }
    }

    fn gave_another(old: u32) -> String {
        format!(
            "imap(ann)<1><x>: Warning: Maildir {ROOT}/.Archive: {REAPPEARED} (old uid={old}, file=b:2,S)\n\
             imap(ann)<1><x>: Warning: Maildir {ROOT}: {REAPPEARED} (old uid=1, file=c)\n"
        )
    }

    fn lost_sight(new: u32, how: &str) -> String {
        format!("imap(ann)<1><x>: Warning: {ROOT}/.Archive/{UIDLIST}: {DUPLICATE} at line 7: b (uid 3 -> {new}){how}\n")
    }

    fn given_by_culver(uid: u32) -> String {
        format!(
            "2026-11-23T00:48:19Z DEBUG mailstore::maildir::sync: {NEW_FILE} dir={ROOT}/.Archive uid={uid} base=b\n"
        )
    }

    const RETRYING: &str = " - retrying by re-reading from beginning";

    #[test]
    fn a_message_that_dovecot_knew_under_an_older_uid_is_its_deed() {
        let is_excused = |uid, was, log: &str| deeds(log, "").are_dovecots(&misplaced(uid, was)).is_ok();
        assert!(is_excused(8, Was::Promised(5), &gave_another(3)));
        assert!(is_excused(8, Was::Ended(vec![3, 5]), &gave_another(3)));
        // It says nothing, or speaks of another message or mailbox.
        assert!(!is_excused(8, Was::Promised(5), ""));
        assert!(!is_excused(8, Was::Ended(vec![3, 5]), ""));
        assert!(!is_excused(9, Was::Promised(5), &gave_another(3)));
        assert!(!is_excused(9, Was::Ended(vec![3, 5]), &gave_another(3)));
        assert!(!is_excused(8, Was::Promised(5), &gave_another(3).replace(".Archive", ".Shared")));
        // It found that very UID expunged: somebody has expunged what was promised, or left there what was to go.
        assert!(!is_excused(8, Was::Promised(5), &gave_another(5)));
        assert!(!is_excused(8, Was::Ended(vec![5]), &gave_another(5)));
        // What it had by then was expunged; it came back later, and went again.
        assert!(!is_excused(8, Was::Ended(vec![3, 12]), &gave_another(3)));
        // The message never was in that mailbox.
        assert!(!is_excused(8, Was::Ended(Vec::new()), &gave_another(3)));
    }

    /// Seed 9102, 600 seconds, eight Dovecot processes.
    #[test]
    fn what_eight_dovecot_processes_did_is_dovecots_deed() {
        let mut deeds = Deeds::default();
        deeds.note_uidlist("Shared", "3 V1 N3993\n3992 :1795404807.M96907P14192.vm,S=4170,W=4273\n");
        deeds.note_uidlist("INBOX", "3 V1 N9511\n9510 :1795405177.M413604P14184.vm,S=2226,W=2292\n");
        let log = "\
imap(ann)<1><+0r>: Warning: /mail/ann/.Shared/dovecot-uidlist: Duplicate file entry at line 168: \
1795404807.M96907P14192.vm,S=4170,W=4273 (uid 3888 -> 3990) - retrying by re-reading from beginning
imap(ann)<2><p0T>: Warning: Maildir /mail/ann/.Shared: Expunged message reappeared, giving a new UID \
(old uid=3888, file=1795404807.M96907P14192.vm,S=4170,W=4273:2,)
imap(ann)<3><V8v>: Warning: /mail/ann/dovecot-uidlist: Duplicate file entry at line 528: \
1795405177.M413604P14184.vm,S=2226,W=2292 (uid 9404 -> 9509) - retrying by re-reading from beginning
imap(ann)<4><FUX>: Warning: Maildir /mail/ann: Expunged message reappeared, giving a new UID \
(old uid=9404, file=1795405177.M413604P14184.vm,S=2226,W=2292:2,F)
";
        deeds.note_logs(StoreFormat::Maildir, Path::new(ROOT), log, "");
        let is_excused = |mailbox: &str, uid, told: &[u32]| {
            let what = Misplaced { mailbox: mailbox.to_owned(), ..misplaced(uid, Was::Ended(told.to_vec())) };
            deeds.are_dovecots(&what).is_ok()
        };
        assert!(is_excused("Shared", 3992, &[3888, 3990]) && is_excused("INBOX", 9510, &[9404, 9506, 9509]));
        assert!(!is_excused("Shared", 3992, &[3888]) && !is_excused("INBOX", 9510, &[9404]));
    }

    #[test]
    fn what_dovecot_lost_sight_of_is_its_deed() {
        let is_excused = |uid, was: Was, log: &str| {
            let by_any = ["", &given_by_culver(8)]
                .map(|culvers| deeds(log, culvers).are_dovecots(&misplaced(uid, was.clone())).is_ok());
            assert_eq!(by_any[0], by_any[1], "whoever finds the file then");
            by_any[0]
        };
        assert!(is_excused(8, Was::Promised(5), &lost_sight(5, RETRYING)));
        assert!(is_excused(8, Was::Ended(vec![3, 5]), &lost_sight(5, RETRYING)));
        assert!(!is_excused(8, Was::Ended(vec![3, 5]), &lost_sight(5, "")), "it took the new UID");
        assert!(!is_excused(8, Was::Promised(6), &lost_sight(5, RETRYING)), "that was before");
        assert!(!is_excused(9, Was::Promised(5), &lost_sight(5, RETRYING)), "that was another file");
    }

    #[test]
    fn a_uid_that_culver_gave_is_not_what_dovecot_gave() {
        for was in [Was::Promised(5), Was::Ended(vec![3, 5])] {
            let what = misplaced(8, was);
            assert_eq!(deeds(&gave_another(3), &given_by_culver(9)).are_dovecots(&what), Ok(()));
            assert!(deeds(&gave_another(3), &given_by_culver(8)).are_dovecots(&what).is_err());
        }
    }

    #[test]
    fn a_mailbox_that_is_renamed_stays_the_same() {
        let mut deeds = Deeds::default();
        deeds.note_uidlist("Own1-2", "3 V1 N10\n8 :b\n");
        let log = gave_another(3).replace(".Archive", ".Own1-0");
        deeds.note_logs(StoreFormat::Maildir, Path::new(ROOT), &log, "");
        let what = Misplaced { mailbox: "Own1-2".to_owned(), ..misplaced(8, Was::Promised(5)) };
        assert_eq!(deeds.are_dovecots(&what), Ok(()));
    }
}
