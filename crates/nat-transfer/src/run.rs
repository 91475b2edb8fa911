//! The loop of Neural Architecture Transfer as a state machine that can be left and entered at any step.
//!
//! ```text
//! pretrain (from nothing) or warm-up (from weights) ─▶ adapt ─▶ evaluate ─▶ complete ─▶ propose ─▶ adapt ─▶ …
//! ```

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nat_data::{ImageSet, Split};
use nat_predictor::metrics;
use nat_search::{Aims, Costs, Member, Problem, archive};
use nat_space::Genotype;
use nat_supernet::SupernetFile;

use crate::{
    Evaluator, Event, Observer, Phase, Progress, RunDirectory, RunRecord, Seconds, TransferError,
    adapt,
    checkpoint::{self, Candidate, Position, State, Weights},
    config::Pretraining,
    directory::{ArchiveLine, RunLock},
    estimate::{self, Measurement},
    events::Within,
    pretrain, propose,
    sgd::Sgd,
    training::{Moment, Pass, Task},
};

/// How a call of [`Run::go`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last iteration is complete.
    Finished,
    /// It was asked to stop; the state is saved.
    Interrupted,
}

/// A run under way.
pub struct Run {
    directory: RunDirectory,
    record: RunRecord,
    set: Arc<ImageSet>,
    supernets: SupernetFile,
    optimizers: Vec<Sgd>,
    state: State,
    aims: Aims,
    costs: Costs,
    directions: Vec<Vec<f64>>,
    evaluator: Evaluator,
    seconds: Seconds,
    begun: Instant,
    saved: Instant,
    _lock: RunLock,
}

impl Run {
    /// Starts a run in a new directory. `pretrained` says whether the supernets know anything yet.
    ///
    /// # Errors
    /// The directory is taken or cannot be written.
    pub fn create(
        directory: RunDirectory,
        record: RunRecord,
        set: Arc<ImageSet>,
        supernets: SupernetFile,
        pretrained: bool,
    ) -> Result<Run, TransferError> {
        let problem = Problem {
            costs: &record.costs()?,
            aims: &record.config.aims(),
            settings: &record.config.search,
        };
        let designs = propose::initial_designs(&problem, record.config.seed);
        directory.create(&record)?;
        let lock = directory.lock()?;
        let state = State {
            generation: 0,
            position: if pretrained {
                Position::WarmUp { step: 0 }
            } else {
                Position::Pretrain { step: 0 }
            },
            candidates: designs
                .iter()
                .map(|genes| Candidate::new(genes, None))
                .collect(),
            archive: Vec::new(),
            reference: Vec::new(),
        };
        let mut run = Run::assemble(directory, record, set, supernets, state, lock)?;
        run.save()?;
        let seed = run.record.config.seed;
        let version = env!("CARGO_PKG_VERSION").into();
        run.directory.append_event(&Event::Start {
            time: now(),
            version,
            seed,
        })?;
        Ok(run)
    }

    /// Takes up a run where it was saved last.
    ///
    /// # Errors
    /// Another process has the run, the data set has changed, or a file cannot be read.
    pub fn resume(directory: RunDirectory, set: Arc<ImageSet>) -> Result<Run, TransferError> {
        let record = directory.record()?;
        let lock = directory.lock()?;
        let version = env!("CARGO_PKG_VERSION");
        if record.version != version {
            return Err(TransferError::Directory {
                path: directory.root().into(),
                reason: format!(
                    "was started by nat {}, this is nat {version}: go on with the one that started it, \
                     or the result would be neither's",
                    record.version
                ),
            });
        }
        if set.hash() != record.data.hash {
            return Err(TransferError::Directory {
                path: record.data.path.clone().into(),
                reason: format!(
                    "the data set has changed since the run began (its hash is {}, was {}): restore it, or start anew",
                    set.hash(),
                    record.data.hash
                ),
            });
        }
        let (
            state,
            Weights {
                supernets,
                velocities,
            },
        ) = checkpoint::load(&directory)?;
        let mut run = Run::assemble(directory, record, set, supernets, state, lock)?;
        for (optimizer, velocities) in run.optimizers.iter_mut().zip(velocities) {
            optimizer.restore(velocities);
        }
        run.rewind()?;
        Ok(run)
    }

