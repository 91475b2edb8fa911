//! NAT's accuracy predictor: an ensemble of RBF models on random subsets of the genes.

use std::collections::HashMap;

use rand::RngExt;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::aggregate::{Aggregate, deviation};
use crate::evaluator::{Evaluator, LANES, Scratch};
use crate::interpolant::{Interpolant, TrainingSet};
use crate::parallel::ordered_map;
use crate::rbf::check_nugget;
use crate::scaling::varying_genes;
use crate::{FitError, Predictor, Scaling};

/// Draws a member may take. One varying gene alone always has a solution and is drawn once in as
/// many draws as genes vary, so even 46 genes that all say the same fail once in 1e9 members.
const MAX_DRAWS: usize = 1000;

/// Size and numbers of an [`RbfEnsemble`]; the default is that of NAT.
#[derive(Debug, Clone, PartialEq)]
pub struct EnsembleSettings {
    /// Members, at least 1.
    pub members: usize,
    /// How the members' answers become one.
    pub aggregate: Aggregate,
    /// Added to the diagonal of the kernel matrix, not negative.
    pub nugget: f64,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self {
            members: 500,
            aggregate: Aggregate::Median,
            nugget: 1e-6,
        }
    }
}

/// Many cubic RBF models with a linear tail, each over a random subset of the genes and all rows
/// (section "Accuracy predictor" of NAT, TPAMI 2021; details from AwesomeLemon/ENCAS).
#[derive(Debug, Clone)]
pub struct RbfEnsemble {
    distinct: Evaluator,
    /// Per member, its place among the distinct ones.
    members: Vec<usize>,
    aggregate: Aggregate,
}

impl RbfEnsemble {
    /// Fits the members to the labels, which are errors in percent in NAT.
    ///
    /// Genes that are constant over the rows are left out. A member draws `k` uniformly from 1 to
    /// the number of genes left, then `k` of them, and keeps one row of each kind over these, which
    /// one is random; it draws again when there are not more than `k` such rows, or when the system
    /// is singular. Member `i` uses the ChaCha8 stream `i` of `seed` and nothing else, so `threads`
    /// does not change the result.
    ///
    /// # Errors
    /// If a row, a label or a setting is invalid, or if all rows are equal.
    pub fn fit(
        genotypes: &[Vec<u16>],
        labels: &[f64],
        scaling: &Scaling,
        settings: &EnsembleSettings,
        seed: u64,
        threads: usize,
    ) -> Result<Self, FitError> {
        scaling.check(genotypes, labels)?;
        let set = TrainingSet::new(genotypes, labels, scaling);
        let fitted = fit_members(&set, settings, seed, threads)?;
        let (distinct, members) = distinct(&fitted);
        Ok(Self {
            distinct: Evaluator::new(scaling, set.points(), &distinct),
            members,
            aggregate: settings.aggregate,
        })
    }

    /// Members that were fitted.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Like [`Predictor::predict`], with the standard deviation over the members beside each
    /// prediction, in the unit of the labels.
    pub fn predict_with_deviation(
        &self,
        genotypes: &[Vec<u16>],
        threads: usize,
    ) -> Vec<(f64, f64)> {
        self.map_answers(genotypes, threads, |answers| {
            let deviation = deviation(answers);
            (self.aggregate.of(answers), deviation)
        })
    }

    /// Applies `f` to the members' answers for each genotype.
    fn map_answers<T: Send>(
        &self,
        genotypes: &[Vec<u16>],
        threads: usize,
        f: impl Fn(&mut [f64]) -> T + Sync,
    ) -> Vec<T> {
        let blocks = genotypes.len().div_ceil(LANES);
        let scratch = || (Scratch::default(), Vec::with_capacity(self.members()));
        let results = ordered_map(blocks, threads, scratch, |(scratch, answers), block| {
            let first = block * LANES;
            let genotypes = &genotypes[first..genotypes.len().min(first + LANES)];
            let values = self.distinct.evaluate(genotypes, scratch);
            let lanes = (0..genotypes.len()).map(|lane| {
                answers.clear();
                let all = self.members.iter().map(|&place| values[place][lane]);
                answers.extend(all.filter(|v| v.is_finite()));
                f(answers)
            });
            lanes.collect::<Vec<T>>()
        });
        results.into_iter().flatten().collect()
    }
}

