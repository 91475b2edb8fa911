//! Labelled image folders and tars as deterministic batches.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use nat_data::*;
//!
//! # fn main() -> Result<(), DataError> {
//! let set = Arc::new(ImageSet::open(Path::new("photos.tar.gz"), &OpenOptions::default())?);
//! let transform = Transform::Eval(EvalTransform {
//!     filter: Filter::Bicubic,
//!     crop_ratio: 0.875,
//!     normalisation: Normalisation::IMAGENET,
//! });
//! let images: Vec<usize> = (0..set.len(Split::Val)).collect();
//! let requests: Vec<BatchRequest> = images.chunks(64).map(|part| BatchRequest {
//!     split: Split::Val,
//!     indices: part.to_vec(),
//!     resolution: 192,
//!     key: StreamKey([0; 4]),
//! }).collect();
//! for batch in Loader::new(set.clone(), transform, requests, 2, 4) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.labels.len() * 3 * 192 * 192);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`ImageSet`] opens a folder or an archive, checks every image once and divides it into
//! [`Split`]s. A [`Transform`] turns a picture into network input; [`batch()`] does that for the
//! images of one [`BatchRequest`], and [`Loader`] for many, ahead of their use. Random views take
//! their numbers from the [`StreamKey`] of the request, so neither the number of threads nor
//! the cache nor an interruption changes a batch.

mod archive;
mod batch;
mod cache;
mod census;
mod duplicates;
mod entry;
mod error;
mod eval;
mod folder;
mod intake;
mod jpeg;
mod layout;
mod loader;
mod mix;
mod normalise;
mod parallel;
mod passed_over;
mod picture;
mod planes;
mod rand_augment;
mod sample;
mod scale;
mod set;
mod split;
mod stream;
mod tone;
mod train;
mod warp;

pub use batch::{Batch, BatchRequest, Transform, batch};
pub use census::{Census, ClassCounts, SplitCounts, Spread};
pub use entry::Warning;
pub use error::DataError;
pub use eval::EvalTransform;
pub use loader::Loader;
pub use mix::{Mixing, Mixture};
pub use normalise::Normalisation;
pub use passed_over::PassedOver;
pub use picture::{ImageFault, RgbImage};
pub use planes::input_index;
pub use rand_augment::RandAugment;
pub use scale::{Filter, Scaler};
pub use set::{ImageSet, OpenFor, OpenOptions};
pub use split::Split;
pub use stream::{StreamKey, shuffled};
pub use train::TrainTransform;
