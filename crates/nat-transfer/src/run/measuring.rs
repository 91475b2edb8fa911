//! The second half of an iteration: errors on every data set, what commands say, and the archive that comes of it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nat_search::{Member, Objective, archive};
use nat_space::Genotype;

use super::Run;
use crate::{
    Agreement, ArchiveLine, Event, Generation, Observer, Phase, Progress, TransferError,
    checkpoint::{Candidate, Position},
    estimate::Measurement,
    measures::Networks,
};

impl Run {
    /// The beginning of the measurements on a set. The candidates of a closing round begin with the archive.
    pub(super) fn measuring(&self, set: usize) -> Position {
        let mut errors: Vec<_> = self.held(set).iter().copied().map(Some).collect();
        errors.resize(self.state.candidates.len(), None);
        Position::Evaluate { set, errors }
    }

    /// What the iteration before has seen on a set that still holds: all of it, unless the supernet was trained since.
    fn held(&self, set: usize) -> &[Measurement] {
        self.state.readings.get(set).map_or(&[], Vec::as_slice)
    }

    /// Measures errors on a set until a save is due; after the last set what commands say, and ends the iteration.
    pub(super) fn evaluate(
        &mut self,
        set: usize,
        mut errors: Vec<Option<Measurement>>,
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<(), TransferError> {
        let begun = Instant::now();
        let candidates = self.candidates()?;
        let learner = &self.learners[set];
        // What a closing round knows already is no work.
        let held = self.held(set).len();
        let open = candidates.len() - held;
        let told = Progress {
            set: learner.name,
            ..self.progress(
                self.state.course,
                Phase::Evaluate,
                0,
                self.learners.len() * open,
            )
        };
        let watcher = Mutex::new(&mut *observer);
        // What is measured is saved from time to time, as training is.
        let pause = AtomicBool::new(stop.load(Ordering::Relaxed));
        let save_after = Duration::from_secs(self.record.config.upkeep.save_seconds);
        let is_due = || self.saved.elapsed() > save_after;
        learner.evaluator.measure(
            &learner.trainee.result().supernets,
            &self.record.space,
            &candidates,
            &mut errors,
            &|done, images| {
                let progress = Progress {
                    done: set * open + done - held,
                    images_per_s: images as f64 / begun.elapsed().as_secs_f64(),
                    ..told
                };
                watcher
                    .lock()
                    .expect("no worker panics while it holds the lock")
                    .progress(&progress);
                if is_due() || stop.load(Ordering::Relaxed) {
                    pause.store(true, Ordering::Relaxed);
                }
            },
            &pause,
        )?;
        self.seconds.evaluate += begun.elapsed().as_secs_f64();
        let [calibration, classification] = learner.evaluator.take_spent();
        self.seconds.within.calibration += calibration;
        self.seconds.within.classification += classification;
        let Some(measured) = errors.iter().copied().collect::<Option<Vec<_>>>() else {
            self.state.position = Position::Evaluate { set, errors };
            // Whoever stops the run saves it.
            return match stop.load(Ordering::Relaxed) {
                true => Ok(()),
                false => self.save(),
            };
        };
        if set + 1 < self.learners.len() {
            self.state.measured.push(measured);
            self.state.position = self.measuring(set + 1);
            return Ok(());
        }
        self.state.position = Position::Evaluate { set, errors };
        match self.ask_commands(&candidates, observer, stop) {
            Ok(true) => {
                let mut all = std::mem::take(&mut self.state.measured);
                all.push(measured);
                self.finish_iteration(&candidates, all, observer)
            }
            Ok(false) => Ok(()),
            Err(error) => {
                self.save()?;
                Err(error)
            }
        }
    }

    /// Measures what commands say of the candidates; returns whether all of it is known.
    pub(super) fn ask_commands(
        &mut self,
        candidates: &[Genotype],
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<bool, TransferError> {
        let begun = Instant::now();
        let told = self.progress(self.state.course, Phase::Commands, 0, 0);
        let watcher = Mutex::new(observer);
        let networks = Networks {
            learner: &self.learners[0],
            costs: &self.costs,
            genotypes: candidates,
        };
        let report = |done, total| {
            let progress = Progress {
                done,
                total,
                ..told
            };
            watcher
                .lock()
                .expect("no worker panics while it holds the lock")
                .progress(&progress);
        };
        let known = self.measures.measure(&networks, &report, stop);
        if !self.record.config.commands.is_empty() {
            self.seconds.commands += begun.elapsed().as_secs_f64();
        }
        known
    }

    /// All that is measured of each candidate, in the order of [`Costs::measured`].
    fn values(&self, candidates: &[Genotype], measured: &[Vec<Measurement>]) -> Vec<Vec<f64>> {
        let errors: Vec<Vec<f64>> = (measured.iter())
            .zip(&self.learners)
            .map(|(measured, learner)| learner.evaluator.errors(measured))
            .collect();
        (candidates.iter().enumerate())
            .map(|(row, genes)| {
                let mut values: Vec<f64> = errors.iter().map(|errors| errors[row]).collect();
                let commands = self.measures.values(genes);
                values.extend(commands.expect("every command was asked"));
                values
            })
            .collect()
    }

    /// How well the new ones of the measured candidates were predicted, by objective; the error first.
    fn agreement(&self, members: &[Member]) -> Vec<Agreement> {
        let measured = self.costs.measured().into_iter();
        let further = measured.filter(|&objective| objective != Objective::Error);
        [Objective::Error]
            .into_iter()
            .chain(further)
            .map(|objective| {
                let foreseen = |candidate: &Candidate| match objective {
                    Objective::Error => candidate.predicted,
                    _ => candidate.further.get(&objective.to_string()).copied(),
                };
                let pairs = (self.state.candidates.iter().zip(members)).filter_map(
                    |(candidate, member)| Some((foreseen(candidate)?, member.value(objective))),
                );
                Agreement::new(objective, pairs.collect())
            })
            .collect()
    }

    /// Turns measured candidates into the archive, writes everything and commits the iteration.
    fn finish_iteration(
        &mut self,
        candidates: &[Genotype],
        measured: Vec<Vec<Measurement>>,
        observer: &mut (dyn Observer + Send),
    ) -> Result<(), TransferError> {
        let objectives = &self.aims.objectives;
        let members: Vec<Member> = (candidates.iter())
            .zip(self.values(candidates, &measured))
            .map(|(genes, values)| self.costs.assessed(genes.clone(), &values))
            .collect();
        let values = archive::rows(&members, objectives);
        if self.state.reference.is_empty() {
            self.state.reference = archive::reference_point(&values);
        }
        let front = archive::front(&members, &self.aims);
        let generation = self.state.course.generation;
        let mut further = self.agreement(&members);
        let error = further.remove(0);
        let event = Event::Generation(Generation {
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
            tau: error.tau,
            rho: error.rho,
            rmse: error.rmse,
            predicted: error.predicted,
            further,
            predictors: self.state.predictors.clone(),
            seconds: std::mem::take(&mut self.seconds),
        });
        self.state.archive = members
            .iter()
            .map(|member| ArchiveLine::of(generation, member))
            .collect();
        self.state.readings = measured;
        self.state.position = Position::Complete;
        // The saved state is the commit: what is written before it is taken back by a resume that does not find it.
        self.directory.write_archive(generation, &members)?;
        self.directory
            .write_front(&self.front(members), &self.record.space)?;
        self.directory.append_event(&event)?;
        self.save()?;
        observer.event(&event);
        Ok(())
    }
}
