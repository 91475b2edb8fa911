//! Measured networks, and which of them stay.

use std::collections::BTreeSet;

use nat_moo::{Individual, Normalizer};
use nat_space::Genotype;
use rand_chacha::ChaCha8Rng;

use crate::{Aims, Member, Objective};

/// One row of objective values a member.
pub fn rows(members: &[Member], objectives: &[Objective]) -> Vec<Vec<f64>> {
    members
        .iter()
        .map(|member| member.values(objectives))
        .collect()
}

/// Positions of `n` members chosen by reference directions, or by rank and crowding where there is a single objective.
/// Those that meet the limits come first, then the least violations.
///
/// Normalisation starts afresh in every call: errors change with every adaptation, and an ideal point of an earlier
/// measurement would distort the scale.
pub fn survive(
    members: &[Member],
    aims: &Aims,
    n: usize,
    directions: &[Vec<f64>],
    rng: ChaCha8Rng,
) -> Vec<usize> {
    if members.len() <= n {
        return (0..members.len()).collect();
    }
    let pool = individuals(members, aims, &Scale::of(members, &aims.objectives));
    let algorithm = if aims.objectives.len() == 1 {
        nat_moo::Algorithm::Nsga2
    } else {
        nat_moo::Algorithm::Nsga3 {
            directions: directions.to_vec(),
        }
    };
    let mut ties = nat_moo::Draws::from(rng);
    nat_moo::fittest(&pool, n, &algorithm, &mut Normalizer::default(), &mut ties)
}

/// What one of each objective is where several are weighed against each other.
///
/// The frame of NSGA-III finds the extreme point of an axis with weights of 1 to a million, and takes small distances for none:
/// both want objectives that reach over about one, and multiply-adds come in millions, joules perhaps in thousandths.
pub(crate) struct Scale(Vec<f64>);

impl Scale {
    /// The ranges of the objectives over some members, 1 where all have the same value.
    pub(crate) fn of(members: &[Member], objectives: &[Objective]) -> Scale {
        let range = |&objective: &Objective| {
            let values = members.iter().map(|member| member.value(objective));
            let low = values.clone().fold(f64::INFINITY, f64::min);
            let high = values.fold(f64::NEG_INFINITY, f64::max);
            if high > low { high - low } else { 1.0 }
        };
        Scale(objectives.iter().map(range).collect())
    }
}

/// Members as the evolutionary search takes them.
pub(crate) fn individuals(members: &[Member], aims: &Aims, scale: &Scale) -> Vec<Individual> {
    let individual = |member: &Member| Individual {
        genes: member.genes.as_slice().to_vec(),
        objectives: (member.values(&aims.objectives).iter().zip(&scale.0))
            .map(|(value, unit)| value / unit)
            .collect(),
        violation: aims.limits.violation(member),
    };
    members.iter().map(individual).collect()
}

/// The archive's measured members followed by those of the final population that it does not hold.
pub fn merge(archive: &[Member], population: Vec<Member>) -> Vec<Member> {
    let mut seen: BTreeSet<Genotype> = archive.iter().map(|member| member.genes.clone()).collect();
    let mut all = archive.to_vec();
    all.extend(
        population
            .into_iter()
            .filter(|member| seen.insert(member.genes.clone())),
    );
    all
}

/// The non-dominated ones of the members that meet the limits, by ascending first objective.
pub fn front(members: &[Member], aims: &Aims) -> Vec<Member> {
    let Aims {
        objectives, limits, ..
    } = aims;
    let admitted: Vec<&Member> = members.iter().filter(|m| limits.admit(m)).collect();
    let values: Vec<Vec<f64>> = admitted.iter().map(|m| m.values(objectives)).collect();
    let mut front: Vec<Member> = nat_moo::non_dominated(&values)
        .into_iter()
        .map(|i| admitted[i].clone())
        .collect();
    front.sort_by(|a, b| {
        let (a_values, b_values) = (a.values(objectives), b.values(objectives));
        a_values
            .partial_cmp(&b_values)
            .expect("objectives are numbers")
            .then_with(|| a.genes.cmp(&b.genes))
    });
    front
}

/// Positions of up to `count` high-trade-off points of a front, highest first; all, in the order of the front, where there are no
/// more, or with one objective.
pub fn high_tradeoff(front: &[Member], objectives: &[Objective], count: usize) -> Vec<usize> {
    if objectives.len() < 2 || front.len() <= count {
        return (0..front.len().min(count)).collect();
    }
    nat_moo::high_tradeoff(&rows(front, objectives), count)
}

/// Most objectives whose hypervolume is exact: with twelve, an archive of 60 takes minutes.
const EXACT: usize = 6;
/// Directions of the estimate for more objectives.
const SAMPLES: usize = 10_000;

/// The hypervolume of a set as a share of the box below `reference`; 0 where the box is flat. Exact for up to six objectives
/// whose box has a volume that is a number, else by quasi-Monte-Carlo over 10,000 directions.
pub fn hypervolume_share(values: &[Vec<f64>], reference: &[f64]) -> f64 {
    let scaled = |row: &Vec<f64>| row.iter().zip(reference).map(|(v, r)| v / r).collect();
    let unit = vec![1.0; reference.len()];
    match reference.iter().product::<f64>() {
        0.0 => 0.0,
        whole if reference.len() <= EXACT && whole.is_finite() => {
            nat_moo::hypervolume(values, reference) / whole
        }
        _ => {
            let shares: Vec<Vec<f64>> = values.iter().map(scaled).collect();
            nat_moo::hypervolume_estimate(&shares, &unit, SAMPLES)
        }
    }
}

