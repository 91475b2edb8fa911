//! An opened data set.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::archive;
use crate::cache::Cache;
use crate::census::{Census, ClassCounts, SplitCounts, Spread};
use crate::entry::{Encoded, Listing, MAX_FILE_BYTES, Warning};
use crate::error::DataError;
use crate::folder;
use crate::layout::{self, Place};
use crate::parallel::in_order;
use crate::picture::{ImageFault, RgbImage};
use crate::scale::Scaler;
use crate::split::{Split, stratify};
use crate::stream::StreamKey;

/// Fourth word of the key from which missing splits are drawn; keeps them apart from the caller's
/// streams of the same seed.
const SPLIT_STREAM: u64 = u64::from_le_bytes(*b"nat-data");

/// How to open a data set.
#[derive(Debug, Clone)]
pub struct OpenOptions {
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
    /// Decoded pictures kept in memory, in bytes.
    pub cache_bytes: u64,
    /// Pictures are shrunk to this shorter side when decoded, so that large photos fit the cache
    /// and each epoch resamples few pixels. `None` keeps every pixel. About twice the largest
    /// resolution loses nothing visible.
    pub max_shorter_side: Option<usize>,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
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
    samples: [Vec<Sample>; 3],
    census: Census,
    cache: Cache,
    max_pixels: u64,
    max_shorter_side: Option<usize>,
}

#[derive(Debug)]
struct Sample {
    path: String,
    below_root: String,
    label: usize,
    encoded: Encoded,
    digest: [u8; 32],
    width: usize,
    height: usize,
}

impl ImageSet {
    /// Opens a folder or a tar (plain or gzip, told apart by content) of class folders, with or without
    /// `train/`, `val/` (`valid/`, `validation/`) and `test/` around them.
    ///
    /// Every image is read and decoded once, so that later reads do not fail; what cannot be used is passed
    /// over with a [`Warning`]. Pictures that are byte for byte in two classes are dropped from
    /// both. Splits that the set lacks are drawn from its training images, class by class; exact
    /// duplicates stay in one split. Hidden files and files that are no images are ignored; links
    /// are not followed.
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
        let Listing {
            folders,
            images,
            mut warnings,
            skipped,
            ignored,
        } = listing;
        let files = images.len() + skipped;
        let paths: Vec<&str> = images.keys().map(String::as_str).collect();
        let layout = layout::read(&name, &folders, &paths)?;
        warnings.extend(layout.warnings);

        let placed: Vec<(String, Encoded, Place)> = images
            .into_iter()
            .zip(layout.places)
            .filter_map(|((path, encoded), place)| Some((path, encoded, place?)))
            .collect();
        let seen = in_order(&placed, options.threads, |(_, encoded, _)| {
            inspect(encoded, options.max_pixels)
        });
        let mut found = Vec::with_capacity(placed.len());
        for ((path, encoded, place), seen) in placed.into_iter().zip(seen) {
            match seen {
                Ok(Seen {
                    digest,
                    width,
                    height,
                }) => {
                    let sample = Sample {
                        path,
                        below_root: place.below_root,
                        label: 0,
                        encoded,
                        digest,
                        width,
                        height,
                    };
                    found.push((sample, place.class, place.split));
                }
                Err(reason) => warnings.push(Warning { path, reason }),
            }
        }
        drop_ambiguous(&mut found, &mut warnings);

        let mut classes: Vec<String> = found.iter().map(|(_, class, _)| class.clone()).collect();
        classes.sort_unstable();
        classes.dedup();
        for (class, path) in layout.class_folders {
            if classes.binary_search(&class).is_err() {
                warnings.push(Warning {
                    path,
                    reason: "class folder without usable images: left out".to_owned(),
                });
            }
        }
        match &classes[..] {
            [] => {
                return Err(DataError::NoImages {
                    path: name,
                    skipped: files,
                });
            }
            [class] => {
                return Err(DataError::OneClass {
                    path: name,
                    class: class.clone(),
                });
            }
            _ => {}
        }

        let mut pools: [Vec<Sample>; 3] = Default::default();
        for (mut sample, class, split) in found {
            sample.label = classes.partition_point(|known| *known < class);
            pools[split.unwrap_or(Split::Train) as usize].push(sample);
        }
        check_train_classes(&name, &classes, &pools)?;
        let drawn: Vec<Split> = [Split::Val, Split::Test]
            .into_iter()
            .filter(|&split| pools[split as usize].is_empty())
            .collect();
        draw_splits(&name, &classes, &mut pools, &drawn, options)?;
        warn_of_gaps(&classes, &pools, &mut warnings);
        warn_of_leaks(&pools, &mut warnings);
        warnings.sort();
        warnings.dedup();

