//! Measuring subnets: extract, recalibrate batch norm, count the errors on a split.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use nat_data::{
    Batch, BatchRequest, EvalTransform, ImageSet, Loader, Split, TrainTransform, Transform,
};
use nat_space::{Architecture, Genotype, Space};
use nat_supernet::{Subnet, Supernet, images};

use crate::{
    RunConfig, TransferError,
    estimate::{self, Measurement},
    preprocess::{self, Input},
    streams::{Purpose, key},
};

/// Batches of one kind and resolution are kept decoded while they take at most this many bytes.
const HELD_BYTES: usize = 512 << 20;

/// Measures subnets of supernets on one data set, always with the same calibration images.
pub struct Evaluator {
    set: Arc<ImageSet>,
    train: TrainTransform,
    eval: EvalTransform,
    config: RunConfig,
    held: Mutex<BTreeMap<(Use, usize), Held>>,
    /// Nanoseconds that workers have spent on recalibration and on classification.
    spent: [AtomicU64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Calibrate,
    Split(Split),
}

/// All batches of one kind and resolution.
type Held = Arc<Vec<Arc<Batch>>>;

type Batches = Box<dyn Iterator<Item = Result<Arc<Batch>, TransferError>>>;

impl Evaluator {
    /// An evaluator for the run's settings, whose calibration images are prepared for resolutions up to `largest` as in
    /// training.
    pub fn new(set: Arc<ImageSet>, config: &RunConfig, input: Input, largest: usize) -> Evaluator {
        Evaluator {
            set,
            train: preprocess::train(&config.augment, input, largest),
            eval: preprocess::eval(&config.evaluate, input),
            config: config.clone(),
            held: Mutex::default(),
            spent: Default::default(),
        }
    }

    /// The static subnet of an architecture with batch-norm statistics of the calibration images.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn calibrated(
        &self,
        supernet: &Supernet,
        architecture: &Architecture,
    ) -> Result<Subnet, TransferError> {
        let mut subnet = supernet.extract(architecture);
        let device = supernet.device().clone();
        let batches = self.batches(Use::Calibrate, architecture.resolution)?;
        subnet.recalibrate(batches.map(|batch| {
            let batch = batch?;
            let side = batch.resolution;
            Ok::<_, TransferError>(images(
                batch.images.clone(),
                [batch.labels.len(), 3, side, side],
                &device,
            ))
        }))?;
        Ok(subnet)
    }

