//! A set of indexes, a bit each.

/// Costs memory up to the largest index that is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    words: Vec<u64>,
    count: usize,
}

impl Marks {
    pub(crate) fn insert(&mut self, index: usize) {
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(at, &word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_a_set(indexes in prop::collection::vec(0usize..300, 0..50)) {
            let model: std::collections::BTreeSet<_> = indexes.iter().copied().collect();
            let mut marks = Marks::default();
            indexes.iter().for_each(|&index| marks.insert(index));
            prop_assert_eq!(marks.count(), model.len());
            prop_assert!((0..400).all(|index| marks.contains(index) == model.contains(&index)));
            prop_assert!(marks.iter().eq(model));
        }
    }
}
