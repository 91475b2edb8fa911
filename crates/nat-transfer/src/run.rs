//! The loop of Neural Architecture Transfer as a state machine that can be left and entered at any step.
//!
//! ```text
//! pretrain (from nothing) or warm-up (from weights) ─▶ adapt ─▶ evaluate ─▶ complete ─▶ propose ─▶ adapt ─▶ …
//! closing rounds, with the weights as they are:                             complete ─▶ propose ─▶ evaluate ─▶ …
//! ```

mod measuring;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use nat_data::ImageSet;
use nat_search::{Aims, Costs, Measure, Member, Name, Problem, archive};
use nat_space::Genotype;
use nat_supernet::SupernetFile;

use crate::{
    Course, Epoch, Event, Finish, Generation, Observer, Phase, Progress, RunDirectory, RunRecord,
    Seconds, TransferError, adapt,
    checkpoint::{self, Candidate, Part, Position, State},
    directory::RunLock,
    events::Within,
    keeper::Keeper,
    learner::Learner,
    measures::{self, Measures},
    pretrain, propose,
    training::{Moment, Task},
    validation,
};

/// A data set with the supernets that are to learn it.
pub type Student = (Arc<ImageSet>, SupernetFile);

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
    /// One a data set, in the order of the record.
    learners: Vec<Learner>,
    measures: Measures,
    state: State,
    aims: Aims,
    costs: Costs,
    directions: Vec<Vec<f64>>,
    seconds: Seconds,
    begun: Instant,
    saved: Instant,
    _lock: RunLock,
}

/// What a run consists of besides its learners.
struct Parts {
    directory: RunDirectory,
    record: RunRecord,
    costs: Costs,
    measures: Measures,
    lock: RunLock,
}