    /// Error in percent of a subnet on a split: that of the images, or with `evaluate.balanced` that of the classes.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn error(&self, subnet: &Subnet, split: Split) -> Result<f64, TransferError> {
        let score = self.score(subnet, split)?;
        Ok(if self.is_balanced() {
            score.balanced_error
        } else {
            score.error
        })
    }

    /// Whether errors are means over the classes instead of the images (`evaluate.balanced`).
    pub fn is_balanced(&self) -> bool {
        self.config.evaluate.balanced
    }

    fn measurement(&self, subnet: &Subnet) -> Result<Measurement, TransferError> {
        let score = self.score(subnet, Split::Val)?;
        let (error, doubt) = if self.is_balanced() {
            (score.balanced_error, score.balanced_doubt)
        } else {
            (score.error, score.doubt)
        };
        Ok(Measurement { error, doubt })
    }

    /// How well a subnet does on a split.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn score(&self, subnet: &Subnet, split: Split) -> Result<Score, TransferError> {
        let network = subnet.inference();
        let mut tally = Tally::new(network.classes());
        for batch in self.batches(Use::Split(split), subnet.network().resolution)? {
            let batch = batch?;
            let side = batch.resolution;
            let logits = network.logits(&batch.images, [batch.labels.len(), 3, side, side]);
            tally.add(&logits, &batch.labels);
        }
        Ok(tally.score())
    }

    /// Measures every genotype whose slot in `measured` is still empty, several at a time.
    ///
    /// The result of a network does not depend on which others are measured beside it. `report` is called from this
    /// thread's workers with the number of networks done and of images seen; when `stop` is set, networks that are
    /// under way are finished and the rest stay empty.
    ///
    /// # Errors
    /// The first failure.
    ///
    /// # Panics
    /// There are more or fewer slots than genotypes.
    pub fn measure(
        &self,
        supernets: &[Supernet],
        space: &Space,
        genotypes: &[Genotype],
        measured: &mut [Option<Measurement>],
        report: &(dyn Fn(usize, usize) + Sync),
        stop: &AtomicBool,
    ) -> Result<(), TransferError> {
        assert_eq!(measured.len(), genotypes.len(), "a slot for each genotype");
        let mut open: Vec<usize> = (0..genotypes.len())
            .filter(|&i| measured[i].is_none())
            .collect();
        // The largest sides first: memory that a kernel had for them serves the smaller ones.
        open.sort_by_key(|&i| (Reverse(genotypes[i].as_slice()[0]), i));
        let done = AtomicUsize::new(genotypes.len() - open.len());
        let next = AtomicUsize::new(0);
        let images_each = self.calibration_images() + self.images(Split::Val);
        let seen = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, Result<Measurement, TransferError>)>> = Mutex::default();
        let work = || {
            let _parties: Vec<_> = supernets.iter().map(Supernet::party).collect();
            while !stop.load(Ordering::Relaxed) {
                let Some(&index) = open.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                let architecture = space.architecture(&genotypes[index]);
                let supernet = &supernets[architecture.width];
                let begun = Instant::now();
                let subnet = self.calibrated(supernet, &architecture);
                self.count(0, begun);
                let begun = Instant::now();
                let measurement = subnet.and_then(|subnet| self.measurement(&subnet));
                self.count(1, begun);
                let failed = measurement.is_err();
                results
                    .lock()
                    .expect("no worker panics while it holds the lock")
                    .push((index, measurement));
                if failed {
                    return;
                }
                let images = seen.fetch_add(images_each, Ordering::Relaxed) + images_each;
                report(done.fetch_add(1, Ordering::Relaxed) + 1, images);
            }
        };
        let workers = preprocess::threads(self.config.upkeep.evaluators);
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        let mut results = results
            .into_inner()
            .expect("no worker panics while it holds the lock");
        results.sort_by_key(|(index, _)| *index);
        for (index, measurement) in results {
            measured[index] = Some(measurement?);
        }
        if measured.iter().all(Option::is_some) {
            self.release();
        }
        Ok(())
    }

    /// The errors of measured networks in percent: estimated or (`evaluate.regress = false`) as they were counted.
    pub fn errors(&self, measured: &[Measurement]) -> Vec<f64> {
        match self.config.evaluate.regress {
            true => estimate::regressed(measured),
            false => measured.iter().map(|found| found.error).collect(),
        }
    }

    /// Forgets the prepared images.
    pub(crate) fn release(&self) {
        self.held
            .lock()
            .expect("no worker panics while it holds the lock")
            .clear();
    }

    fn count(&self, what: usize, since: Instant) {
        let nanoseconds = since.elapsed().as_nanos() as u64;
        self.spent[what].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Seconds that workers have spent on recalibration and on classification since the last call.
    pub(crate) fn take_spent(&self) -> [f64; 2] {
        let seconds = |spent: &AtomicU64| 1e-9 * spent.swap(0, Ordering::Relaxed) as f64;
        [seconds(&self.spent[0]), seconds(&self.spent[1])]
    }

    /// Images of a split that are looked at: all, or for the search split what the configuration allows.
    pub fn images(&self, split: Split) -> usize {
        let all = self.set.len(split);
        match split {
            Split::Val => self.config.evaluate.search_images(all),
            _ => all,
        }
    }

    /// Training images that batch norms are recalibrated on.
    pub fn calibration_images(&self) -> usize {
        self.set
            .len(Split::Train)
            .min(self.config.evaluate.calibration_images)
    }

    /// The batches of one kind at a resolution: from memory while they are small, else decoded as they are needed.
    fn batches(&self, kind: Use, resolution: usize) -> Result<Batches, TransferError> {
        let requests = self.requests(kind, resolution);
        let count: usize = requests.iter().map(|request| request.indices.len()).sum();
        let transform = match kind {
            Use::Calibrate => Transform::Train(preprocess::calibration(self.train, resolution)),
            Use::Split(_) => Transform::Eval(self.eval),
        };
        let threads = preprocess::threads(self.config.upkeep.loader_threads);
        let load = |ahead: usize| {
            let loader = Loader::new(Arc::clone(&self.set), transform, requests, threads, ahead);
            loader.map(|batch| Ok(Arc::new(batch?)))
        };
        if count * 3 * resolution * resolution * size_of::<f32>() > HELD_BYTES {
            // Every evaluator has batches of its own then.
            let evaluators = preprocess::threads(self.config.upkeep.evaluators);
            return Ok(Box::new(load((threads / evaluators).max(2))));
        }
        let mut held = self
            .held
            .lock()
            .expect("no worker panics while it holds the lock");
        if !held.contains_key(&(kind, resolution)) {
            let batches: Vec<Arc<Batch>> =
                load(threads.max(2)).collect::<Result<_, TransferError>>()?;
            // Networks come in order of resolution: what belongs to an earlier one is not needed again.
            held.retain(|&(_, side), _| side <= resolution);
            held.insert((kind, resolution), Arc::new(batches));
        }
        let batches = Arc::clone(&held[&(kind, resolution)]);
        Ok(Box::new(
            (0..batches.len()).map(move |i| Ok(Arc::clone(&batches[i]))),
        ))
    }

    fn requests(&self, kind: Use, resolution: usize) -> Vec<BatchRequest> {
        let seed = self.config.seed;
        let (split, indices, size) = match kind {
            Use::Calibrate => {
                let order = nat_data::shuffled(
                    self.set.len(Split::Train),
                    &key(seed, Purpose::Calibration, 0, 0),
                );
                let kept = order[..self.calibration_images()].to_vec();
                (Split::Train, kept, self.config.evaluate.calibration_batch)
            }
            Use::Split(split) => {
                let all = self.set.len(split);
                let mut kept: Vec<usize> = if split == Split::Val {
                    let mut order = nat_data::shuffled(all, &key(seed, Purpose::Calibration, 1, 0));
                    if self.config.evaluate.balanced {
                        order = in_turns(&order, self.set.labels(split));
                    }
                    order[..self.images(split)].to_vec()
                } else {
                    (0..all).collect()
                };
                kept.sort_unstable();
                (split, kept, self.config.evaluate.batch)
            }
        };
        indices
            .chunks(size)
            .enumerate()
            .map(|(step, chunk)| BatchRequest {
                split,
                indices: chunk.to_vec(),
                resolution,
                key: key(seed, Purpose::Calibration, 2, step),
            })
            .collect()
    }
}

