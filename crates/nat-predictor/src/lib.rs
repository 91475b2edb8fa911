//! Accuracy predictors for neural architectures, and the metrics that judge them.
//!
//! A predictor is fitted on a few dozen genotypes with a measured error and then ranks thousands
//! that nobody has measured. Genotypes are strings of small integers; [`Scaling`] says how they are
//! mapped to the unit box. The models share the [`Predictor`] trait:
//!
//! | model | what it is | when |
//! |---|---|---|
//! | [`RbfEnsemble`] | 500 cubic RBF models, each on a random subset of the genes | few rows and many genes; what the paper's reproduction has |
//! | [`Rbf`] | one cubic RBF model on all genes | a landscape without irrelevant genes |
//! | [`GaussianProcess`] | Kriging, Matérn 5/2, a length scale for each gene | an error that knows its own size |
//! | [`RandomForest`] | regression trees | a landscape with steps |
//! | [`Ridge`] | linear, shrunk | the baseline that the others have to beat |
//!
//! [`switch`] chooses among them by cross-validation. [`metrics`] has RMSE, Pearson's r, Spearman's rho and Kendall's tau.

mod aggregate;
mod elimination;
mod ensemble;
mod error;
mod evaluator;
mod forest;
mod gaussian_process;
mod interpolant;
pub mod metrics;
mod parallel;
mod rbf;
mod ridge;
mod scaling;
mod switching;

pub use aggregate::Aggregate;
pub use ensemble::{EnsembleSettings, RbfEnsemble};
pub use error::FitError;
pub use forest::{ForestSettings, RandomForest};
pub use gaussian_process::GaussianProcess;
pub use rbf::Rbf;
pub use ridge::Ridge;
pub use scaling::Scaling;
pub use switching::{Fit, RankScore, Switched, switch};

/// A fitted model that maps genotypes to the quantity it was fitted on.
pub trait Predictor: Send + Sync {
    /// One prediction per genotype, in the order given and in the unit of the training labels.
    ///
    /// `threads` bounds the threads used and never changes a bit of the result.
    ///
    /// # Panics
    /// If a genotype has another number of genes than those the model was fitted on.
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64>;

    /// The standard deviation of each prediction, in the unit of the training labels; nothing from a
    /// model that does not know it.
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    fn deviations(&self, genotypes: &[Vec<u16>], threads: usize) -> Option<Vec<f64>> {
        let _ = (genotypes, threads);
        None
    }
}