impl Run {
    /// Starts a run in a new directory, with one student for each data set of the record. `pretrained` says whether the
    /// supernets know anything yet; `linked` are own objectives besides the commands of the configuration.
    ///
    /// # Errors
    /// An objective that nothing is known of; limits on costs that no network meets; the directory is taken or cannot be
    /// written.
    ///
    /// # Panics
    /// There are more or fewer students than data sets.
    pub fn create(
        directory: RunDirectory,
        record: RunRecord,
        students: Vec<Student>,
        pretrained: bool,
        linked: Vec<Box<dyn Measure>>,
    ) -> Result<Run, TransferError> {
        let measures = measures::assemble(&directory, &record.config, linked)?;
        let costs = record.costs(measures::names(&measures))?;
        let problem = Problem {
            costs: &costs,
            aims: &record.config.aims(),
            settings: &record.config.search,
        };
        let designs = propose::initial_designs(&problem, &record.config)?;
        directory.create(&record)?;
        let state = State {
            course: Course::default(),
            position: if pretrained {
                Position::WarmUp { set: 0, step: 0 }
            } else {
                Position::Pretrain { set: 0, step: 0 }
            },
            candidates: designs.iter().map(Candidate::unforeseen).collect(),
            archive: Vec::new(),
            seed: record.config.seed,
            objectives: record.config.objectives.clone(),
            reference: Vec::new(),
            evaluation: record.config.evaluate,
            measured: Vec::new(),
            readings: Vec::new(),
            predictors: Vec::new(),
        };
        let parts = Parts {
            measures: Measures::open(&directory, &record.config, measures)?,
            lock: directory.lock()?,
            directory,
            record,
            costs,
        };
        // With the run's sides, a genotype of its front means the same network in the supernet files that it writes.
        let sides = parts.record.space.resolutions;
        let students = students
            .into_iter()
            .map(|(set, file)| (set, file.with_resolutions(sides)))
            .collect();
        let mut run = Run::assemble(parts, students, state);
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

    /// Takes up a run where it was saved last, with its data sets and linked objectives as they were.
    ///
    /// # Errors
    /// Another process has the run, a data set has changed, the saved state does not fit what the run is for, or a file
    /// cannot be read.
    ///
    /// # Panics
    /// There are more or fewer sets than the run has.
    pub fn resume(
        directory: RunDirectory,
        sets: Vec<Arc<ImageSet>>,
        linked: Vec<Box<dyn Measure>>,
    ) -> Result<Run, TransferError> {
        let record = directory.record()?;
        let lock = directory.lock()?;
        directory.sweep()?;
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
        for (place, set) in sets.iter().enumerate() {
            Learner::check(&record, place, set)?;
        }
        let measures = measures::assemble(&directory, &record.config, linked)?;
        let costs = (record.costs(measures::names(&measures))).map_err(|error| match error {
            TransferError::Search(error) => TransferError::Damaged {
                path: directory.path("run.toml"),
                reason: error.to_string(),
            },
            error => error,
        })?;
        let (mut state, folder) = checkpoint::load_latest(&directory)?;
        validation::check_state(&directory, &record, &costs.measured(), &state, &folder)?;
        let settings = record.config.search;
        let is_over = state.position == Position::Complete && state.course.is_last(&settings);
        if !is_over && state.remeasure(record.config.evaluate) {
            directory.forget_tests()?;
        }
        let weights = checkpoint::load_weights(&folder, &record.sets())?;
        let (supernets, rest): (Vec<_>, Vec<_>) = (weights.into_iter())
            .map(|weights| (weights.supernets, (weights.velocities, weights.averaged)))
            .unzip();
        let parts = Parts {
            measures: Measures::open(&directory, &record.config, measures)?,
            directory,
            record,
            costs,
            lock,
        };
        let students = sets.into_iter().zip(supernets).collect();
        let mut run = Run::assemble(parts, students, state);
        for (learner, (velocities, averaged)) in run.learners.iter_mut().zip(rest) {
            if learner.trainee.average.is_some() && averaged.is_none() {
                return Err(TransferError::Damaged {
                    path: checkpoint::trained_path(&folder, learner.name),
                    reason: "is missing: training goes on with it where it averages weights".into(),
                });
            }
            learner.trainee.restore(velocities, averaged);
        }
        run.rewind()?;
        Ok(run)
    }

    fn assemble(parts: Parts, students: Vec<Student>, state: State) -> Run {
        let Parts {
            directory,
            record,
            costs,
            measures,
            lock,
        } = parts;
        assert_eq!(students.len(), record.data.len(), "a student for each set");
        let students = students.into_iter().enumerate();
        Run {
            learners: students
                .map(|(place, student)| Learner::new(&record, place, student, &state.position))
                .collect(),
            aims: record.config.aims(),
            directions: propose::directions(&record.config),
            directory,
            record,
            measures,
            costs,
            state,
            seconds: Seconds::default(),
            begun: Instant::now(),
            saved: Instant::now(),
            _lock: lock,
        }
    }

    /// Brings the text files back to the saved state: what came after it will be measured and logged again.
    fn rewind(&mut self) -> Result<(), TransferError> {
        let generation = self.state.course.generation;
        let complete = self.state.position == Position::Complete;
        let archive = self.archive()?;
        self.directory
            .write_archive(generation, if complete { &archive } else { &[] })?;
        if !archive.is_empty() {
            self.directory
                .write_front(&self.front(archive), &self.record.space)?;
        }
        let finished = self.is_finished();
        let place = |set: &Option<String>| {
            let name = set.as_deref().map(Name::new);
            self.learners
                .iter()
                .position(|learner| learner.name == name)
        };
        // Whether the saved state, which stands at a set and a step, contains a pass that ended with a step.
        let contains = |(at, saved): (usize, usize), set: &Option<String>, step| {
            place(set).is_some_and(|set| set < at || set == at && step <= saved)
        };
        self.directory.rewind_events(|event| match event {
            Event::Start { .. } | Event::Resume { .. } => true,
            Event::Finish(_) => finished,
            Event::Epoch(Epoch {
                phase: Phase::Pretrain | Phase::WarmUp,
                step,
                set,
                ..
            }) => match self.state.position {
                Position::Pretrain {
                    set: at,
                    step: saved,
                }
                | Position::WarmUp {
                    set: at,
                    step: saved,
                } => contains((at, saved), set, *step),
                _ => true,
            },
            Event::Epoch(Epoch {
                generation: g,
                step,
                set,
                ..
            }) => {
                let in_this = match self.state.position {
                    Position::Pretrain { .. } | Position::WarmUp { .. } => false,
                    Position::Adapt {
                        set: at,
                        step: saved,
                    } => contains((at, saved), set, *step),
                    Position::Evaluate { .. } | Position::Complete => true,
                };
                *g < generation || (*g == generation && in_this)
            }
            Event::Generation(Generation { generation: g, .. }) => {
                *g < generation || (complete && *g == generation)
            }
        })?;
        if finished {
            return Ok(());
        }
        self.directory.append_event(&Event::Resume {
            time: now(),
            generation,
        })
    }

    /// Whether every iteration is complete.
    pub fn is_finished(&self) -> bool {
        self.state.position == Position::Complete
            && self.state.course.is_last(&self.record.config.search)
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

    /// The front of an archive as the answer has it.
    fn front(&self, archive: Vec<Member>) -> Vec<Member> {
        archive::front(&self.record.settled(archive), &self.aims)
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
        if matches!(
            self.state.position,
            Position::Pretrain { set: 0, step: 0 } | Position::WarmUp { set: 0, step: 0 }
        ) {
            // A command that does not work is better known before the training than after it.
            let first = self.candidates()?;
            if !self.ask_commands(&first[..1], observer, stop)? {
                return Ok(Outcome::Interrupted);
            }
        }
        while !self.is_finished() {
            match self.state.position.clone() {
                Position::Pretrain { set, step } => {
                    self.train_first(Phase::Pretrain, (set, step), observer, stop)?
                }
                Position::WarmUp { set, step } => {
                    self.train_first(Phase::WarmUp, (set, step), observer, stop)?
                }
                Position::Adapt { set, step } => {
                    if self.train(Phase::Adapt, (set, step), observer, stop)? {
                        self.state.position = match set + 1 {
                            next if next < self.learners.len() => {
                                Position::Adapt { set: next, step: 0 }
                            }
                            _ => {
                                self.state.readings.clear();
                                self.measuring(0)
                            }
                        };
                    }
                }
                Position::Evaluate { set, errors } => self.evaluate(set, errors, observer, stop)?,
                Position::Complete => self.propose(observer)?,
            }
            if stop.load(Ordering::Relaxed) && !self.is_finished() {
                if self.state.position != Position::Complete {
                    self.save()?;
                }
                return Ok(Outcome::Interrupted);
            }
        }
        let event = Event::Finish(Finish {
            seconds: self.begun.elapsed().as_secs_f64(),
            peak_rss_mb: peak_rss_mb(),
        });
        self.directory.append_event(&event)?;
        observer.event(&event);
        Ok(Outcome::Finished)
    }

    /// Trains on towards the first archive.
    fn train_first(
        &mut self,
        phase: Phase,
        (set, step): (usize, usize),
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<(), TransferError> {
        if self.train(phase, (set, step), observer, stop)? {
            self.learners[set].begin_search();
            let next = set + 1;
            self.state.position = match phase {
                _ if next == self.learners.len() => Position::Adapt { set: 0, step: 0 },
                Phase::Pretrain => Position::Pretrain { set: next, step: 0 },
                _ => Position::WarmUp { set: next, step: 0 },
            };
            self.save()?;
        }
        Ok(())
    }

    /// Trains on from a step; returns whether the phase is done on this set. The state follows every step.
    fn train(
        &mut self,
        phase: Phase,
        (place, start): (usize, usize),
        observer: &mut (dyn Observer + Send),
        stop: &AtomicBool,
    ) -> Result<bool, TransferError> {
        let begun = Instant::now();
        let candidates = self.candidates()?;
        let several = self.learners.len() > 1;
        let steps = |learners: &[Learner]| learners.iter().map(|l| l.steps(phase)).sum::<usize>();
        let steps = several.then(|| (steps(&self.learners[..place]), steps(&self.learners)));
        let (before, rest) = self.learners.split_at_mut(place);
        let (learner, after) = rest.split_first_mut().expect("the place is one of a set");
        let task = Task {
            set: &learner.set,
            space: &self.record.space,
            config: &learner.config,
            input: learner.input,
        };
        let course = self.state.course;
        let mut keeper = Keeper {
            directory: &self.directory,
            state: &mut self.state,
            saved: &mut self.saved,
            observer,
            stop,
            save_seconds: self.record.config.upkeep.save_seconds,
            within: Within::default(),
            others: [before, after],
            name: learner.name,
            steps,
        };
        let mut watch = |moment: Moment<'_>| keeper.keep(moment, phase);
        let trainee = &mut learner.trainee;
        let done = if phase == Phase::Adapt {
            let archive = (&candidates[..], course);
            adapt::adapt(&task, archive, trainee, start, &mut watch)?
        } else {
            pretrain::pretrain(&task, phase, trainee, start, &mut watch)?
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

    /// What people who watch are told of a phase without losses.
    fn progress(&self, course: Course, phase: Phase, done: usize, total: usize) -> Progress {
        Progress {
            phase,
            set: None,
            course,
            search: self.record.config.search,
            done,
            total,
            images_per_s: 0.0,
            loss: None,
        }
    }

    fn propose(&mut self, observer: &mut (dyn Observer + Send)) -> Result<(), TransferError> {
        let course = self.state.course.next(&self.record.config.search);
        observer.progress(&self.progress(course, Phase::Search, 0, 1));
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
            course,
        )?;
        self.seconds.fit += proposal.fit_seconds;
        self.seconds.search += proposal.search_seconds;
        let known: std::collections::BTreeSet<&Genotype> =
            archive.iter().map(|member| &member.genes).collect();
        let measured = self.costs.measured();
        let candidate = |member: &Member| match known.contains(&member.genes) {
            true => Candidate::unforeseen(&member.genes),
            false => Candidate::foreseen(member, &measured),
        };
        self.state.candidates = match course.closes() {
            // Measurements with the final weights keep their value, so no network of them is given up.
            true => (archive.iter())
                .chain((proposal.members.iter()).filter(|member| !known.contains(&member.genes)))
                .map(candidate)
                .collect(),
            false => proposal.members.iter().map(candidate).collect(),
        };
        self.state.predictors = proposal.predictors;
        self.state.course = course;
        self.state.position = match course.closes() {
            true => self.measuring(0),
            false => {
                // Of a run that was given more iterations: these errors are not those of the weights to come.
                self.directory.forget_tests()?;
                Position::Adapt { set: 0, step: 0 }
            }
        };
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
        let parts: Vec<Part<'_>> = self.learners.iter().map(Learner::part).collect();
        checkpoint::save(&self.directory, &self.state, &parts)?;
        // The state after an iteration is written behind its event, so this counts for the next one.
        self.seconds.within.saving += self.saved.elapsed().as_secs_f64();
        Ok(())
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