/// Images in an order in which the classes take turns: the beginning of it has as many of a rare class as there are.
fn in_turns(order: &[usize], labels: &[usize]) -> Vec<usize> {
    let mut seen = BTreeMap::new();
    let mut turns: Vec<(usize, usize)> = (order.iter())
        .map(|&image| {
            let turn: &mut usize = seen.entry(labels[image]).or_default();
            *turn += 1;
            (*turn, image)
        })
        .collect();
    turns.sort_by_key(|&(turn, _)| turn);
    turns.into_iter().map(|(_, image)| image).collect()
}

/// How well a network does on a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Images whose largest logit is not that of their class, in percent; the first of equal logits counts.
    pub error: f64,
    /// Mean over the classes that have images of the share of images not recognised, in percent.
    pub balanced_error: f64,
    /// Mean probability of the wrong classes, in percent.
    pub doubt: f64,
    /// Mean over the classes that have images of the mean probability of the wrong classes, in percent.
    pub balanced_doubt: f64,
    /// Mean cross entropy with the labels.
    pub loss: f64,
}

/// Counts behind a [`Score`].
pub struct Tally {
    classes: Vec<ClassTally>,
    loss: f64,
}

#[derive(Clone, Copy, Default)]
struct ClassTally {
    images: usize,
    errors: usize,
    /// Sum of the probabilities of wrong classes.
    doubt: f64,
}

impl Tally {
    /// Nothing seen yet of any of the classes.
    pub fn new(classes: usize) -> Tally {
        Tally {
            classes: vec![ClassTally::default(); classes],
            loss: 0.0,
        }
    }

    /// Counts images by their logits, a row of one value a class for each label.
    pub fn add(&mut self, logits: &[f32], labels: &[usize]) {
        for (row, &label) in logits.chunks_exact(self.classes.len()).zip(labels) {
            let best = argmax(row);
            let highest = f64::from(row[best]);
            let sum: f64 = row.iter().map(|&l| (f64::from(l) - highest).exp()).sum();
            let loss = sum.ln() + highest - f64::from(row[label]);
            self.loss += loss;
            let class = &mut self.classes[label];
            class.images += 1;
            class.errors += usize::from(best != label || row[best].is_nan());
            // Logits that have overflowed say nothing.
            let doubt = 1.0 - (-loss).exp();
            class.doubt += if doubt.is_nan() { 1.0 } else { doubt };
        }
    }

