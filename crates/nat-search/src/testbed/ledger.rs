//! The account of a search: what it has measured, and what it may still measure.

use std::collections::HashMap;

use nat_space::Genotype;

use super::Testbed;
use crate::Member;

/// Measures networks until a budget is spent. A network that was measured before is free.
pub struct Ledger<'a> {
    testbed: &'a Testbed,
    budget: usize,
    places: HashMap<Genotype, usize>,
    members: Vec<Member>,
}

impl<'a> Ledger<'a> {
    /// An empty account.
    pub fn new(testbed: &'a Testbed, budget: usize) -> Ledger<'a> {
        Ledger {
            testbed,
            budget,
            places: HashMap::new(),
            members: Vec::new(),
        }
    }

    /// The problem.
    pub fn testbed(&self) -> &'a Testbed {
        self.testbed
    }

    /// Networks that may still be measured.
    pub fn left(&self) -> usize {
        self.budget - self.members.len()
    }

    /// Whether a network was measured.
    pub fn knows(&self, genes: &Genotype) -> bool {
        self.places.contains_key(genes)
    }

    /// The measured network; nothing for a new one when the budget is spent.
    pub fn measure(&mut self, genes: &Genotype) -> Option<Member> {
        if let Some(&place) = self.places.get(genes) {
            return Some(self.members[place].clone());
        }
        if self.left() == 0 {
            return None;
        }
        let member = self.testbed.measure(genes);
        self.places.insert(genes.clone(), self.members.len());
        self.members.push(member.clone());
        Some(member)
    }

    /// Those of the networks that are known or that the budget allows, in the given order.
    pub fn measure_all<'g>(
        &mut self,
        genotypes: impl IntoIterator<Item = &'g Genotype>,
    ) -> Vec<Member> {
        genotypes
            .into_iter()
            .filter_map(|genes| self.measure(genes))
            .collect()
    }

    /// Everything measured, in the order in which it was.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}