        let used = pools.iter().map(Vec::len).sum();
        let count = |label: usize, split: Split| {
            pools[split as usize]
                .iter()
                .filter(|s| s.label == label)
                .count()
        };
        let census = Census {
            name,
            hash: content_hash(&classes, &pools),
            images: SplitCounts::of(|split| pools[split as usize].len()),
            classes: classes
                .iter()
                .enumerate()
                .map(|(label, name)| ClassCounts {
                    name: name.clone(),
                    images: SplitCounts::of(|split| count(label, split)),
                })
                .collect(),
            drawn,
            width: Spread::of(pools.iter().flatten().map(|s| s.width).collect()),
            height: Spread::of(pools.iter().flatten().map(|s| s.height).collect()),
            files,
            skipped: files - used,
            ignored,
            warnings,
        };
        Ok(ImageSet {
            classes,
            samples: pools,
            census,
            cache: Cache::new(used, options.cache_bytes),
            max_pixels: options.max_pixels,
            max_shorter_side: options.max_shorter_side,
        })
    }

    /// Class names, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of images in a split, at least 1.
    pub fn len(&self, split: Split) -> usize {
        self.samples[split as usize].len()
    }

    /// Label of image `i` of a split.
    ///
    /// # Panics
    /// If `i` is not below [`len`](ImageSet::len).
    pub fn label(&self, split: Split, i: usize) -> usize {
        self.samples[split as usize][i].label
    }

    /// Labels of a split, in image order.
    pub fn labels(&self, split: Split) -> Vec<usize> {
        self.samples[split as usize]
            .iter()
            .map(|sample| sample.label)
            .collect()
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
    /// same for a folder and an archive of it, however it is compressed.
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
        let sample = &self.samples[split as usize][i];
        let slot = self.samples[..split as usize]
            .iter()
            .map(Vec::len)
            .sum::<usize>()
            + i;
        if let Some(picture) = self.cache.get(slot) {
            return Ok(picture);
        }
        let mut picture = sample.decode(self.max_pixels)?;
        if let Some(side) = self.max_shorter_side {
            picture = Scaler::default().limit_shorter_side(picture, side);
        }
        let picture = Arc::new(picture);
        self.cache.keep(slot, &picture);
        Ok(picture)
    }
}

impl Sample {
    fn decode(&self, max_pixels: u64) -> Result<RgbImage, DataError> {
        let changed = |reason: String| DataError::Changed {
            path: self.path.clone(),
            reason,
        };
        match &self.encoded {
            Encoded::Memory(bytes) => {
                RgbImage::decode(bytes, max_pixels).map_err(|fault| changed(fault.to_string()))
            }
            Encoded::File(location) => {
                let bytes = fs::read(location).map_err(|error| changed(error.to_string()))?;
                if <[u8; 32]>::from(Sha256::digest(&bytes)) != self.digest {
                    return Err(changed("its content is different".to_owned()));
                }
                RgbImage::decode(&bytes, max_pixels).map_err(|fault| changed(fault.to_string()))
            }
        }
    }
}

struct Seen {
    digest: [u8; 32],
    width: usize,
    height: usize,
}

/// Reads and decodes one file; the reason if it is not usable.
fn inspect(encoded: &Encoded, max_pixels: u64) -> Result<Seen, String> {
    let read;
    let bytes: &[u8] = match encoded {
        Encoded::Memory(bytes) => bytes,
        Encoded::File(location) => {
            read = fs::read(location).map_err(|error| format!("cannot be read: {error}"))?;
            &read
        }
    };
    debug_assert!(bytes.len() as u64 <= MAX_FILE_BYTES);
    let picture =
        RgbImage::decode(bytes, max_pixels).map_err(|fault: ImageFault| fault.to_string())?;
    Ok(Seen {
        digest: Sha256::digest(bytes).into(),
        width: picture.width,
        height: picture.height,
    })
}

type Found = (Sample, String, Option<Split>);

/// Drops pictures that carry two labels: nobody can say which is right.
fn drop_ambiguous(found: &mut Vec<Found>, warnings: &mut Vec<Warning>) {
    let mut by_content: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (at, (sample, ..)) in found.iter().enumerate() {
        by_content.entry(sample.digest).or_default().push(at);
    }
    let mut ambiguous = vec![false; found.len()];
    for copies in by_content.values() {
        for &at in copies {
            let other = copies.iter().find(|&&other| found[other].1 != found[at].1);
            if let Some(&other) = other {
                ambiguous[at] = true;
                let reason = format!(
                    "the same picture as {} in another class: both dropped",
                    found[other].0.path
                );
                warnings.push(Warning {
                    path: found[at].0.path.clone(),
                    reason,
                });
            }
        }
    }
    let mut ambiguous = ambiguous.into_iter();
    found.retain(|_| !ambiguous.next().unwrap_or(false));
}

