//! Ways to search, side by side on a [`testbed`](crate::testbed).

mod evolution;
mod nat;
mod nsga2;
mod random;
mod subset;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    Problem, SearchError, Settings, initial_designs,
    testbed::{Ledger, Testbed},
};

/// A way to spend measurements. All begin with the same kind of designs: smallest, largest and random networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The search of this program: [`propose`](crate::propose) until the budget is spent.
    Nat,
    /// Random networks by the law of the designs.
    Random,
    /// NSGA-II on measured objectives, without a predictor.
    Nsga2,
    /// Aging evolution (Real et al., AAAI 2019) on measured objectives, without a predictor: population 100,
    /// tournaments of 25. What wins a tournament is the least weighted Chebyshev distance from the population's
    /// ideal point, under weights drawn anew for each tournament.
    RegularizedEvolution,
    /// Eight networks an iteration, chosen so that the front becomes even (mikelzc1990/nsganetv2): the way of NAT's
    /// predecessor, with this program's predictor fitted on everything measured.
    Subset,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Strategy; 5] = [
        Strategy::Nat,
        Strategy::Subset,
        Strategy::Nsga2,
        Strategy::RegularizedEvolution,
        Strategy::Random,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Nat => "nat",
            Strategy::Random => "random",
            Strategy::Nsga2 => "nsga2",
            Strategy::RegularizedEvolution => "regularized-evolution",
            Strategy::Subset => "subset",
        }
    }

    /// The strategy of a name.
    ///
    /// # Errors
    /// There is none of this name; the message lists those there are.
    pub fn named(name: &str) -> Result<Strategy, SearchError> {
        let known = Strategy::ALL;
        let found = known.into_iter().find(|strategy| strategy.name() == name);
        found.ok_or_else(|| {
            let names = known.map(Strategy::name).join(", ");
            SearchError::Config(format!(
                "there is no strategy '{name}'; the strategies are {names}"
            ))
        })
    }

    /// Searches until `budget` networks are measured or nothing new is found.
    ///
    /// The same seed gives the same networks in the same order.
    ///
    /// # Errors
    /// The predictor cannot be fitted.
    pub fn run<'a>(
        self,
        testbed: &'a Testbed,
        settings: &Settings,
        budget: usize,
        seed: u64,
    ) -> Result<Ledger<'a>, SearchError> {
        let problem = Problem {
            costs: testbed.costs(),
            aims: testbed.aims(),
            settings,
        };
        let mut ledger = Ledger::new(testbed, budget);
        let designs = initial_designs(&problem, &mut stream(seed, 0, Use::Designs))?;
        let designs = ledger.measure_all(&designs);
        match self {
            Strategy::Nat => nat::run(&problem, &mut ledger, designs, seed)?,
            Strategy::Random => random::run(&mut ledger, seed),
            Strategy::Nsga2 => nsga2::run(&problem, &mut ledger, designs, seed)?,
            Strategy::RegularizedEvolution => evolution::run(&mut ledger, designs, seed),
            Strategy::Subset => subset::run(&problem, &mut ledger, designs, seed)?,
        }
        Ok(ledger)
    }
}

/// Iterations without a new network after which a search ends.
const STALLED: usize = 10;

/// What random numbers are for.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Use {
    Designs,
    Directions,
    Rows,
    Predictor,
    Search,
    Survival,
    Choice,
    /// How many uses there are.
    Count,
}

/// The stream of one use in one iteration of a search.
fn stream(seed: u64, iteration: usize, purpose: Use) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(iteration as u64 * Use::Count as u64 + purpose as u64);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{Curve, tests::bed};

    #[test]
    fn every_strategy_keeps_its_budget_and_repeats_exactly() {
        let Some(bed) = bed("error,latency") else {
            return;
        };
        let settings = Settings {
            initial: 60,
            generations: 20,
            ensemble: 60,
            ..Settings::default()
        };
        for strategy in Strategy::ALL {
            let run = |seed| strategy.run(&bed, &settings, 120, seed).unwrap();
            let ledger = run(1);
            let members = ledger.members();
            assert_eq!(members.len(), 120, "{}", strategy.name());
            let genes: std::collections::BTreeSet<_> = members.iter().map(|m| &m.genes).collect();
            assert_eq!(genes.len(), 120);
            assert_eq!(members, run(1).members());
            assert_ne!(members, run(2).members());
            let curve = Curve::new(&bed, members.to_vec());
            assert!(curve.hypervolume(120) > curve.hypervolume(60));
        }
    }

    #[test]
    fn the_search_with_a_predictor_beats_random_search_of_ten_times_its_cost() {
        let Some(bed) = bed("error,latency") else {
            return;
        };
        let settings = Settings::default();
        let volume = |strategy: Strategy, budget| {
            let ledger = strategy.run(&bed, &settings, budget, 1).unwrap();
            Curve::new(&bed, ledger.members().to_vec()).hypervolume(budget)
        };
        let nat = volume(Strategy::Nat, 350);
        let random = volume(Strategy::Random, 3500);
        assert!(nat > random, "{nat} against {random}");
    }

    #[test]
    fn names_lead_back() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::named(strategy.name()).unwrap(), strategy);
        }
        let error = Strategy::named("grid").unwrap_err().to_string();
        assert!(
            error.contains("'grid'") && error.contains("random"),
            "{error}"
        );
    }
}