impl Predictor for RbfEnsemble {
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64> {
        self.map_answers(genotypes, threads, |answers| self.aggregate.of(answers))
    }

    /// Over the members.
    fn deviations(&self, genotypes: &[Vec<u16>], threads: usize) -> Option<Vec<f64>> {
        Some(self.map_answers(genotypes, threads, |answers| deviation(answers)))
    }
}

/// The members that have a solution, in order.
fn fit_members(
    set: &TrainingSet,
    settings: &EnsembleSettings,
    seed: u64,
    threads: usize,
) -> Result<Vec<Interpolant>, FitError> {
    check_nugget(settings.nugget)?;
    if settings.members == 0 {
        return Err(FitError::Setting {
            name: "ensemble members",
            value: 0.0,
            expected: "at least 1",
        });
    }
    let genes = varying_genes(set.genotypes());
    if genes.is_empty() {
        return Err(FitError::NothingVaries {
            rows: set.genotypes().len(),
        });
    }
    let members: Vec<Interpolant> =
        ordered_map(settings.members, threads, Vec::new, |system, member| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(member as u64);
            draw_member(set, &genes, settings.nugget, &mut rng, system)
        })
        .into_iter()
        .flatten()
        .collect();
    if members.is_empty() {
        return Err(FitError::NoMember {
            members: settings.members,
        });
    }
    Ok(members)
}

/// The members that differ, and the place of each member among them. Members over the same genes and
/// rows have solved the same system. All that look at every gene do, and most of a small space.
fn distinct(members: &[Interpolant]) -> (Vec<&Interpolant>, Vec<usize>) {
    let mut places = HashMap::new();
    let mut distinct = Vec::new();
    let of_member = (members.iter())
        .map(|member| {
            *places
                .entry((&member.variables, &member.rows))
                .or_insert_with(|| {
                    distinct.push(member);
                    distinct.len() - 1
                })
        })
        .collect();
    (distinct, of_member)
}