fn check_train_classes(
    name: &str,
    classes: &[String],
    pools: &[Vec<Sample>; 3],
) -> Result<(), DataError> {
    for (label, class) in classes.iter().enumerate() {
        let holds = |split: &Split| {
            pools[*split as usize]
                .iter()
                .any(|sample| sample.label == label)
        };
        if !holds(&Split::Train)
            && let Some(split) = Split::ALL.into_iter().find(holds)
        {
            return Err(DataError::ClassNotInTrain {
                path: name.to_owned(),
                class: class.clone(),
                split: split.name(),
            });
        }
    }
    Ok(())
}

/// Moves images from the training pool to the splits that are to be drawn.
fn draw_splits(
    name: &str,
    classes: &[String],
    pools: &mut [Vec<Sample>; 3],
    drawn: &[Split],
    options: &OpenOptions,
) -> Result<(), DataError> {
    let shares: Vec<f64> = drawn
        .iter()
        .map(|split| {
            if *split == Split::Val {
                options.val_fraction
            } else {
                options.test_fraction
            }
        })
        .collect();
    let positive = shares.iter().all(|&share| share > 0.0);
    if !positive || shares.iter().sum::<f64>() >= 1.0 {
        return Err(DataError::Fractions {
            val: options.val_fraction,
            test: options.test_fraction,
        });
    }
    if drawn.is_empty() {
        return Ok(());
    }
    let pool = std::mem::take(&mut pools[Split::Train as usize]);
    let mut split_of = vec![Split::Train; pool.len()];
    for (label, class) in classes.iter().enumerate() {
        let mut groups: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        for (at, sample) in pool
            .iter()
            .enumerate()
            .filter(|(_, sample)| sample.label == label)
        {
            groups.entry(sample.digest).or_default().push(at);
        }
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort_unstable();
        let distinct = groups.len();
        let key = StreamKey([options.seed, 0, 0, SPLIT_STREAM]);
        let parts = stratify(groups, &shares, &key, label as u64).ok_or_else(|| {
            DataError::ClassTooSmall {
                path: name.to_owned(),
                class: class.clone(),
                pool: if drawn.len() == 2 { "all" } else { "train/" },
                distinct,
                needed: drawn.len() + 1,
            }
        })?;
        for (split, part) in drawn.iter().zip(parts) {
            part.into_iter().for_each(|at| split_of[at] = *split);
        }
    }
    for (sample, split) in pool.into_iter().zip(split_of) {
        pools[split as usize].push(sample);
    }
    Ok(())
}

/// Warns of classes that a split cannot say anything about.
fn warn_of_gaps(classes: &[String], pools: &[Vec<Sample>; 3], warnings: &mut Vec<Warning>) {
    for split in [Split::Val, Split::Test] {
        for (label, class) in classes.iter().enumerate() {
            if pools[split as usize]
                .iter()
                .all(|sample| sample.label != label)
            {
                let path = format!("{}/{class}", split.name());
                warnings.push(Warning {
                    path,
                    reason: "class without usable images in this split".to_owned(),
                });
            }
        }
    }
}

/// Warns of pictures that are byte for byte in two splits.
fn warn_of_leaks(pools: &[Vec<Sample>; 3], warnings: &mut Vec<Warning>) {
    let mut first: BTreeMap<[u8; 32], (Split, &str)> = BTreeMap::new();
    for split in Split::ALL {
        for sample in &pools[split as usize] {
            let (earlier, path) = *first.entry(sample.digest).or_insert((split, &sample.path));
            if earlier != split {
                let reason = format!(
                    "the same picture as {path}: {} is not independent of {}",
                    split.name(),
                    earlier.name()
                );
                warnings.push(Warning {
                    path: sample.path.clone(),
                    reason,
                });
            }
        }
    }
}

fn content_hash(classes: &[String], pools: &[Vec<Sample>; 3]) -> String {
    let mut hash = Sha256::new();
    for split in Split::ALL {
        for sample in &pools[split as usize] {
            for text in [split.name(), &classes[sample.label], &sample.below_root] {
                hash.update(text);
                hash.update([0]);
            }
            hash.update(sample.digest);
        }
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
