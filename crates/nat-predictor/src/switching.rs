//! Choice among predictors by cross-validation.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::aggregate::{deviation, mean};
use crate::metrics::kendall_tau;
use crate::{FitError, Predictor};

/// A way to fit a predictor to rows and their labels.
pub type Fit<'a> = dyn Fn(&[Vec<u16>], &[f64]) -> Result<Box<dyn Predictor>, FitError> + 'a;

/// What became of a choice among predictors.
pub struct Switched {
    /// The winner, fitted to all rows.
    pub predictor: Box<dyn Predictor>,
    /// Its place among the candidates.
    pub winner: usize,
    /// Per candidate; nothing for one that could not be fitted to every part of the rows.
    pub scores: Vec<Option<RankScore>>,
}

/// Kendall's tau over the folds of a cross-validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankScore {
    /// Average over the folds, -1 to 1.
    pub mean: f64,
    /// Standard deviation over the folds.
    pub deviation: f64,
}

/// Fits the candidate that ranks rows best which it has not seen.
///
/// Each candidate is fitted to the rows outside each of `folds` random parts and ranks the rows
/// inside. The winner has the greatest mean less standard deviation of Kendall's tau, the first among
/// equals, and is fitted to all rows; where that fails, the next takes its place (adaptive switching of mikelzc1990/nsganetv2, with 10 folds). A
/// ranking that is all ties counts as 0.
///
/// # Errors
/// If there are fewer than two folds or fewer rows than twice their number, or if no candidate can be
/// fitted: then with the last one's reason.
pub fn switch(
    candidates: &[&Fit],
    genotypes: &[Vec<u16>],
    labels: &[f64],
    folds: usize,
    seed: u64,
    threads: usize,
) -> Result<Switched, FitError> {
    if genotypes.len() != labels.len() {
        return Err(FitError::LabelCount {
            rows: genotypes.len(),
            labels: labels.len(),
        });
    }
    if folds < 2 || genotypes.len() < 2 * folds {
        return Err(FitError::Setting {
            name: "folds",
            value: folds as f64,
            expected: "2 to half the number of rows",
        });
    }
    let mut order: Vec<usize> = (0..genotypes.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let held_out_tau = |fit: &Fit, fold: usize| -> Result<f64, FitError> {
        let part = |inside: bool| -> (Vec<Vec<u16>>, Vec<f64>) {
            (order.iter().enumerate())
                .filter(|(place, _)| (place % folds == fold) == inside)
                .map(|(_, &row)| (genotypes[row].clone(), labels[row]))
                .unzip()
        };
        let (rows, known) = part(false);
        let (held_out, measured) = part(true);
        let predicted = fit(&rows, &known)?.predict(&held_out, threads);
        Ok(kendall_tau(&predicted, &measured).unwrap_or(0.0))
    };
    let mut failure = FitError::Setting {
        name: "candidates",
        value: 0.0,
        expected: "at least 1",
    };
    let mut scores = Vec::with_capacity(candidates.len());
    let mut ranking: Vec<(f64, usize)> = Vec::new();
    for (i, fit) in candidates.iter().enumerate() {
        let taus: Result<Vec<f64>, FitError> =
            (0..folds).map(|fold| held_out_tau(fit, fold)).collect();
        scores.push(match taus {
            Ok(taus) => {
                let score = RankScore {
                    mean: mean(&taus),
                    deviation: deviation(&taus),
                };
                ranking.push((score.mean - score.deviation, i));
                Some(score)
            }
            Err(error) => {
                failure = error;
                None
            }
        });
    }
    ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, winner) in ranking {
        match candidates[winner](genotypes, labels) {
            Ok(predictor) => {
                return Ok(Switched {
                    predictor,
                    winner,
                    scores,
                });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::{ForestSettings, RandomForest, Rbf, Ridge, Scaling};

    fn rows() -> Vec<Vec<u16>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..90)
            .map(|_| (0..4).map(|_| rng.random_range(0..10)).collect())
            .collect()
    }

    fn scaling() -> Scaling {
        Scaling::new(vec![0; 4], vec![10; 4])
    }

    fn ridge(rows: &[Vec<u16>], labels: &[f64]) -> Result<Box<dyn Predictor>, FitError> {
        Ok(Box::new(Ridge::fit(rows, labels, &scaling(), 1e-3)?))
    }

    fn rbf(rows: &[Vec<u16>], labels: &[f64]) -> Result<Box<dyn Predictor>, FitError> {
        Ok(Box::new(Rbf::fit(rows, labels, &scaling(), 1e-6)?))
    }

    fn forest(rows: &[Vec<u16>], labels: &[f64]) -> Result<Box<dyn Predictor>, FitError> {
        let settings = ForestSettings {
            trees: 60,
            ..ForestSettings::default()
        };
        let forest = RandomForest::fit(rows, labels, &scaling(), &settings, 0, 1)?;
        Ok(Box::new(forest))
    }

    fn winner(function: impl Fn(&[u16]) -> f64) -> usize {
        let rows = rows();
        let labels: Vec<f64> = rows.iter().map(|row| function(row)).collect();
        let switched = switch(&[&ridge, &rbf, &forest], &rows, &labels, 5, 2, 1).unwrap();
        let merit = |score: &Option<RankScore>| score.map(|s| s.mean - s.deviation);
        let best = merit(&switched.scores[switched.winner]);
        assert!(switched.scores.iter().all(|score| merit(score) <= best));
        let expected = [ridge, rbf, forest][switched.winner](&rows, &labels).unwrap();
        assert_eq!(
            switched.predictor.predict(&rows, 1),
            expected.predict(&rows, 1),
            "the winner is fitted to all rows"
        );
        switched.winner
    }

    #[test]
    fn each_kind_of_function_finds_its_model() {
        // Noise that no model can learn, but that an interpolating one repeats.
        let noise = |row: &[u16]| {
            let mixed = row.iter().fold(7_u32, |h, &g| h * 31 + u32::from(g));
            f64::from(mixed.wrapping_mul(2_654_435_761) >> 16) / 65536.0
        };
        let linear = |row: &[u16]| f64::from(row[0]) + 0.5 * f64::from(row[1]) + 2.0 * noise(row);
        assert_eq!(winner(linear), 0);
        let bowl = |row: &[u16]| {
            let square = |gene: u16| (f64::from(gene) - 4.5).powi(2);
            row.iter().map(|&gene| square(gene)).sum()
        };
        assert_eq!(winner(bowl), 1);
        let checks = |row: &[u16]| {
            let low = |gene: usize| row[gene] < 5;
            f64::from(u8::from(low(0) == low(1))) * 10.0 + noise(row)
        };
        assert_eq!(winner(checks), 2);
    }

    #[test]
    fn candidates_that_fail_are_passed_over() {
        let rows = rows();
        let labels: Vec<f64> = (rows.iter())
            .map(|row| {
                row.iter()
                    .fold(0.0, |number, &gene| 10.0 * number + f64::from(gene))
            })
            .collect();
        let fails = |_: &[Vec<u16>], _: &[f64]| Err(FitError::Singular { variables: 4 });
        let switched = switch(&[&fails, &ridge], &rows, &labels, 10, 0, 1).unwrap();
        assert_eq!(switched.winner, 1);
        assert_eq!(switched.scores[0], None);
        let score = switched.scores[1].unwrap();
        assert!(score.mean > 0.98 && score.deviation < 0.03);
        let fails_on_all = |rows: &[Vec<u16>], labels: &[f64]| match rows.len() {
            90 => Err(FitError::Singular { variables: 4 }),
            _ => ridge(rows, labels),
        };
        let switched = switch(&[&fails_on_all, &ridge], &rows, &labels, 10, 0, 1).unwrap();
        assert_eq!(switched.scores[0], switched.scores[1]);
        assert_eq!(switched.winner, 1);
        let error = switch(&[&fails], &rows, &labels, 10, 0, 1).err();
        assert_eq!(error, Some(FitError::Singular { variables: 4 }));
    }

    #[test]
    fn too_many_folds_and_no_candidates_are_refused() {
        let (rows, labels) = (rows(), vec![1.0; 90]);
        let said = |candidates: &[&Fit], folds| {
            switch(candidates, &rows, &labels, folds, 0, 1)
                .err()
                .map(|error| error.to_string())
        };
        let expected = Some("folds is 46, expected 2 to half the number of rows".to_string());
        assert_eq!(said(&[&ridge], 46), expected);
        assert!(said(&[&ridge], 1).is_some());
        let expected = Some("candidates is 0, expected at least 1".to_string());
        assert_eq!(said(&[], 5), expected);
    }
}