/// One member over a random subset of `genes`, or `None` if no draw has a solution. `system` is
/// scratch memory.
fn draw_member(
    set: &TrainingSet,
    genes: &[usize],
    nugget: f64,
    rng: &mut ChaCha8Rng,
    system: &mut Vec<f64>,
) -> Option<Interpolant> {
    let mut genes = genes.to_vec();
    let mut order: Vec<usize> = (0..set.points().len()).collect();
    (0..MAX_DRAWS).find_map(|_| {
        let k = rng.random_range(1..=genes.len() as u32) as usize;
        let (chosen, _) = genes.partial_shuffle(rng, k);
        let mut variables = chosen.to_vec();
        variables.sort_unstable();
        order.shuffle(rng);
        let rows = set.distinct_rows(&order, &variables);
        // The tail alone has k + 1 unknowns. A member over one row, the other case that NAT
        // excludes, cannot occur: k is at least 1.
        if rows.len() <= k {
            return None;
        }
        Interpolant::fit(set, rows, variables, nugget, system)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{kendall_tau, rmse};

    /// The scaling of the paper's space of 22 genes.
    fn paper_scaling() -> Scaling {
        let mut lower = vec![0, 0];
        let mut alphabet = vec![17, 2];
        for _ in 0..5 {
            lower.extend([1, 1, 0, 0]);
            alphabet.extend([10; 4]);
        }
        Scaling::new(lower, alphabet)
    }

    /// Random genotypes of that space, the zeros of a stage at its end.
    fn genotypes(count: usize, seed: u64) -> Vec<Vec<u16>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| {
                let mut genes = vec![rng.random_range(0..17), rng.random_range(0..2)];
                for _ in 0..5 {
                    let depth = rng.random_range(2..=4);
                    genes.extend((0..4).map(|layer| match layer < depth {
                        true => rng.random_range(1..10),
                        false => 0,
                    }));
                }
                genes
            })
            .collect()
    }

    /// An error in percent to which every gene contributes, a few more than the others.
    fn additive_error(genes: &[u16], scaling: &Scaling) -> f64 {
        let gain: f64 = (scaling.point(genes).iter().enumerate())
            .map(|(gene, x)| (1.0 + 0.5 * (gene as f64).sin()) * x.sqrt())
            .sum();
        40.0 - gain
    }

    fn errors(genotypes: &[Vec<u16>]) -> Vec<f64> {
        let scaling = paper_scaling();
        (genotypes.iter())
            .map(|genes| additive_error(genes, &scaling))
            .collect()
    }

    fn settings(members: usize) -> EnsembleSettings {
        EnsembleSettings {
            members,
            ..EnsembleSettings::default()
        }
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn threads_do_not_change_a_bit_and_the_seed_does() {
        let (rows, fresh) = (genotypes(60, 1), genotypes(50, 2));
        let labels = errors(&rows);
        let predict = |seed, threads| {
            let model = RbfEnsemble::fit(
                &rows,
                &labels,
                &paper_scaling(),
                &settings(40),
                seed,
                threads,
            )
            .unwrap();
            assert_eq!(model.members(), 40);
            bits(&model.predict(&fresh, threads))
        };
        assert_eq!(predict(5, 1), predict(5, 2));
        assert_eq!(predict(5, 1), predict(5, 7));
        assert_ne!(predict(5, 1), predict(6, 1));
    }

    #[test]
    fn unseen_genotypes_are_ranked() {
        let (rows, fresh) = (genotypes(100, 3), genotypes(400, 4));
        let (labels, truth) = (errors(&rows), errors(&fresh));
        let constant = vec![labels.iter().sum::<f64>() / 100.0; 400];
        let constant_rmse = rmse(&constant, &truth).unwrap();
        for aggregate in [Aggregate::Median, Aggregate::Mean] {
            let settings = EnsembleSettings {
                aggregate,
                ..settings(200)
            };
            let model =
                RbfEnsemble::fit(&rows, &labels, &paper_scaling(), &settings, 0, 2).unwrap();
            let predicted = model.predict(&fresh, 2);
            assert!(
                kendall_tau(&predicted, &truth).unwrap() > 0.7,
                "{aggregate:?}"
            );
            assert!(
                rmse(&predicted, &truth).unwrap() < 0.7 * constant_rmse,
                "{aggregate:?}"
            );
        }
    }

    #[test]
    fn a_member_draws_again_until_it_has_rows_for_its_tail() {
        // Four rows allow at most three genes, though all 22 vary.
        let rows = [
            vec![
                0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0,
            ],
            vec![
                16, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
            ],
            vec![
                8, 1, 2, 7, 3, 0, 1, 5, 2, 9, 4, 6, 8, 0, 2, 2, 0, 0, 9, 1, 3, 4,
            ],
            vec![
                3, 0, 6, 2, 7, 8, 8, 1, 0, 0, 7, 3, 1, 5, 6, 8, 4, 0, 2, 5, 0, 0,
            ],
        ];
        let labels = [60.0, 20.0, 35.0, 40.0];
        let scaling = paper_scaling();
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let genes: Vec<usize> = (0..22).collect();
        let mut sizes = [0; 23];
        for stream in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            rng.set_stream(stream);
            let member = draw_member(&set, &genes, 1e-6, &mut rng, &mut Vec::new()).unwrap();
            sizes[member.variables.len()] += 1;
        }
        assert_eq!(sizes[1..=3].iter().sum::<i32>(), 200);
        assert!(sizes[1..=3].iter().all(|&count| count > 20), "{sizes:?}");
    }

    #[test]
    fn constant_genes_never_enter_a_member() {
        let mut rows = genotypes(50, 5);
        for row in &mut rows {
            row[0] = 4;
            row[1] = 1;
        }
        let (labels, scaling) = (errors(&rows), paper_scaling());
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let members = fit_members(&set, &settings(100), 0, 1).unwrap();
        assert_eq!(members.len(), 100);
        assert!((members.iter()).all(|member| member.variables[0] >= 2));
    }

    #[test]
    fn genes_that_repeat_each_other_never_meet_in_a_member() {
        let mut rows = genotypes(50, 6);
        for row in &mut rows {
            row[3] = row[2];
        }
        let (labels, scaling) = (errors(&rows), paper_scaling());
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let members = fit_members(&set, &settings(100), 0, 1).unwrap();
        assert_eq!(members.len(), 100);
        let holds = |member: &Interpolant, gene| member.variables.contains(&gene);
        assert!((members.iter()).all(|member| !(holds(member, 2) && holds(member, 3))));
        let model = RbfEnsemble::fit(&rows, &labels, &scaling, &settings(100), 0, 1).unwrap();
        let spread = model.predict_with_deviation(&rows, 1);
        assert!(
            spread
                .iter()
                .all(|(value, deviation)| value.abs() < 100.0 && *deviation < 50.0)
        );
    }

    #[test]
    fn repeated_rows_keep_one_label_each() {
        // Twice the same rows with labels 10 apart: a member over all genes takes one of the two.
        let scaling = Scaling::new(vec![0, 0], vec![5, 5]);
        let once: Vec<Vec<u16>> = (0..25).map(|i| vec![i % 5, i / 5]).collect();
        let rows = [once.clone(), once.clone()].concat();
        let labels: Vec<f64> = (0..50).map(|i| if i < 25 { 20.0 } else { 30.0 }).collect();
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let reversed: Vec<usize> = (0..50).rev().collect();
        assert_eq!(
            set.distinct_rows(&reversed, &[0, 1]),
            (25..50).collect::<Vec<_>>()
        );
        assert_eq!(set.distinct_rows(&reversed, &[1]), [29, 34, 39, 44, 49]);
        let model = RbfEnsemble::fit(&rows, &labels, &scaling, &settings(50), 1, 1).unwrap();
        let predicted = model.predict(&once, 1);
        assert!(
            predicted.iter().all(|p| (20.0..=30.0).contains(p)),
            "{predicted:?}"
        );
    }

    #[test]
    fn the_prediction_is_the_aggregate_of_the_members() {
        let rows = genotypes(40, 7);
        let (labels, scaling) = (errors(&rows), paper_scaling());
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let mut members = fit_members(&set, &settings(9), 0, 1).unwrap();
        let model = |members: &[Interpolant]| RbfEnsemble {
            distinct: Evaluator::new(&scaling, set.points(), &members.iter().collect::<Vec<_>>()),
            members: (0..members.len()).collect(),
            aggregate: Aggregate::Median,
        };
        let expected = model(&members).predict_with_deviation(&rows, 1);
        // Members that answer with NaN leave the others' median and deviation as they were.
        let mut failed = members[0].clone();
        failed.intercept = f64::NAN;
        members.push(failed);
        let model = model(&members);
        assert_eq!(model.predict_with_deviation(&rows, 1), expected);
        let values: Vec<f64> = expected.iter().map(|(value, _)| *value).collect();
        assert_eq!(model.predict(&rows, 1), values);
    }

    #[test]
    fn repeated_members_are_evaluated_once_and_count_each_time() {
        // Three genes have seven subsets, and no two rows are alike over any of them.
        let rows: Vec<Vec<u16>> = (0..12).map(|i| vec![i, i * 5 % 12, i * 7 % 12]).collect();
        let labels: Vec<f64> = (0..12).map(|i| f64::from(i * i % 7)).collect();
        let scaling = Scaling::new(vec![0; 3], vec![12; 3]);
        let model = RbfEnsemble::fit(&rows, &labels, &scaling, &settings(60), 0, 1).unwrap();
        assert_eq!(model.members(), 60);
        assert_eq!(model.distinct.interpolants(), 7);
        let set = TrainingSet::new(&rows, &labels, &scaling);
        let members = fit_members(&set, &settings(60), 0, 1).unwrap();
        let each = RbfEnsemble {
            distinct: Evaluator::new(&scaling, set.points(), &members.iter().collect::<Vec<_>>()),
            members: (0..60).collect(),
            aggregate: Aggregate::Median,
        };
        let fresh = [vec![3, 3, 3], vec![11, 0, 6]];
        assert_eq!(
            model.predict_with_deviation(&fresh, 1),
            each.predict_with_deviation(&fresh, 1)
        );
    }

    #[test]
    fn rows_without_variation_and_empty_ensembles_are_refused() {
        let fit = |rows: &[Vec<u16>], members| {
            let labels = vec![1.0; rows.len()];
            RbfEnsemble::fit(rows, &labels, &paper_scaling(), &settings(members), 0, 1).unwrap_err()
        };
        let rows = genotypes(1, 8);
        assert_eq!(fit(&rows, 5), FitError::NothingVaries { rows: 1 });
        assert_eq!(fit(&[], 5), FitError::NothingVaries { rows: 0 });
        assert_eq!(
            fit(&genotypes(3, 8), 0).to_string(),
            "ensemble members is 0, expected at least 1"
        );
    }
}
