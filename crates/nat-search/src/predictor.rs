//! The predictor of what has to be measured.

use nat_predictor::{
    EnsembleSettings, Fit, FitError, ForestSettings, GaussianProcess, Predictor, RandomForest, Rbf,
    RbfEnsemble, Ridge, Scaling,
};
use nat_space::{Genotype, Space};
use serde::{Deserialize, Serialize};

/// The model that predicts errors and whatever else is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PredictorKind {
    /// Cubic RBF models, each on a random subset of the genes: NAT's.
    #[default]
    RbfEnsemble,
    /// One cubic RBF model on all genes.
    Rbf,
    /// Linear.
    Ridge,
    /// Gaussian process, Matérn 5/2 with noise.
    Gp,
    /// Random forest.
    Forest,
    /// The one of the others that ranks held-out rows best, chosen anew in every iteration.
    Switching,
}

/// Parts of the cross-validation by which [`PredictorKind::Switching`] chooses (mikelzc1990/nsganetv2).
const FOLDS: usize = 10;
/// Nugget of the single RBF model and penalty of the linear one: labels are means over a search split
/// and carry noise, which neither should repeat.
const NUGGET: f64 = 1e-3;

/// What a predictor learns from, and how.
pub struct Training<'a> {
    /// The space of the genotypes.
    pub space: &'a Space,
    /// Genotypes, a row each.
    pub genes: &'a [Vec<u16>],
    /// Their measured values.
    pub values: &'a [f64],
    /// Members of the ensemble.
    pub ensemble: usize,
    /// Seed of its random choices.
    pub seed: u64,
    /// Threads that it may use; they do not change the result.
    pub threads: usize,
}

/// Genotypes as predictors take them.
pub(crate) fn rows<'a>(genotypes: impl IntoIterator<Item = &'a Genotype>) -> Vec<Vec<u16>> {
    let genes = |genotype: &Genotype| genotype.as_slice().to_vec();
    genotypes.into_iter().map(genes).collect()
}

impl PredictorKind {
    /// Every kind.
    pub const ALL: [PredictorKind; 6] = [
        PredictorKind::RbfEnsemble,
        PredictorKind::Rbf,
        PredictorKind::Ridge,
        PredictorKind::Gp,
        PredictorKind::Forest,
        PredictorKind::Switching,
    ];

    /// Those that `Switching` chooses from, the cheapest first: of models that rank alike, the first is taken.
    pub const SINGLE: [PredictorKind; 5] = [
        PredictorKind::Ridge,
        PredictorKind::Rbf,
        PredictorKind::Gp,
        PredictorKind::RbfEnsemble,
        PredictorKind::Forest,
    ];

    /// The name in configurations and reports.
    pub fn name(self) -> &'static str {
        match self {
            PredictorKind::RbfEnsemble => "rbf-ensemble",
            PredictorKind::Rbf => "rbf",
            PredictorKind::Ridge => "ridge",
            PredictorKind::Gp => "gp",
            PredictorKind::Forest => "forest",
            PredictorKind::Switching => "switching",
        }
    }

    /// Fits the model and says which it is: of [`PredictorKind::Switching`] the winner; the linear one where the rows do not
    /// suffice for the single RBF model, or for a choice.
    ///
    /// # Errors
    /// Rows that are not of the space, too few of them, or no gene that varies.
    pub fn fit(
        self,
        training: &Training<'_>,
    ) -> Result<(PredictorKind, Box<dyn Predictor>), FitError> {
        if self == PredictorKind::Switching && training.genes.len() >= 4 {
            return switch(training);
        }
        let fit = |kind: PredictorKind| {
            let model = kind.fit_rows(training, training.genes, training.values)?;
            Ok((kind, model))
        };
        match self {
            PredictorKind::Switching => fit(PredictorKind::Ridge),
            // Genes that vary together over the archive leave its system singular, in every resume again.
            PredictorKind::Rbf => match fit(self) {
                Err(FitError::Singular { .. } | FitError::TooFewRows { .. }) => {
                    fit(PredictorKind::Ridge)
                }
                fitted => fitted,
            },
            _ => fit(self),
        }
    }

    fn fit_rows(
        self,
        training: &Training<'_>,
        genes: &[Vec<u16>],
        errors: &[f64],
    ) -> Result<Box<dyn Predictor>, FitError> {
        let &Training {
            space,
            ensemble,
            seed,
            threads,
            ..
        } = training;
        let scaling = Scaling::new(space.lower(), space.alphabet_sizes());
        Ok(match self {
            PredictorKind::RbfEnsemble | PredictorKind::Switching => {
                let settings = EnsembleSettings {
                    members: ensemble,
                    ..EnsembleSettings::default()
                };
                Box::new(RbfEnsemble::fit(
                    genes, errors, &scaling, &settings, seed, threads,
                )?)
            }
            PredictorKind::Rbf => Box::new(Rbf::fit(genes, errors, &scaling, NUGGET)?),
            PredictorKind::Ridge => Box::new(Ridge::fit(genes, errors, &scaling, NUGGET)?),
            PredictorKind::Gp => Box::new(GaussianProcess::fit(genes, errors, &scaling)?),
            PredictorKind::Forest => {
                let settings = ForestSettings::default();
                Box::new(RandomForest::fit(
                    genes, errors, &scaling, &settings, seed, threads,
                )?)
            }
        })
    }
}

