//! An opened data set.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use crate::archive;
use crate::cache::Cache;
use crate::census::Census;
use crate::entry::{Listing, Warning};
use crate::error::DataError;
use crate::folder;
use crate::intake::{self, Intake};
use crate::picture::RgbImage;
use crate::sample::Sample;
use crate::scale::Scaler;
use crate::split::Split;

/// What a data set is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenFor {
    /// Training, and all that comes after it: there must be at least two classes, each with images in the training
    /// split, and splits that the set lacks are drawn from that one.
    #[default]
    Training,
    /// Measuring networks that have learned already: one class will do, and so will a single split, `test/CLASS/IMAGE`
    /// with nothing beside it. Splits are drawn where training would draw them, and the same images; where training
    /// would refuse the set for its classes, everything stays where it is: what lies in no split folder in the training split, and
    /// splits without images are empty.
    Evaluation,
}

/// How to open a data set.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// What is asked of the set.
    pub open_for: OpenFor,
    /// Draws the splits that the set does not have.
    pub seed: u64,
    /// Share of each class's training images that becomes the search split, if the set has none.
    pub val_fraction: f64,
    /// Share of each class's training images that becomes the test split, if the set has none.
    pub test_fraction: f64,
    /// Threads that decode while opening; results do not depend on it.
    pub threads: usize,
    /// Largest picture, in pixels by its header.
    pub max_pixels: u64,
    /// Largest unpacked archive, in bytes. Its images stay in memory, those of a folder do not.
    pub max_archive_bytes: u64,
    /// Decoded pictures kept in memory, in bytes, whole ones and reduced ones together. What no longer
    /// fits is decoded each time it is asked for.
    pub cache_bytes: u64,
    /// Pictures are shrunk to this shorter side when decoded, so that large photos fit the cache
    /// and each epoch resamples few pixels. `None` keeps every pixel. About twice the largest
    /// resolution loses nothing visible.
    pub max_shorter_side: Option<usize>,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            open_for: OpenFor::default(),
            seed: 0,
            val_fraction: 0.15,
            test_fraction: 0.15,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_pixels: 64 << 20,
            max_archive_bytes: 4 << 30,
            cache_bytes: 512 << 20,
            max_shorter_side: None,
        }
    }
}

/// Labelled images in three splits, all of them known to decode.
///
/// Classes are sorted by name and numbered from 0; images of a split are sorted by path.
#[derive(Debug)]
pub struct ImageSet {
    classes: Vec<String>,
    labels: [Vec<usize>; 3],
    samples: [Vec<Sample>; 3],
    census: Census,
    cache: Cache,
    max_pixels: u64,
    max_shorter_side: Option<usize>,
}

