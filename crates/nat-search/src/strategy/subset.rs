//! Eight new networks an iteration by subset selection: mikelzc1990/nsganetv2, `search_space` and `msunas.py`.

use rand::{
    Rng, RngExt,
    seq::{SliceRandom, index},
};
use rand_chacha::ChaCha8Rng;

use super::{Use, nat::seeds, stream};
use crate::{
    Member, Objective, Problem, SearchError, Settings, archive, directions, propose::search_with,
    testbed::Ledger,
};

/// New networks of an iteration.
const CHOSEN: usize = 8;
/// Generations of the inner search.
const GENERATIONS: usize = 20;
/// Population and generations of the search for the subset.
const SUBSETS: usize = 100;
const SUBSET_GENERATIONS: usize = 60;

/// The archive keeps everything, and all of it trains the predictor; the inner search starts from its front.
pub(super) fn run(
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    designs: Vec<Member>,
    seed: u64,
) -> Result<(), SearchError> {
    let genes = problem.costs.space().genes();
    let settings = Settings {
        generations: GENERATIONS,
        mutation: 1.0 / genes as f64,
        ..*problem.settings
    };
    let problem = &Problem {
        settings: &settings,
        ..*problem
    };
    let key = stream(seed, 0, Use::Directions).next_u64();
    let directions = directions(problem.aims.objectives.len(), &settings, key);
    let mut measured = designs;
    for iteration in 1.. {
        if ledger.left() == 0 {
            break;
        }
        let front = archive::front(&measured, problem.aims);
        let start = front.iter().map(|member| member.genes.clone()).collect();
        let rows: Vec<&Member> = measured.iter().collect();
        let streams = seeds(seed, iteration);
        let (population, _) = search_with(problem, &rows, start, &directions, &streams, 1)?;
        let candidates: Vec<Member> = (population.into_iter())
            .filter(|member| !ledger.knows(&member.genes))
            .collect();
        if candidates.is_empty() {
            break;
        }
        let mut rng = stream(seed, iteration, Use::Choice);
        let chosen = choose(&front, &candidates, &problem.aims.objectives, &mut rng);
        let fresh = ledger.measure_all(chosen.iter().map(|&i| &candidates[i].genes));
        measured.extend(fresh);
    }
    Ok(())
}

/// Positions of the candidates with which the front is most even in its cheap objectives; the least predicted errors
/// where there is no cheap objective.
fn choose(
    front: &[Member],
    candidates: &[Member],
    objectives: &[Objective],
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let all: Vec<usize> = (0..candidates.len()).collect();
    if all.len() <= CHOSEN {
        return all;
    }
    let cheap = objectives
        .iter()
        .filter(|objective| !objective.is_measured());
    let columns: Vec<Column> = cheap
        .map(|&objective| Column::new(front, candidates, objective))
        .collect();
    if columns.is_empty() {
        let mut order = all;
        order.sort_by(|&a, &b| candidates[a].error.total_cmp(&candidates[b].error));
        order.truncate(CHOSEN);
        return order;
    }
    let unevenness = |subset: &[usize]| {
        (columns.iter())
            .map(|column| column.unevenness(subset))
            .fold(0.0, f64::max)
    };
    let mut subsets: Vec<(f64, Vec<usize>)> = (0..SUBSETS)
        .map(|_| {
            let mut subset = index::sample(rng, candidates.len(), CHOSEN).into_vec();
            subset.sort_unstable();
            (unevenness(&subset), subset)
        })
        .collect();
    for _ in 1..SUBSET_GENERATIONS {
        let children: Vec<(f64, Vec<usize>)> = (0..SUBSETS)
            .map(|_| {
                let child = child(&subsets, candidates.len(), rng);
                (unevenness(&child), child)
            })
            .collect();
        subsets.extend(children);
        subsets.sort_by(|a, b| a.0.total_cmp(&b.0));
        subsets.dedup_by(|a, b| a.1 == b.1);
        subsets.truncate(SUBSETS);
    }
    subsets.swap_remove(0).1
}