fn switch(training: &Training<'_>) -> Result<(PredictorKind, Box<dyn Predictor>), FitError> {
    let fits = PredictorKind::SINGLE.map(|kind| {
        move |genes: &[Vec<u16>], errors: &[f64]| kind.fit_rows(training, genes, errors)
    });
    let candidates: Vec<&Fit<'_>> = fits.iter().map(|fit| fit as &Fit<'_>).collect();
    let folds = FOLDS.min(training.genes.len() / 2);
    let chosen = nat_predictor::switch(
        &candidates,
        training.genes,
        training.values,
        folds,
        training.seed,
        training.threads,
    )?;
    Ok((PredictorKind::SINGLE[chosen.winner], chosen.predictor))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn switching_chooses_from_all_others() {
        for kind in PredictorKind::ALL {
            let single = PredictorKind::SINGLE.contains(&kind);
            assert_eq!(single, kind != PredictorKind::Switching, "{}", kind.name());
        }
    }

    #[test]
    fn every_model_ranks_networks_by_a_smooth_error() {
        let space = Space::builtin("tiny").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let genotypes: Vec<Genotype> = (0..160).map(|_| space.sample(&mut rng)).collect();
        let genes = rows(&genotypes);
        let error = |genes: &Vec<u16>| {
            let sum: f64 = genes.iter().map(|&gene| f64::from(gene)).sum();
            60.0 - sum - 0.02 * sum * sum
        };
        let errors: Vec<f64> = genes.iter().map(error).collect();
        let training = Training {
            space: &space,
            genes: &genes[..100],
            values: &errors[..100],
            ensemble: 100,
            seed: 3,
            threads: 1,
        };
        let tau = |model: &dyn Predictor| {
            let predicted = model.predict(&genes[100..], 1);
            nat_predictor::metrics::kendall_tau(&predicted, &errors[100..]).unwrap()
        };
        let mut best: f64 = 0.0;
        let single = |kind: &PredictorKind| *kind != PredictorKind::Switching;
        for kind in PredictorKind::ALL.into_iter().filter(single) {
            let (fitted, model) = kind.fit(&training).unwrap();
            assert_eq!(fitted, kind);
            let tau = tau(&*model);
            assert!(tau > 0.5, "{}: {tau}", kind.name());
            best = best.max(tau);
        }
        let (chosen, model) = PredictorKind::Switching.fit(&training).unwrap();
        assert_ne!(chosen, PredictorKind::Switching);
        assert!(tau(&*model) > best - 0.05, "{}", chosen.name());
    }

    #[test]
    fn rows_that_do_not_suffice_get_the_linear_model() {
        let space = Space::builtin("tiny").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let genotypes: Vec<Genotype> = (0..5).map(|_| space.sample(&mut rng)).collect();
        let genes = rows(&genotypes);
        let fitted = |kind: PredictorKind, rows: usize| {
            let training = Training {
                space: &space,
                genes: &genes[..rows],
                values: &[30.0, 20.0, 25.0, 28.0, 22.0][..rows],
                ensemble: 10,
                seed: 3,
                threads: 1,
            };
            kind.fit(&training).unwrap().0
        };
        assert_eq!(fitted(PredictorKind::Rbf, 5), PredictorKind::Ridge);
        assert_eq!(fitted(PredictorKind::Switching, 3), PredictorKind::Ridge);
        assert_eq!(fitted(PredictorKind::Forest, 5), PredictorKind::Forest);
    }

    #[test]
    fn names_are_those_of_configurations() {
        for kind in PredictorKind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{}\"", kind.name()));
        }
    }
}