    /// The images that were counted.
    pub fn images(&self) -> usize {
        self.classes.iter().map(|class| class.images).sum()
    }

    /// What they come to; no number where there are none.
    pub fn score(&self) -> Score {
        let present = || self.classes.iter().filter(|class| class.images > 0);
        let images = self.images() as f64;
        let errors = present().map(|class| class.errors).sum::<usize>() as f64;
        let doubt: f64 = present().map(|class| class.doubt).sum();
        let balanced = |part: fn(&ClassTally) -> f64| {
            let shares = present().map(|class| part(class) / class.images as f64);
            100.0 * shares.sum::<f64>() / present().count() as f64
        };
        Score {
            error: 100.0 * errors / images,
            balanced_error: balanced(|class| class.errors as f64),
            doubt: 100.0 * doubt / images,
            balanced_doubt: balanced(|class| class.doubt),
            loss: self.loss / images,
        }
    }
}

/// Position of the first largest value of a row.
fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_a_rare_class_is_among_the_first() {
        let labels = [0, 0, 0, 1, 0, 0, 2, 0, 1, 0];
        let order = [9, 4, 7, 3, 0, 6, 1, 8, 2, 5];
        assert_eq!(in_turns(&order, &labels), [9, 3, 6, 4, 8, 7, 0, 1, 2, 5]);
    }

    #[test]
    fn overflowed_logits_are_full_of_doubt() {
        let mut tally = Tally::new(3);
        tally.add(&[f32::INFINITY, f32::INFINITY, 0.0], &[2]);
        assert_eq!(tally.score().doubt, 100.0);
        let mut tally = Tally::new(3);
        tally.add(&[f32::NAN; 3], &[0]);
        assert_eq!((tally.score().error, tally.score().doubt), (100.0, 100.0));
    }

    #[test]
    fn errors_are_counted_by_row_and_by_class() {
        let logits = [0.0, 2.0, 1.0, 5.0, 5.0, -1.0, 0.0, 0.0, 3.0, 0.0, 1.0, 0.0];
        let score = |labels: &[usize]| {
            let mut tally = Tally::new(3);
            tally.add(&logits[..6], &labels[..2]);
            tally.add(&logits[6..], &labels[2..]);
            tally.score()
        };
        let right = score(&[1, 0, 2, 1]);
        assert_eq!((right.error, right.balanced_error), (0.0, 0.0));
        // Of class 1 one image of three is missed, of class 2 none; class 0 has no image.
        let wrong = score(&[1, 1, 2, 1]);
        assert_eq!(wrong.error, 25.0);
        assert!((wrong.balanced_error - 50.0 / 3.0).abs() < 1e-12);
        let wrong_class = |row: [f64; 3], label: usize| {
            1.0 - row[label].exp() / row.iter().map(|l| l.exp()).sum::<f64>()
        };
        let doubts = [
            wrong_class([0.0, 2.0, 1.0], 1),
            wrong_class([5.0, 5.0, -1.0], 1),
            wrong_class([0.0, 0.0, 3.0], 2),
            wrong_class([0.0, 1.0, 0.0], 1),
        ];
        assert!((wrong.doubt - 25.0 * doubts.iter().sum::<f64>()).abs() < 1e-9);
        let first_class = (doubts[0] + doubts[1] + doubts[3]) / 3.0;
        assert!((wrong.balanced_doubt - 50.0 * (first_class + doubts[2])).abs() < 1e-9);
        let loss: f64 = [
            [0.0, 2.0, 1.0],
            [5.0, 5.0, -1.0],
            [0.0, 0.0, 3.0],
            [0.0, 1.0, 0.0],
        ]
        .iter()
        .zip([1, 1, 2, 1])
        .map(|(row, label)| row.iter().map(|l: &f64| l.exp()).sum::<f64>().ln() - row[label])
        .sum();
        assert!((wrong.loss - loss / 4.0).abs() < 1e-9);
    }
}