/// What both parents hold stays, the rest comes from what one of them holds; then one member is exchanged.
fn child(subsets: &[(f64, Vec<usize>)], candidates: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut parent = || {
        let (a, b) = (
            rng.random_range(0..subsets.len()),
            rng.random_range(0..subsets.len()),
        );
        if subsets[a].0 <= subsets[b].0 {
            &subsets[a].1
        } else {
            &subsets[b].1
        }
    };
    let (a, b) = (parent(), parent());
    let (mut child, mut rest): (Vec<usize>, Vec<usize>) =
        a.iter().copied().partition(|i| b.contains(i));
    rest.extend(b.iter().filter(|i| !a.contains(i)));
    rest.shuffle(rng);
    child.extend(rest.into_iter().take(CHOSEN - child.len()));
    let outside = loop {
        let i = rng.random_range(0..candidates);
        if !child.contains(&i) {
            break i;
        }
    };
    let place = rng.random_range(0..CHOSEN);
    child[place] = outside;
    child.sort_unstable();
    child
}

/// One cheap objective of front and candidates, in units of its range.
struct Column {
    front: Vec<f64>,
    candidates: Vec<f64>,
}

impl Column {
    fn new(front: &[Member], candidates: &[Member], objective: Objective) -> Column {
        let values = |members: &[Member]| -> Vec<f64> {
            members
                .iter()
                .map(|member| member.value(objective))
                .collect()
        };
        let (mut front, mut candidates) = (values(front), values(candidates));
        let all = || front.iter().chain(&candidates).copied();
        let low = all().fold(f64::INFINITY, f64::min);
        let range = all().fold(f64::NEG_INFINITY, f64::max) - low;
        for value in front.iter_mut().chain(&mut candidates) {
            *value = (*value - low) / range.max(f64::MIN_POSITIVE);
        }
        Column { front, candidates }
    }

    /// Standard deviation of the gaps between neighbours.
    fn unevenness(&self, subset: &[usize]) -> f64 {
        let mut values = self.front.clone();
        values.extend(subset.iter().map(|&i| self.candidates[i]));
        values.sort_by(f64::total_cmp);
        let gaps = values.windows(2).map(|pair| pair[1] - pair[0]);
        let n = (values.len() - 1) as f64;
        let mean = gaps.clone().sum::<f64>() / n;
        (gaps.map(|gap| (gap - mean).powi(2)).sum::<f64>() / n).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use rand::SeedableRng;

    use super::*;
    use crate::Costs;

    #[test]
    fn the_chosen_fill_the_gap_of_the_front() {
        let costs = Costs::new(Space::builtin("tiny").unwrap(), 10);
        let genes = costs.space().smallest();
        let at = |madds: u64| Member {
            madds,
            ..costs.member(genes.clone(), 30.0)
        };
        // Nothing between 100 and 1000 but what is chosen: eight evenly spaced of 45.
        let front: Vec<Member> = [0, 100, 1000, 1100].map(at).into();
        let candidates: Vec<Member> = (0..45).map(|i| at(110 + 20 * i)).collect();
        let objectives = [Objective::Error, Objective::Madds];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let chosen = choose(&front, &candidates, &objectives, &mut rng);
        let mut madds: Vec<u64> = chosen.iter().map(|&i| candidates[i].madds).collect();
        madds.sort_unstable();
        assert_eq!(madds.len(), CHOSEN);
        madds.extend([100, 1000]);
        madds.sort_unstable();
        let gaps = madds.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            gaps.clone().all(|gap| (60..=140).contains(&gap)),
            "{madds:?}"
        );
        let cheapest_only = choose(&front, &candidates, &objectives[..1], &mut rng);
        assert_eq!(cheapest_only.len(), CHOSEN);
    }
}
