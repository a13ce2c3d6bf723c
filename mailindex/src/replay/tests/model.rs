//! The plainest possible mailbox: a map. What it is told by records it applies one UID at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    log::{Change, Origin, RawUidRange, Transactions, ext_records, is_counted},
    state::State,
};

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) flags: u8,
    pub(super) keywords: BTreeSet<String>,
    pub(super) modseq: u64,
    pub(super) fields: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Model {
    pub(super) messages: BTreeMap<u32, Message>,
    pub(super) counter: u64,
    pub(super) tracked: bool,
    pub(super) base: u64,
    pub(super) extensions: Vec<(String, u32, usize)>,
    selected: Option<(usize, usize)>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { counter: 1, ..Self::default() }
    }

    /// Applies whole transactions, record by record.
    pub(super) fn apply(&mut self, bytes: &[u8], offset: u32) {
        for transaction in Transactions::new(bytes, offset) {
            for (record, change) in transaction.unwrap().changes() {
                self.record(record.origin(), &change);
            }
        }
    }

    fn touch(&mut self, ranges: &[RawUidRange], mut change: impl FnMut(&mut Message)) {
        let (counter, tracked) = (self.counter, self.tracked);
        for (uid, message) in &mut self.messages {
            if ranges.iter().any(|r| (r.uid1.get()..=r.uid2.get()).contains(uid)) {
                change(message);
                if tracked {
                    message.modseq = counter;
                }
            }
        }
    }

    fn record(&mut self, origin: Origin, change: &Change<'_>) {
        let external = origin == Origin::External;
        match change {
            Change::Append(appends) => {
                self.counter += 1;
                for append in *appends {
                    let modseq = if self.tracked { self.counter } else { 0 };
                    let message = Message { flags: append.flags, modseq, ..Message::default() };
                    self.messages.insert(append.uid.get(), message);
                }
            }
            Change::FlagUpdate(updates) => {
                self.counter += u64::from(updates.iter().any(is_counted));
                for update in *updates {
                    let ranges = [RawUidRange { uid1: update.uid1, uid2: update.uid2 }];
                    let kept = self.messages.clone();
                    self.touch(&ranges, |m| m.flags = (m.flags & !update.remove) | update.add);
                    if !is_counted(update) {
                        self.messages.iter_mut().for_each(|(uid, m)| m.modseq = kept[uid].modseq);
                    }
                }
            }
            Change::KeywordUpdate(update) => {
                self.counter += 1;
                self.know("keywords", 0, 0);
                let name = String::from_utf8(update.name.to_vec()).unwrap().to_lowercase();
                self.touch(update.ranges, |m| {
                    if update.remove {
                        m.keywords.remove(&name)
                    } else {
                        m.keywords.insert(name.clone())
                    };
                });
            }
            Change::KeywordReset(ranges) => {
                self.counter += 1;
                self.touch(ranges, |m| m.keywords.clear());
            }
            Change::ModseqUpdate(updates) => {
                let largest = updates.iter().map(|u| u.modseq()).max().unwrap();
                self.counter = self.counter.max(largest);
                for update in *updates {
                    if let Some(m) = self.messages.get_mut(&update.uid.get()).filter(|_| self.tracked) {
                        let present = if m.modseq == 0 { self.base } else { m.modseq };
                        if update.modseq() >= present {
                            m.modseq = update.modseq();
                        }
                    }
                }
            }
            Change::ExpungeGuid(expunges) if external => {
                self.counter += 1;
                expunges.iter().for_each(|e| drop(self.messages.remove(&e.uid.get())));
            }
            Change::ExtIntro(intros) => {
                for intro in *intros {
                    let raw = intro.raw;
                    let size = usize::from(raw.record_size.get());
                    let index = match raw.ext_id.get() {
                        u32::MAX => self.know(std::str::from_utf8(intro.name).unwrap(), raw.reset_id.get(), size),
                        id => id as usize,
                    };
                    self.tracked |= self.extensions[index].0 == "modseq";
                    assert_eq!(self.extensions[index].1, raw.reset_id.get(), "only current generations are written");
                    self.selected = Some((index, size));
                }
            }
            Change::ExtHdrUpdate(patches) if self.extensions[self.selected.unwrap().0].0 == "modseq" => {
                let (at, data) = { *patches }.next().unwrap();
                assert_eq!(at, 0);
                self.base = u64::from_le_bytes(data[..8].try_into().unwrap());
            }
            Change::ExtReset { new_reset_id, preserve } => {
                let (index, _) = self.selected.unwrap();
                self.extensions[index].1 = *new_reset_id;
                let name = self.extensions[index].0.clone();
                if !preserve {
                    self.messages.values_mut().for_each(|m| drop(m.fields.remove(&name)));
                }
            }
            Change::ExtRecUpdate(payload) => {
                let (index, size) = self.selected.unwrap();
                for (uid, data) in ext_records(payload, size as u16).unwrap() {
                    let name = self.extensions[index].0.clone();
                    if let Some(m) = self.messages.get_mut(&uid) {
                        m.fields.insert(name, data.to_vec());
                    }
                }
            }
            Change::ExtAtomicInc(increments) => {
                let (index, _) = self.selected.unwrap();
                for increment in *increments {
                    let name = self.extensions[index].0.clone();
                    if let Some(m) = self.messages.get_mut(&increment.uid.get()) {
                        let field = m.fields.entry(name).or_insert(vec![0; 4]);
                        let old = u32::from_le_bytes(field[..4].try_into().unwrap());
                        let new = old.checked_add_signed(increment.diff.get()).unwrap_or(old);
                        field[..4].copy_from_slice(&new.to_le_bytes());
                    }
                }
            }
            _ => {}
        }
    }

    fn know(&mut self, name: &str, reset_id: u32, size: usize) -> usize {
        let at = self.extensions.iter().position(|(other, ..)| other == name).unwrap_or(self.extensions.len());
        if at == self.extensions.len() {
            self.extensions.push((name.to_owned(), reset_id, size));
        }
        at
    }

    /// What a state says, in the model's terms; `self` tells what is to be compared.
    pub(super) fn check(&self, state: &State) {
        assert_eq!(state.message_count() as usize, self.messages.len());
        assert_eq!(state.highest_modseq().value(), self.counter);
        let names: Vec<_> = state.extensions().iter().map(|e| String::from_utf8(e.name().to_vec()).unwrap()).collect();
        let want: Vec<_> = self.extensions.iter().map(|e| e.0.clone()).collect();
        assert_eq!(names, want, "extension order");
        let seen = self.messages.values().filter(|m| m.flags & 8 != 0).count();
        assert_eq!(state.seen_count() as usize, seen);
        assert_eq!(state.deleted_count() as usize, self.messages.values().filter(|m| m.flags & 4 != 0).count());
        let unseen = self.messages.iter().enumerate().find(|(_, (_, m))| m.flags & 8 == 0);
        let unseen = unseen.map(|(i, (uid, _))| (i as u32 + 1, *uid));
        assert_eq!(state.first_unseen().map(|(seq, uid)| (seq.value(), uid.value())), unseen);
        for (index, (record, (uid, message))) in state.records_from(0).zip(&self.messages).enumerate() {
            assert_eq!(record.uid().value(), *uid);
            assert_eq!(state.index_of(record.uid()), Ok(index as u32));
            assert_eq!(state.uid_at(index as u32), Some(record.uid()));
            assert_eq!(record.record_flags().0, message.flags, "flags of {uid}");
            let keywords = record
                .keyword_bits()
                .iter()
                .map(|bit| state.keyword(bit).unwrap().keyword().unwrap().as_str().to_lowercase());
            let keywords = keywords.collect::<BTreeSet<_>>();
            assert_eq!(keywords, message.keywords, "keywords of {uid}");
            let modseq = match (self.tracked, message.modseq) {
                (true, 0) => self.base,
                (true, own) => own,
                (false, _) => self.counter,
            };
            assert_eq!(record.modseq().value(), modseq, "modseq of {uid}");
            for (number, (name, ..)) in self.extensions.iter().enumerate() {
                if name == "keywords" || name == "modseq" {
                    continue;
                }
                let want = message.fields.get(name).map_or(&[][..], Vec::as_slice);
                let field = record.field(number);
                let same = field
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(0))
                    .zip(want.iter().copied().chain(std::iter::repeat(0)));
                assert!(same.take(field.len().max(want.len())).all(|(a, b)| a == b), "{name} of {uid}");
            }
        }
    }
}
