//! Which strings have been met.

use crate::Gene;

/// A set of strings that its owner keeps in a list: it holds their numbers only, in an open-addressed
/// table that is at most half full.
///
/// Results do not depend on the hash. It needs no key against hostile input either: the strings are
/// the search's own.
pub(crate) struct Registry {
    /// Number of a string plus one; 0 is vacant.
    slots: Vec<u32>,
    entries: usize,
}

impl Registry {
    /// A registry with room for `strings`; more make it grow.
    pub(crate) fn with_capacity(strings: usize) -> Self {
        Self {
            slots: vec![0; (2 * strings).next_power_of_two().max(2)],
            entries: 0,
        }
    }

    /// Enters `string` as number `number` and returns true, unless an equal one is there. `string_of`
    /// gives the string of any number entered before.
    pub(crate) fn insert<'a>(
        &mut self,
        string: &[Gene],
        number: usize,
        string_of: impl Fn(usize) -> &'a [Gene],
    ) -> bool {
        if 2 * (self.entries + 1) > self.slots.len() {
            let doubled = vec![0; 2 * self.slots.len()];
            for slot in std::mem::replace(&mut self.slots, doubled) {
                if slot != 0 {
                    let (Err(vacant) | Ok(vacant)) =
                        self.find(string_of(slot as usize - 1), &string_of);
                    self.slots[vacant] = slot;
                }
            }
        }
        match self.find(string, &string_of) {
            Ok(_) => false,
            Err(vacant) => {
                self.slots[vacant] = u32::try_from(number + 1).expect("fewer strings than 2^32");
                self.entries += 1;
                true
            }
        }
    }

    /// The slot that holds an equal string, or else the vacant one where it belongs.
    fn find<'a>(
        &self,
        string: &[Gene],
        string_of: impl Fn(usize) -> &'a [Gene],
    ) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(string) as usize & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                number if string_of(number as usize - 1) == string => return Ok(slot),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// Multiplies and folds four genes at a time.
fn hash(string: &[Gene]) -> u64 {
    // 2^64 over the golden ratio.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = string.len() as u64;
    for genes in string.chunks(4) {
        let word = genes
            .iter()
            .fold(0, |word, &gene| word << 16 | u64::from(gene));
        let product = u128::from(state ^ word ^ MULTIPLIER) * u128::from(MULTIPLIER);
        state = product as u64 ^ (product >> 64) as u64;
    }
    state
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Draws;

    #[test]
    fn strings_are_new_exactly_once() {
        let mut draws = Draws::new(1);
        for length in [1, 3, 4, 22] {
            let mut reference = HashSet::new();
            let mut registry = Registry::with_capacity(1);
            let mut strings: Vec<Vec<Gene>> = Vec::new();
            for _ in 0..1000 {
                // Few values, so that strings of one gene repeat and long ones do not.
                let string: Vec<Gene> = (0..length).map(|_| draws.below(60) as Gene).collect();
                let new = registry.insert(&string, strings.len(), |i| &strings[i]);
                assert_eq!(new, reference.insert(string.clone()));
                if new {
                    strings.push(string);
                }
            }
            for string in &strings {
                assert!(!registry.insert(string, strings.len(), |i| &strings[i]));
            }
        }
    }
}