    fn assemble(
        directory: RunDirectory,
        record: RunRecord,
        set: Arc<ImageSet>,
        supernets: SupernetFile,
        state: State,
        lock: RunLock,
    ) -> Result<Run, TransferError> {
        let optimizers = match state.position {
            Position::Pretrain { .. } => {
                pretrain::optimizers(&record.config, Phase::Pretrain, &supernets)
            }
            Position::WarmUp { .. } => {
                pretrain::optimizers(&record.config, Phase::WarmUp, &supernets)
            }
            _ => adapt::optimizers(&record.config, &supernets),
        };
        Ok(Run {
            aims: record.config.aims(),
            costs: record.costs()?,
            directions: propose::directions(&record.config),
            evaluator: Evaluator::new(
                Arc::clone(&set),
                &record.config,
                record.data.normalisation(),
                record.space.resolutions.to,
            ),
            directory,
            record,
            set,
            supernets,
            optimizers,
            state,
            seconds: Seconds::default(),
            begun: Instant::now(),
            saved: Instant::now(),
            _lock: lock,
        })
    }

    /// Brings the text files back to the saved state: what came after it will be measured and logged again.
    fn rewind(&mut self) -> Result<(), TransferError> {
        let generation = self.state.generation;
        let complete = self.state.position == Position::Complete;
        let archive = self.archive()?;
        self.directory
            .write_archive(generation, if complete { &archive } else { &[] })?;
        if !archive.is_empty() {
            self.directory
                .write_front(&archive::front(&archive, &self.aims))?;
        }
        let images = self.set.len(Split::Train);
        let config = &self.record.config;
        // Passes over the images that the saved state contains, by phase; `usize::MAX` stands for all.
        let passes = |settings: &Pretraining, step| {
            step / Pass::new(images, settings.batch, settings.epochs, 0).steps_per_epoch
        };
        let (pretrained, adapted) = match self.state.position {
            Position::Pretrain { step } => (passes(&config.pretrain, step), 0),
            Position::WarmUp { step } => (passes(&config.warm_up, step), 0),
            Position::Adapt { step } => {
                let settings = &config.adapt;
                (
                    usize::MAX,
                    step / Pass::new(images, settings.batch, settings.epochs, 0).steps_per_epoch,
                )
            }
            Position::Evaluate { .. } | Position::Complete => (usize::MAX, usize::MAX),
        };
        self.directory.rewind_events(|event| match event {
            Event::Start { .. } | Event::Resume { .. } => true,
            Event::Finish { .. } => false,
            Event::Epoch {
                phase: Phase::Pretrain | Phase::WarmUp,
                epoch,
                ..
            } => *epoch <= pretrained,
            Event::Epoch {
                generation: g,
                epoch,
                ..
            } => *g < generation || (*g == generation && *epoch <= adapted),
            Event::Generation { generation: g, .. } => {
                *g < generation || (complete && *g == generation)
            }
        })?;
        self.directory.append_event(&Event::Resume {
            time: now(),
            generation,
        })
    }

    /// Whether every iteration is complete.
    pub fn is_finished(&self) -> bool {
        self.state.position == Position::Complete
            && self.state.generation >= self.record.config.search.iterations
    }

    /// The measured members of the last finished iteration.
    ///
    /// # Errors
    /// A saved genotype does not belong to the space.
    pub fn archive(&self) -> Result<Vec<Member>, TransferError> {
        self.state
            .archive
            .iter()
            .map(|line| line.member(&self.record.space))
            .collect()
    }

