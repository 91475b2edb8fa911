//! Evolutionary many-objective search over strings of small integers.
//!
//! Every objective is minimised. A set of objective vectors is a slice of rows (`&[Vec<f64>]`,
//! `&[&[f64]]`, ...), one row an individual, and functions that choose among rows return row
//! numbers.
//!
//! - [`non_dominated_sort`], [`non_dominated`], [`dominates`]: Pareto dominance.
//! - [`das_dennis`], [`two_layer`], [`riesz`]: reference directions on the unit simplex.
//! - [`survive`], [`survive_crowding`]: environmental selection of NSGA-III and NSGA-II, usable on
//!   their own, [`fittest`] with constraints; [`Normalizer`] and [`TieBreak`] are what the first one carries between calls.
//! - [`Search`]: the ask-and-tell engine, serialisable between any two calls; [`evolve`] drives it.
//! - [`hypervolume`], [`hypervolume_estimate`], [`contributions`], [`igd`], [`igd_plus`], [`epsilon`]:
//!   quality of a front.
//! - [`high_tradeoff`]: the points of a front that are expensive to leave.
//!
//! ```
//! use nat_moo::{Algorithm, Crossover, Gene, Individual, Search, Settings, Variables, evolve, riesz};
//!
//! // All genes cost the first objective; the last three pay off in the second.
//! fn objectives(genes: &[Gene]) -> Vec<f64> {
//!     let sum = |genes: &[Gene]| genes.iter().map(|&gene| f64::from(gene)).sum::<f64>();
//!     vec![sum(genes), 27.0 - sum(&genes[3..])]
//! }
//!
//! let variables = Variables { lower: vec![0; 6], upper: vec![9; 6] };
//! let settings = Settings {
//!     population: 20,
//!     offspring: 20,
//!     crossover: Crossover::Uniform,
//!     crossover_probability: 0.9,
//!     mutation_probability: 0.1,
//!     eta: 1.0,
//!     algorithm: Algorithm::Nsga3 { directions: riesz(2, 20, 42) },
//! };
//! let start = vec![9; 6];
//! let initial = vec![Individual::new(start.clone(), objectives(&start))];
//! let mut search = Search::new(variables, settings, initial, 1)?;
//! evolve(&mut search, 50, &|_| {}, |children| {
//!     children.iter().map(|genes| objectives(genes)).collect()
//! })?;
//! assert!(search.result().iter().all(|individual| individual.genes[..3] == [0, 0, 0]));
//! # Ok::<(), nat_moo::SearchError>(())
//! ```
//!
//! Randomness comes from ChaCha8 through [`Draws`] alone, so a seed means the same numbers on every
//! machine and with every later version of the libraries below.

mod crowding;
mod directions;
mod dominance;
mod draws;
mod error;
mod estimate;
mod hypervolume;
mod indicators;
mod individual;
mod normalize;
mod operators;
mod registry;
mod riesz;
mod search;
mod settings;
mod survival;
mod tournament;
mod tradeoff;
mod variables;

pub use crowding::{crowding_distance, survive_crowding};
pub use directions::{concentrated, das_dennis, two_layer};
pub use dominance::{dominates, non_dominated, non_dominated_sort};
pub use draws::{Draws, TieBreak};
pub use error::SearchError;
pub use estimate::hypervolume_estimate;
pub use hypervolume::{contributions, hypervolume};
pub use indicators::{epsilon, igd, igd_plus};
pub use individual::Individual;
pub use normalize::Normalizer;
pub use operators::Crossover;
pub use riesz::riesz;
pub use search::{Search, evolve, fittest};
pub use settings::{Algorithm, Settings};
pub use survival::{Association, associate, survive};
pub use tradeoff::high_tradeoff;
pub use variables::{Gene, Variables};

#[cfg(test)]
mod golden;
