//! A stretch of training: which step trains what, and the loop over the steps.

use std::{sync::Arc, time::Instant};

use nat_data::{Batch, BatchRequest, ImageSet, Loader, Mixing, Split, StreamKey, Transform};
use nat_search::Settings;
use nat_space::Space;
use nat_supernet::{Dropout, SupernetFile};

use crate::{
    Course, Epoch, Phase, Progress, RunConfig, TransferError,
    config::Pretraining,
    events::Within,
    preprocess::{self, Input},
    schedule::Schedule,
    streams::{Purpose, key, seed_of},
    train::Gradients,
    trainee::Trainee,
};

/// What supernets are trained on, in which space and with which settings.
pub struct Task<'a> {
    /// The images.
    pub set: &'a Arc<ImageSet>,
    /// The space, with the resolutions of the run.
    pub space: &'a Space,
    /// The settings.
    pub config: &'a RunConfig,
    /// How images are fed to the networks.
    pub input: Input,
}

impl<'a> Task<'a> {
    /// A stretch of training on this task.
    pub(crate) fn training(
        &self,
        phase: Phase,
        course: Course,
        pass: Pass,
        steps: Vec<PlannedStep>,
    ) -> Training<'a> {
        let config = self.config;
        Training {
            set: self.set,
            transform: Transform::Train(preprocess::train(
                &config.augment,
                self.input,
                self.space.resolutions.to,
            )),
            mixing: preprocess::mixing(&config.augment),
            dropout: config.augment.dropout,
            pass,
            steps,
            phase,
            course,
            search: config.search,
            seed: config.seed,
            threads: preprocess::threads(config.upkeep.loader_threads),
        }
    }
}

/// The size of a stretch: whole batches, so many a pass over the training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Images a step.
    pub batch: usize,
    /// Steps that see every image once, the rest of less than a batch left out.
    pub steps_per_epoch: usize,
    /// Steps of the stretch for one supernet.
    pub steps: usize,
}

impl Pass {
    /// The size that a configuration gives a phase of training on so many images.
    pub fn of(phase: Phase, config: &RunConfig, images: usize) -> Pass {
        let first = |s: &Pretraining| Pass::new(images, s.batch, s.epochs, s.max_steps);
        let adapt = &config.adapt;
        match phase {
            Phase::Pretrain => first(&config.pretrain),
            Phase::WarmUp => first(&config.warm_up),
            _ => Pass::new(images, adapt.batch, adapt.epochs, adapt.max_steps),
        }
    }

    /// `epochs` passes over `images` training images, cut at `max_steps` unless that is 0.
    pub fn new(images: usize, batch: usize, epochs: usize, max_steps: usize) -> Pass {
        let batch = batch.min(images);
        let steps_per_epoch = images / batch;
        let steps = epochs.saturating_mul(steps_per_epoch);
        Pass {
            batch,
            steps_per_epoch,
            steps: if max_steps == 0 {
                steps
            } else {
                steps.min(max_steps)
            },
        }
    }
}

/// One step of a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedStep {
    /// Index of the supernet that is trained.
    pub width: usize,
    /// Side of the batch's images.
    pub resolution: usize,
    /// Learning rate.
    pub rate: f64,
}

/// The steps of a stretch: `counts[width]` steps for one supernet after the other. Each follows `schedule` of its number of
/// steps from `offset` on.
pub fn plan(
    counts: &[usize],
    offset: usize,
    schedule: impl Fn(usize) -> Schedule,
    mut resolution: impl FnMut(usize) -> usize,
) -> Vec<PlannedStep> {
    let steps = counts.iter().enumerate().flat_map(|(width, &count)| {
        let schedule = schedule(count);
        (0..count).map(move |local| (width, schedule.rate(offset + local)))
    });
    steps
        .enumerate()
        .map(|(step, (width, rate))| PlannedStep {
            width,
            resolution: resolution(step),
            rate,
        })
        .collect()
}

/// Everything that a stretch needs besides the supernets.
pub struct Training<'a> {
    /// The images.
    pub set: &'a Arc<ImageSet>,
    /// Their augmentation.
    pub transform: Transform,
    /// How those of a batch are mixed.
    pub mixing: Mixing,
    /// Share of the classifiers' inputs that is dropped.
    pub dropout: f64,
    /// Its size.
    pub pass: Pass,
    /// Its steps.
    pub steps: Vec<PlannedStep>,
    /// What it is for.
    pub phase: Phase,
    /// The iteration it belongs to.
    pub course: Course,
    /// Sizes of the search that it belongs to.
    pub search: Settings,
    /// Seed of the run.
    pub seed: u64,
    /// Threads that prepare images.
    pub threads: usize,
}

/// What is told after each step.
pub struct Moment<'a> {
    /// Steps done.
    pub done: usize,
    /// The same for people who watch.
    pub progress: Progress,
    /// Present where the step ends a pass over the images.
    pub epoch: Option<Epoch>,
    /// The supernets after the step, with what else training changes.
    pub trainee: &'a Trainee,
    /// What the step was made of.
    pub spent: Within,
}

