//! The search of this program.

use rand::Rng;

use super::{STALLED, Use, stream};
use crate::{Member, Problem, SearchError, Seeds, directions, propose, testbed::Ledger};

/// Proposes and measures what is new, as a run does between two adaptations.
pub(super) fn run(
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    designs: Vec<Member>,
    seed: u64,
) -> Result<(), SearchError> {
    let mut archive = designs;
    let key = stream(seed, 0, Use::Directions).next_u64();
    let directions = directions(problem.aims.objectives.len(), problem.settings, key);
    let mut stalled = 0;
    for iteration in 1.. {
        if ledger.left() == 0 || stalled == STALLED {
            break;
        }
        let before = ledger.left();
        let proposal = propose(problem, &archive, &directions, seeds(seed, iteration), 1)?;
        archive = ledger.measure_all(proposal.members.iter().map(|member| &member.genes));
        stalled = if ledger.left() == before {
            stalled + 1
        } else {
            0
        };
    }
    Ok(())
}

/// The streams of an iteration.
pub(super) fn seeds(seed: u64, iteration: usize) -> Seeds {
    Seeds {
        rows: stream(seed, iteration, Use::Rows),
        predictor: stream(seed, iteration, Use::Predictor).next_u64(),
        search: stream(seed, iteration, Use::Search).next_u64(),
        survival: stream(seed, iteration, Use::Survival),
    }
}
