//! What may be left of the simulated disk after a power cut.

use std::{collections::BTreeMap, ffi::OsString, time::SystemTime};

use super::{
    image::{DataChange, DataOp, FileNode, Image, Node, clamp, close_over_dependencies, write_into},
    random::SimRandom,
};

/// What a disk writes at once.
const SECTOR_LEN: u64 = 512;

/// What becomes of all that was not synced.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CrashChoice {
    /// All is there: what the death of the process alone does.
    KeepAll,
    /// Nothing is there.
    DropAll,
    /// All is there but the second half of the last write.
    TornLast,
    /// Names are there, data is not: new files are empty.
    NamesOnly,
    /// Data is there, names are not.
    DataOnly,
    /// Each change on its own: names kept or not; writes kept, dropped, cut at a sector or anywhere, or grown into zeros.
    Random(u64),
}

impl CrashChoice {
    /// The five that are not random, and `random_count` that are.
    pub fn list(random_count: u64) -> Vec<Self> {
        let fixed = [Self::KeepAll, Self::DropAll, Self::TornLast, Self::NamesOnly, Self::DataOnly];
        fixed.into_iter().chain((1..=random_count).map(Self::Random)).collect()
    }
}

/// Fate of one write.
enum Fate {
    Keep,
    Drop,
    /// So many bytes of it.
    Cut(u64),
    /// The file has grown as far as it would have, with zeros.
    Zeros,
}

struct Chooser {
    choice: CrashChoice,
    random: SimRandom,
    /// Of a hundred, how many random changes are kept whole.
    keep_percent: u64,
    last_order: Option<u64>,
}

pub(super) fn crash(image: &Image, choice: CrashChoice, now: SystemTime) -> Image {
    let mut random = SimRandom::new(match choice {
        CrashChoice::Random(seed) => seed,
        _ => 0,
    });
    // Else nearly nothing would survive of long sequences, and nearly all of short ones.
    let keep_percent = [20, 50, 80, 95].get(clamp(random.below(4))).copied().unwrap_or(50);
    let mut chooser = Chooser { choice, random, keep_percent, last_order: last_write(image) };
    let entries = surviving_names(image, &mut chooser);
    image.rebuild(&entries, |file| surviving_data(file, &mut chooser), now)
}

fn last_write(image: &Image) -> Option<u64> {
    image
        .inodes()
        .filter_map(|(_, inode)| match &inode.node {
            Node::File(file) => file.unsynced.last().map(|op| op.order),
            Node::Dir(_) => None,
        })
        .max()
}

fn surviving_names(image: &Image, chooser: &mut Chooser) -> BTreeMap<u64, BTreeMap<OsString, u64>> {
    let mut entries: BTreeMap<u64, BTreeMap<OsString, u64>> = BTreeMap::new();
    for (number, inode) in image.inodes() {
        if let Node::Dir(dir) = &inode.node {
            entries.insert(number, dir.durable.clone());
        }
    }
    let mut kept: Vec<bool> = image.name_ops.iter().map(|_| chooser.keeps_name()).collect();
    close_over_dependencies(&image.name_ops, &mut kept);
    for (op, _) in image.name_ops.iter().zip(kept).filter(|(_, kept)| *kept) {
        for (dir, name, to) in &op.changes {
            let names = entries.entry(*dir).or_default();
            match to {
                Some(to) => drop(names.insert(name.clone(), *to)),
                None => drop(names.remove(name)),
            }
        }
    }
    entries
}

fn surviving_data(file: &FileNode, chooser: &mut Chooser) -> Vec<u8> {
    let mut data = file.durable.to_vec();
    for op in &file.unsynced {
        match (chooser.fate_of(op), &op.change) {
            (Fate::Keep, change) => change.apply(&mut data),
            (Fate::Cut(len), DataChange::Write { offset, data: written }) => {
                write_into(&mut data, *offset, written.get(..clamp(len)).unwrap_or(written));
            }
            (Fate::Zeros, DataChange::Write { offset, data: written }) => {
                let end = clamp(offset.saturating_add(written.len() as u64));
                if data.len() < end {
                    data.resize(end, 0);
                }
            }
            (Fate::Drop | Fate::Cut(_) | Fate::Zeros, _) => {}
        }
    }
    data
}

impl Chooser {
    fn keeps_name(&mut self) -> bool {
        match self.choice {
            CrashChoice::KeepAll | CrashChoice::TornLast | CrashChoice::NamesOnly => true,
            CrashChoice::DropAll | CrashChoice::DataOnly => false,
            CrashChoice::Random(_) => self.random.below(100) < self.keep_percent,
        }
    }

    fn fate_of(&mut self, op: &DataOp) -> Fate {
        match self.choice {
            CrashChoice::KeepAll | CrashChoice::DataOnly => Fate::Keep,
            CrashChoice::DropAll | CrashChoice::NamesOnly => Fate::Drop,
            CrashChoice::TornLast if self.last_order == Some(op.order) => match &op.change {
                DataChange::Write { data, .. } => Fate::Cut(data.len() as u64 / 2),
                DataChange::SetLen(_) => Fate::Drop,
            },
            CrashChoice::TornLast => Fate::Keep,
            CrashChoice::Random(_) => self.random_fate(&op.change),
        }
    }

    fn random_fate(&mut self, change: &DataChange) -> Fate {
        if self.random.below(100) < self.keep_percent {
            return Fate::Keep;
        }
        let DataChange::Write { offset, data } = change else { return Fate::Drop };
        let cut = self.random.below(data.len() as u64 + 1);
        match self.random.below(4) {
            0 => Fate::Drop,
            1 => Fate::Cut(cut),
            2 => Fate::Cut((offset.saturating_add(cut) / SECTOR_LEN * SECTOR_LEN).saturating_sub(*offset)),
            _ => Fate::Zeros,
        }
    }
}