    /// Works until the last iteration is complete or `stop` is set, in which case the state is saved.
    ///
    /// # Errors
    /// An unreadable image, a full disk, a loss that is no number. The last saved state stays as it was.
    pub fn go(
        &mut self,
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<Outcome, TransferError> {
        while !self.is_finished() {
            match self.state.position.clone() {
                Position::Pretrain { step } => {
                    self.train_first(Phase::Pretrain, step, observer, stop)?
                }
                Position::WarmUp { step } => {
                    self.train_first(Phase::WarmUp, step, observer, stop)?
                }
                Position::Adapt { step } => {
                    if self.train(Phase::Adapt, step, observer, stop)? {
                        let errors = vec![None; self.state.candidates.len()];
                        self.state.position = Position::Evaluate { errors };
                    }
                }
                Position::Evaluate { errors } => self.evaluate(errors, observer, stop)?,
                Position::Complete => self.propose(observer)?,
            }
            if stop.load(Ordering::Relaxed) && !self.is_finished() {
                if self.state.position != Position::Complete {
                    self.save()?;
                }
                return Ok(Outcome::Interrupted);
            }
        }
        let event = Event::Finish {
            seconds: self.begun.elapsed().as_secs_f64(),
            peak_rss_mb: peak_rss_mb(),
        };
        self.directory.append_event(&event)?;
        observer.event(&event);
        Ok(Outcome::Finished)
    }

    /// Trains on towards the first archive.
    fn train_first(
        &mut self,
        phase: Phase,
        step: usize,
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<(), TransferError> {
        if self.train(phase, step, observer, stop)? {
            self.optimizers = adapt::optimizers(&self.record.config, &self.supernets);
            self.state.position = Position::Adapt { step: 0 };
            self.save()?;
        }
        Ok(())
    }

    /// Trains on from a step; returns whether the phase is done. The state follows every step.
    fn train(
        &mut self,
        phase: Phase,
        start: usize,
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<bool, TransferError> {
        let begun = Instant::now();
        let candidates = self.candidates()?;
        let Run {
            record,
            set,
            supernets,
            optimizers,
            directory,
            state,
            saved,
            ..
        } = self;
        let generation = state.generation;
        let task = Task {
            set,
            space: &record.space,
            config: &record.config,
            normalisation: record.data.normalisation(),
        };
        let mut keeper = Keeper {
            directory,
            state,
            saved,
            observer,
            stop,
            save_seconds: record.config.upkeep.save_seconds,
            within: Within::default(),
        };
        let mut watch = |moment: Moment<'_>| keeper.keep(moment, phase);
        let done = if phase == Phase::Adapt {
            let archive = (&candidates[..], generation);
            adapt::adapt(&task, archive, supernets, optimizers, start, &mut watch)?
        } else {
            pretrain::pretrain(&task, phase, supernets, optimizers, start, &mut watch)?
        };
        let (within, seconds) = (keeper.within, &mut self.seconds);
        let spent = match phase {
            Phase::Adapt => &mut seconds.adapt,
            _ => &mut seconds.pretrain,
        };
        *spent += begun.elapsed().as_secs_f64();
        seconds.within.waiting += within.waiting;
        seconds.within.gradients += within.gradients;
        seconds.within.updates += within.updates;
        seconds.within.saving += within.saving;
        Ok(done)
    }

    fn evaluate(
        &mut self,
        mut errors: Vec<Option<Measurement>>,
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<(), TransferError> {
        let begun = Instant::now();
        let candidates = self.candidates()?;
        let (generation, iterations) =
            (self.state.generation, self.record.config.search.iterations);
        let watcher = Mutex::new(&mut *observer);
        self.evaluator.measure(
            &self.supernets.supernets,
            &self.record.space,
            &candidates,
            &mut errors,
            &|done, images| {
                let progress = Progress {
                    phase: Phase::Evaluate,
                    generation,
                    iterations,
                    done,
                    total: candidates.len(),
                    images_per_s: images as f64 / begun.elapsed().as_secs_f64(),
                    loss: None,
                };
                watcher
                    .lock()
                    .expect("no worker panics while it holds the lock")
                    .progress(&progress);
            },
            stop,
        )?;
        self.seconds.evaluate += begun.elapsed().as_secs_f64();
        let [calibration, classification] = self.evaluator.take_spent();
        self.seconds.within.calibration += calibration;
        self.seconds.within.classification += classification;
        match errors.iter().copied().collect::<Option<Vec<Measurement>>>() {
            Some(measured) => {
                let errors = if self.record.config.evaluate.regress {
                    estimate::regressed(&measured)
                } else {
                    measured
                        .iter()
                        .map(|measurement| measurement.error)
                        .collect()
                };
                self.finish_iteration(&candidates, &errors, observer)
            }
            None => {
                self.state.position = Position::Evaluate { errors };
                Ok(())
            }
        }
    }

    /// Turns measured candidates into the archive, writes everything and commits the iteration.
    fn finish_iteration(
        &mut self,
        candidates: &[Genotype],
        errors: &[f64],
        observer: &mut (dyn Observer + Send),
    ) -> Result<(), TransferError> {
        let objectives = &self.aims.objectives;
        let members: Vec<Member> = candidates
            .iter()
            .zip(errors)
            .map(|(genes, &error)| self.costs.member(genes.clone(), error))
            .collect();
        let values = archive::rows(&members, objectives);
        if self.state.reference.is_empty() {
            self.state.reference = archive::reference_point(&values);
        }
        let front = archive::front(&members, &self.aims);
        let newcomers: Vec<(f64, f64)> = self
            .state
            .candidates
            .iter()
            .zip(errors)
            .filter_map(|(candidate, &measured)| Some((candidate.predicted?, measured)))
            .collect();
        let (predicted, measured): (Vec<f64>, Vec<f64>) = newcomers.iter().copied().unzip();
        let judged = newcomers.len() >= 3;
        let generation = self.state.generation;
        let event = Event::Generation {
            generation,
            archive: members.len(),
            front: front.len(),
            hypervolume: archive::hypervolume_share(
                &archive::rows(&front, objectives),
                &self.state.reference,
            ),
            best_error: members
                .iter()
                .map(|member| member.error)
                .fold(f64::INFINITY, f64::min),
            tau: judged
                .then(|| metrics::kendall_tau(&predicted, &measured))
                .flatten(),
            rho: judged
                .then(|| metrics::spearman(&predicted, &measured))
                .flatten(),
            rmse: judged
                .then(|| metrics::rmse(&predicted, &measured))
                .flatten(),
            predicted: newcomers,
            seconds: std::mem::take(&mut self.seconds),
        };
        self.state.archive = members
            .iter()
            .map(|member| ArchiveLine::of(generation, member))
            .collect();
        self.state.position = Position::Complete;
        // The saved state is the commit: what is written before it is taken back by a resume that does not find it.
        self.directory.write_archive(generation, &members)?;
        self.directory.write_front(&front)?;
        self.directory.append_event(&event)?;
        self.save()?;
        observer.event(&event);
        Ok(())
    }

    fn propose(&mut self, observer: &mut (dyn Observer + Send)) -> Result<(), TransferError> {
        let generation = self.state.generation + 1;
        observer.progress(&Progress {
            phase: Phase::Search,
            generation,
            iterations: self.record.config.search.iterations,
            done: 0,
            total: 1,
            images_per_s: 0.0,
            loss: None,
        });
        let archive = self.archive()?;
        let proposal = propose::propose(
            &Problem {
                costs: &self.costs,
                aims: &self.aims,
                settings: &self.record.config.search,
            },
            &archive,
            &self.directions,
            &self.record.config,
            generation,
        )?;
        self.seconds.fit += proposal.fit_seconds;
        self.seconds.search += proposal.search_seconds;
        let known: std::collections::BTreeSet<&Genotype> =
            archive.iter().map(|member| &member.genes).collect();
        self.state.candidates = proposal
            .members
            .iter()
            .map(|member| {
                Candidate::new(
                    &member.genes,
                    (!known.contains(&member.genes)).then_some(member.error),
                )
            })
            .collect();
        self.state.generation = generation;
        self.state.position = Position::Adapt { step: 0 };
        Ok(())
    }

    fn candidates(&self) -> Result<Vec<Genotype>, TransferError> {
        let space = &self.record.space;
        self.state
            .candidates
            .iter()
            .map(|candidate| Ok(space.parse(&candidate.genes)?))
            .collect()
    }

    fn save(&mut self) -> Result<(), TransferError> {
        self.saved = Instant::now();
        checkpoint::save(
            &self.directory,
            &self.state,
            &self.supernets,
            &self.optimizers,
        )?;
        // The state after an iteration is written behind its event, so this counts for the next one.
        self.seconds.within.saving += self.saved.elapsed().as_secs_f64();
        Ok(())
    }
}

/// What happens between two training steps: logging, saving, and the question whether to stop.
struct Keeper<'a> {
    directory: &'a RunDirectory,
    state: &'a mut State,
    saved: &'a mut Instant,
    observer: &'a mut (dyn Observer + Send),
    stop: &'a AtomicBool,
    save_seconds: u64,
    within: Within,
}

impl Keeper<'_> {
    fn keep(&mut self, moment: Moment<'_>, phase: Phase) -> Result<bool, TransferError> {
        let step = moment.done;
        self.state.position = match phase {
            Phase::Pretrain => Position::Pretrain { step },
            Phase::WarmUp => Position::WarmUp { step },
            _ => Position::Adapt { step },
        };
        self.within.waiting += moment.spent.waiting;
        self.within.gradients += moment.spent.gradients;
        self.within.updates += moment.spent.updates;
        self.observer.progress(&moment.progress);
        if let Some(event) = &moment.epoch {
            self.directory.append_event(event)?;
            self.observer.event(event);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if self.saved.elapsed() >= Duration::from_secs(self.save_seconds) {
            let begun = Instant::now();
            checkpoint::save(
                self.directory,
                self.state,
                moment.supernets,
                moment.optimizers,
            )?;
            self.within.saving += begun.elapsed().as_secs_f64();
            *self.saved = Instant::now();
        }
        Ok(true)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Largest resident set of this process in MiB, from `/proc` where there is one.
pub fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