impl Training<'_> {
    /// Number of the key of this stretch's random streams: 0 before the first archive, 1 + iteration for adaptation.
    pub fn stretch(phase: Phase, generation: usize) -> usize {
        if phase != Phase::Adapt {
            0
        } else {
            1 + generation
        }
    }

    /// Runs the steps from `start` on. `gradients` gives a step's gradients and loss; `watch` is told of every step and
    /// says whether to go on. Returns whether all steps are done.
    ///
    /// # Errors
    /// An unreadable image, a loss that is no number, or what `watch` fails with.
    pub fn run(
        &self,
        trainee: &mut Trainee,
        start: usize,
        mut gradients: impl FnMut(&mut SupernetFile, &Batch, usize) -> (Gradients, f32),
        watch: &mut dyn FnMut(Moment<'_>) -> Result<bool, TransferError>,
    ) -> Result<bool, TransferError> {
        let total = self.steps.len();
        let mut done = start;
        let begun = Instant::now();
        let mut mean = Mean::default();
        let mut smooth: Option<f64> = None;
        let mut epoch_begun = Instant::now();
        let mut loader = Loader::new(
            Arc::clone(self.set),
            self.transform,
            self.requests(start),
            self.threads,
            self.threads.clamp(4, 16),
        );
        for step in start..total {
            let clock = Instant::now();
            let Some(batch) = loader.next() else { break };
            let mut batch = batch?;
            let waiting = clock.elapsed().as_secs_f64();
            let planned = self.steps[step];
            self.mixing
                .apply(&mut batch, &self.key(Purpose::Mixing, step));
            let (gradients, loss) = gradients(&mut trainee.supernets, &batch, step);
            let computed = clock.elapsed().as_secs_f64();
            if !loss.is_finite() {
                return Err(TransferError::diverged(
                    loss,
                    self.course.generation,
                    self.phase,
                    step,
                ));
            }
            trainee.step(planned.width, gradients, planned.rate);
            let spent = Within {
                waiting,
                gradients: computed - waiting,
                updates: clock.elapsed().as_secs_f64() - computed,
                ..Within::default()
            };
            mean.add(f64::from(loss));
            smooth = Some(smooth.map_or(f64::from(loss), |old| 0.9 * old + 0.1 * f64::from(loss)));
            done = step + 1;
            let images = (done - start) * self.pass.batch;
            let ends_epoch = done.is_multiple_of(self.pass.steps_per_epoch) || done == total;
            let epoch = ends_epoch.then(|| {
                let seconds = epoch_begun.elapsed().as_secs_f64();
                epoch_begun = Instant::now();
                let (loss, steps) = mean.take();
                Epoch {
                    generation: self.course.generation,
                    phase: self.phase,
                    set: None,
                    epoch: done.div_ceil(self.pass.steps_per_epoch),
                    step: done,
                    loss,
                    images_per_s: (steps * self.pass.batch) as f64 / seconds,
                    lr: planned.rate,
                }
            });
            let progress = Progress {
                phase: self.phase,
                set: None,
                course: self.course,
                search: self.search,
                done,
                total,
                images_per_s: images as f64 / begun.elapsed().as_secs_f64(),
                loss: smooth,
            };
            if !watch(Moment {
                done,
                progress,
                epoch,
                trainee,
                spent,
            })? {
                break;
            }
        }
        if done < total {
            return Ok(false);
        }
        // A diverging last step would otherwise only show in the measurements.
        match trainee.overflow() {
            Some(bad) => Err(TransferError::diverged(
                bad,
                self.course.generation,
                self.phase,
                total,
            )),
            None => Ok(true),
        }
    }

    /// The dropout of a step.
    pub fn dropout(&self, step: usize) -> Dropout {
        Dropout {
            rate: self.dropout,
            seed: seed_of(self.key(Purpose::Dropout, step)),
        }
    }

    fn key(&self, purpose: Purpose, step: usize) -> StreamKey {
        let stretch = Training::stretch(self.phase, self.course.generation);
        key(self.seed, purpose, stretch, step)
    }

    fn requests(&self, start: usize) -> impl Iterator<Item = BatchRequest> + Send + use<> {
        let stretch = Training::stretch(self.phase, self.course.generation);
        let (seed, pass, images) = (self.seed, self.pass, self.set.len(Split::Train));
        let sides: Vec<usize> = self.steps.iter().map(|step| step.resolution).collect();
        let mut order = (usize::MAX, Vec::new());
        (start..sides.len()).map(move |step| {
            let (epoch, place) = (step / pass.steps_per_epoch, step % pass.steps_per_epoch);
            if order.0 != epoch {
                let shuffle = key(seed, Purpose::Shuffle, stretch, epoch);
                order = (epoch, nat_data::shuffled(images, &shuffle));
            }
            BatchRequest {
                split: Split::Train,
                indices: order.1[place * pass.batch..(place + 1) * pass.batch].to_vec(),
                resolution: sides[step],
                key: key(seed, Purpose::Augmentation, stretch, step),
            }
        })
    }
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// Mean and count, starting afresh.
    fn take(&mut self) -> (f64, usize) {
        let taken = std::mem::take(self);
        (taken.sum / taken.count as f64, taken.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_has_whole_batches_and_respects_the_bound() {
        assert_eq!(
            Pass::new(100, 32, 5, 0),
            Pass {
                batch: 32,
                steps_per_epoch: 3,
                steps: 15
            }
        );
        assert_eq!(Pass::new(100, 32, 5, 7).steps, 7);
        assert_eq!(
            Pass::new(10, 32, 2, 0),
            Pass {
                batch: 10,
                steps_per_epoch: 1,
                steps: 2
            }
        );
    }

    #[test]
    fn widths_share_the_steps_and_each_starts_its_segment_anew() {
        let schedule = Schedule {
            peak: 1.0,
            warmup: 0,
            total: 40,
            last: 0.0,
        };
        let steps = plan(&[2, 3], 10, |_| schedule, |step| 32 + step);
        assert_eq!(steps.len(), 5);
        assert_eq!(
            steps.iter().map(|step| step.width).collect::<Vec<_>>(),
            [0, 0, 1, 1, 1]
        );
        assert_eq!(steps[0].rate, schedule.rate(10));
        assert_eq!(steps[2].rate, schedule.rate(10));
        assert_eq!(steps[4].rate, schedule.rate(12));
        assert_eq!(steps[4].resolution, 36);
    }
}