/// 1.01 times the largest value of each objective: the fixed corner of all hypervolumes of a run.
pub fn reference_point(values: &[Vec<f64>]) -> Vec<f64> {
    let width = values.first().map_or(0, Vec::len);
    (0..width)
        .map(|j| {
            1.01 * values
                .iter()
                .map(|row| row[j])
                .fold(f64::NEG_INFINITY, f64::max)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use nat_space::Space;
    use rand::SeedableRng;

    use super::*;
    use crate::{Limits, Preferences};

    #[test]
    fn survival_does_not_depend_on_units() {
        let aims = aims(&[Objective::Error, Objective::Madds], "");
        let sized = |unit: u64| -> Vec<Member> {
            (0..40)
                .map(|i| {
                    member(
                        i,
                        40.0 - 0.7 * i as f64 + (i % 3) as f64,
                        unit * (5 + i * i),
                    )
                })
                .collect()
        };
        let kept = |unit| {
            let directions = nat_moo::riesz(2, 12, 1);
            survive(
                &sized(unit),
                &aims,
                12,
                &directions,
                ChaCha8Rng::seed_from_u64(3),
            )
        };
        let in_millions = kept(1);
        assert_eq!(kept(1_000_000), in_millions);
        let large = in_millions.iter().filter(|&&i| i * i > 39 * 39 / 2).count();
        assert!(large >= 3, "{in_millions:?}");
    }

    pub(crate) fn member(index: u64, error: f64, madds: u64) -> Member {
        let space = Space::builtin("tiny").unwrap();
        Member {
            genes: space.sample(&mut ChaCha8Rng::seed_from_u64(index)),
            error,
            madds,
            params: madds / 10,
            memory: 4 * madds,
            measures: Vec::new(),
        }
    }

    fn aims(objectives: &[Objective], limits: &str) -> Aims {
        Aims {
            objectives: objectives.to_vec(),
            limits: match limits {
                "" => Limits::default(),
                text => Limits::parse(text).unwrap(),
            },
            preferences: Preferences::default(),
        }
    }

    #[test]
    fn merging_keeps_measured_errors_and_lists_a_genotype_once() {
        let archive = [member(1, 30.0, 100), member(2, 20.0, 200)];
        let twin = Member {
            error: 1.0,
            ..archive[0].clone()
        };
        let fresh = member(3, 25.0, 150);
        let merged = merge(&archive, vec![twin, fresh.clone(), fresh.clone()]);
        assert_eq!(merged.len(), 3);
        assert_eq!(merged[0].error, 30.0);
        assert_eq!(merged[2], fresh);
    }

    #[test]
    fn the_front_is_sorted_and_free_of_dominated_members() {
        let members = [
            member(1, 30.0, 100),
            member(2, 20.0, 200),
            member(3, 35.0, 150),
            member(4, 10.0, 300),
        ];
        let madds = |limits: &str| -> Vec<u64> {
            let front = front(
                &members,
                &aims(&[Objective::Error, Objective::Madds], limits),
            );
            front.iter().map(|m| m.madds).collect()
        };
        assert_eq!(madds(""), [300, 200, 100]);
        assert_eq!(madds("madds<200"), [100], "150 is dominated by 100");
    }

    #[test]
    fn survival_keeps_the_extremes_and_the_asked_number() {
        let directions = nat_moo::das_dennis(2, 9);
        let members: Vec<Member> = (0..40)
            .map(|i| member(i, i as f64, (40 - i) * 1_000_000))
            .collect();
        let survivors = |objectives: &[Objective], limits: &str, n| {
            let rng = ChaCha8Rng::seed_from_u64(1);
            let mut kept = survive(&members, &aims(objectives, limits), n, &directions, rng);
            kept.sort_unstable();
            kept
        };
        let both = [Objective::Error, Objective::Madds];
        let kept = survivors(&both, "", 10);
        assert_eq!(kept.len(), 10);
        assert!(kept.contains(&0) && kept.contains(&39));
        assert_eq!(survivors(&[Objective::Madds], "", 3), [37, 38, 39]);
        let within = survivors(&both, "madds<=20M", 30);
        let feasible = 20..40;
        assert!(feasible.clone().all(|i| within.contains(&i)));
        assert!(
            (10..20).all(|i| within.contains(&i)),
            "then the least violations"
        );
    }

    #[test]
    fn hypervolume_is_a_share_of_the_box() {
        let values = vec![vec![0.5, 0.5]];
        assert!((hypervolume_share(&values, &[1.0, 1.0]) - 0.25).abs() < 1e-12);
        assert_eq!(hypervolume_share(&[vec![0.5, 0.0]], &[1.0, 0.0]), 0.0);
        let huge = hypervolume_share(&[vec![0.5e200; 2]], &[1e200; 2]);
        assert!((huge - 0.25).abs() < 0.01, "{huge}");
        let twelve = hypervolume_share(&vec![vec![1.0; 12]; 60], &[2.0; 12]);
        assert!((twelve * 4096.0 - 1.0).abs() < 0.05, "{twelve}");
        assert_eq!(
            reference_point(&[vec![1.0, 4.0], vec![2.0, 3.0]]),
            vec![2.02, 4.04]
        );
    }
}