impl ImageSet {
    /// Opens a folder or a tar (plain or gzip, told apart by content) of class folders, with or without
    /// `train/` (`training/`), `val/` (`valid/`, `validation/`, `dev/`) and `test/` (`testing/`) around them, whatever
    /// their case; `eval/` and `evaluation/` are the test split, or the search split where there is a `test/`.
    ///
    /// Every image is read and decoded once, so that later reads do not fail; what cannot be used is passed
    /// over with a [`Warning`]. Pictures that are byte for byte in two classes are dropped from
    /// both. Splits that the set lacks are drawn from its training images, class by class; exact
    /// duplicates stay in one split. [`OpenFor`] says what else is asked of the set. Hidden files and files that are no
    /// images are ignored; symbolic links are not followed.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<ImageSet, DataError> {
        let name = path.display().to_string();
        let refused = |source| DataError::Read {
            path: name.clone(),
            source,
        };
        let metadata = fs::metadata(path).map_err(refused)?;
        let listing = if metadata.is_dir() {
            folder::list(path)?
        } else if metadata.is_file() {
            let file = File::open(path).map_err(refused)?;
            archive::read(
                &name,
                BufReader::with_capacity(1 << 16, file),
                options.max_archive_bytes,
            )?
        } else {
            return Err(DataError::NotADataSet { path: name });
        };
        ImageSet::from_listing(name, listing, options)
    }

    /// Opens a tar (plain or gzip) that is already in memory; `name` stands for it in messages.
    pub fn from_bytes(
        name: &str,
        tar: &[u8],
        options: &OpenOptions,
    ) -> Result<ImageSet, DataError> {
        let listing = archive::read(name, tar, options.max_archive_bytes)?;
        ImageSet::from_listing(name.to_owned(), listing, options)
    }

    fn from_listing(
        name: String,
        listing: Listing,
        options: &OpenOptions,
    ) -> Result<ImageSet, DataError> {
        let Intake { samples, census } = intake::take_in(name, listing, options)?;
        let classes: Vec<String> = census.classes.iter().map(|c| c.name.clone()).collect();
        let images = samples.iter().map(Vec::len).sum();
        let label = |sample: &Sample| classes.partition_point(|class| *class < sample.place.class);
        let labels = [0, 1, 2].map(|split: usize| samples[split].iter().map(label).collect());
        Ok(ImageSet {
            classes,
            labels,
            samples,
            census,
            cache: Cache::new(images, options.cache_bytes),
            max_pixels: options.max_pixels,
            max_shorter_side: options.max_shorter_side,
        })
    }

    /// Class names, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of images in a split, at least 1 where the set was opened for training.
    pub fn len(&self, split: Split) -> usize {
        self.samples[split as usize].len()
    }

    /// Label of image `i` of a split.
    ///
    /// # Panics
    /// If `i` is not below [`len`](ImageSet::len).
    pub fn label(&self, split: Split, i: usize) -> usize {
        self.labels[split as usize][i]
    }

    /// Labels of a split, in image order.
    pub fn labels(&self, split: Split) -> &[usize] {
        &self.labels[split as usize]
    }

    /// Path of image `i` of a split inside the data set, escaped as in [`Warning::path`].
    ///
    /// # Panics
    /// If `i` is not below [`len`](ImageSet::len).
    pub fn path(&self, split: Split, i: usize) -> &str {
        &self.samples[split as usize][i].path
    }

    /// Everything that was passed over or looks wrong, by path.
    pub fn warnings(&self) -> &[Warning] {
        &self.census.warnings
    }

    /// 16 hexadecimal digits (of a SHA-256) over split, class, path and content of every image used. The
    /// same for a folder and an archive of it, however it is compressed, but for images that
    /// the archive stores as hard links to files that are hidden or not called like images, or under paths of more than 4096
    /// bytes or 64 components: those are passed over there, with a warning.
    pub fn hash(&self) -> &str {
        &self.census.hash
    }

    /// What the set holds.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Image `i` of a split: upright RGB, shrunk to the options' shorter side, from the cache if it
    /// is there.
    ///
    /// # Errors
    /// If the file is not what it was when the set was opened.
    ///
    /// # Panics
    /// If `i` is not below [`len`](ImageSet::len).
    pub fn image(&self, split: Split, i: usize) -> Result<Arc<RgbImage>, DataError> {
        let slot = self.slot(split, i);
        if let Some(picture) = self.cache.whole(slot) {
            return Ok(picture);
        }
        let picture = Arc::new(self.decode(split, i)?);
        self.cache.keep_whole(slot, &picture);
        Ok(picture)
    }

    /// [`image`](ImageSet::image) shrunk to a shorter side of `side` pixels, at least 1, or as it is
    /// where that would not halve its pixels.
    ///
    /// A reduced picture takes its place in the cache instead of the whole one; the first side that is
    /// asked for is the one that is kept.
    ///
    /// # Errors
    /// If the file is not what it was when the set was opened.
    ///
    /// # Panics
    /// If `i` is not below [`len`](ImageSet::len), or `side` is 0.
    pub fn reduced(&self, split: Split, i: usize, side: usize) -> Result<Arc<RgbImage>, DataError> {
        assert!(side > 0, "pictures of no pixels");
        let sample = &self.samples[split as usize][i];
        let shorter = sample.width.min(sample.height);
        let shorter = self
            .max_shorter_side
            .map_or(shorter, |max| shorter.min(max));
        if shorter * shorter < 2 * side * side {
            return self.image(split, i);
        }
        let slot = self.slot(split, i);
        if let Some(picture) = self.cache.reduced(slot, side) {
            return Ok(picture);
        }
        let mut scaler = Scaler::default();
        let picture = Arc::new(match self.cache.whole(slot) {
            Some(whole) => scaler.shrink(&whole, side),
            None => scaler.shrink(&self.decode(split, i)?, side),
        });
        self.cache.keep_reduced(slot, &picture);
        Ok(picture)
    }

    /// Number of an image among those of all splits.
    fn slot(&self, split: Split, i: usize) -> usize {
        let images = self.len(split);
        assert!(i < images, "image {i} of a split of {images}");
        let before = self.samples[..split as usize].iter().map(Vec::len);
        before.sum::<usize>() + i
    }

    fn decode(&self, split: Split, i: usize) -> Result<RgbImage, DataError> {
        let picture = self.samples[split as usize][i].decode(self.max_pixels)?;
        Ok(match self.max_shorter_side {
            Some(side) => picture.at_most(side),
            None => picture,
        })
    }
}
