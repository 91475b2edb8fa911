//! NSGA-II without a predictor.

use nat_moo::{Algorithm, Search, Variables};
use rand::Rng;

use super::{STALLED, Use, stream};
use crate::{Member, Problem, SearchError, archive, testbed::Ledger};

/// Every child is measured. Population and operators are those of the inner search.
pub(super) fn run(
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    designs: Vec<Member>,
    seed: u64,
) -> Result<(), SearchError> {
    let (space, settings) = (problem.costs.space(), problem.settings);
    let evolution = nat_moo::Settings {
        algorithm: Algorithm::Nsga2,
        ..settings.inner(problem.aims.objectives.len(), &[])
    };
    let variables = Variables {
        lower: space.lower(),
        upper: space.upper(),
    };
    let scale = archive::Scale::of(&designs, &problem.aims.objectives);
    let start = archive::individuals(&designs, problem.aims, &scale);
    let key = stream(seed, 0, Use::Search).next_u64();
    let mut search = Search::new(variables, evolution, start, key)?;
    let mut stalled = 0;
    while ledger.left() > 0 && stalled < STALLED {
        let before = ledger.left();
        let children = search.ask(&|genes| space.canonicalise(genes));
        let genotype = |genes: &Vec<u16>| space.genotype(genes).expect("a child is in the space");
        let children: Vec<_> = children.iter().map(genotype).collect();
        let measured = ledger.measure_all(&children);
        search.tell(archive::individuals(&measured, problem.aims, &scale))?;
        stalled = if ledger.left() == before {
            stalled + 1
        } else {
            0
        };
    }
    Ok(())
}
