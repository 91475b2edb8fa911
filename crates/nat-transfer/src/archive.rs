//! Measured networks, and which of them stay.

use std::collections::BTreeSet;

use nat_moo::Normalizer;
use nat_space::Genotype;
use rand_chacha::ChaCha8Rng;

use crate::Objective;

/// A network with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its genotype.
    pub genes: Genotype,
    /// Top-1 error in percent, measured or predicted.
    pub error: f64,
    /// Multiply-adds.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
}

impl Member {
    /// The value of one objective.
    pub fn value(&self, objective: Objective) -> f64 {
        match objective {
            Objective::Error => self.error,
            Objective::Madds => self.madds as f64,
            Objective::Params => self.params as f64,
        }
    }

    /// The values of several objectives, in their order.
    pub fn values(&self, objectives: &[Objective]) -> Vec<f64> {
        objectives
            .iter()
            .map(|&objective| self.value(objective))
            .collect()
    }
}

/// One row of objective values a member.
pub fn rows(members: &[Member], objectives: &[Objective]) -> Vec<Vec<f64>> {
    members
        .iter()
        .map(|member| member.values(objectives))
        .collect()
}

/// Positions of `n` members chosen by reference directions, or by rank and crowding where there is a single objective.
///
/// Normalisation starts afresh in every call: errors change with every adaptation, and an ideal point of an earlier
/// measurement would distort the scale.
pub fn survive(
    values: &[Vec<f64>],
    n: usize,
    directions: &[Vec<f64>],
    rng: ChaCha8Rng,
) -> Vec<usize> {
    if values.len() <= n {
        return (0..values.len()).collect();
    }
    if values[0].len() == 1 {
        return nat_moo::survive_crowding(values, n);
    }
    let mut ties = nat_moo::Draws::from(rng);
    nat_moo::survive(directions, values, n, &mut Normalizer::default(), &mut ties)
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

/// The non-dominated members, the first of several equal ones, by ascending first objective.
pub fn front(members: &[Member], objectives: &[Objective]) -> Vec<Member> {
    let values = rows(members, objectives);
    let mut front: Vec<Member> = nat_moo::non_dominated(&values)
        .into_iter()
        .map(|i| members[i].clone())
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

/// The hypervolume of a set as a share of the box below `reference`.
pub fn hypervolume_share(values: &[Vec<f64>], reference: &[f64]) -> f64 {
    nat_moo::hypervolume(values, reference) / reference.iter().product::<f64>()
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
mod tests {
    use nat_space::Space;

    use super::*;
    use crate::streams::{Purpose, key, stream};

    fn member(index: usize, error: f64, madds: u64) -> Member {
        let space = Space::builtin("tiny").unwrap();
        let mut rng = stream(key(index as u64, Purpose::Designs, 0, 0));
        Member {
            genes: space.sample(&mut rng),
            error,
            madds,
            params: madds / 10,
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
        let front = front(&members, &[Objective::Error, Objective::Madds]);
        assert_eq!(
            front.iter().map(|m| m.madds).collect::<Vec<_>>(),
            [300, 200, 100]
        );
    }

    #[test]
    fn survival_keeps_the_extremes_and_the_asked_number() {
        let directions = nat_moo::das_dennis(2, 9);
        let values: Vec<Vec<f64>> = (0..40)
            .map(|i| vec![f64::from(i), f64::from(40 - i) * 1e6])
            .collect();
        let kept = survive(
            &values,
            10,
            &directions,
            stream(key(1, Purpose::Survival, 0, 0)),
        );
        assert_eq!(kept.len(), 10);
        assert!(kept.contains(&0) && kept.contains(&39));
        let single: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(9 - i)]).collect();
        let mut kept = survive(&single, 3, &[], stream(key(1, Purpose::Survival, 0, 0)));
        kept.sort_unstable();
        assert_eq!(kept, [6, 7, 8]);
    }

    #[test]
    fn hypervolume_is_a_share_of_the_box() {
        let values = vec![vec![0.5, 0.5]];
        assert!((hypervolume_share(&values, &[1.0, 1.0]) - 0.25).abs() < 1e-12);
        assert_eq!(
            reference_point(&[vec![1.0, 4.0], vec![2.0, 3.0]]),
            vec![2.02, 4.04]
        );
    }
}
