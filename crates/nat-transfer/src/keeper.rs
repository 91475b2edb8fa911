//! What happens between two training steps: logging, saving, and the question whether to stop.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    Event, Observer, Phase, RunDirectory, TransferError,
    checkpoint::{self, Part, Position, State},
    events::Within,
    learner::Learner,
    training::Moment,
};

/// Keeps a run while one of its learners trains.
pub(crate) struct Keeper<'a> {
    pub directory: &'a RunDirectory,
    pub state: &'a mut State,
    pub saved: &'a mut Instant,
    pub observer: &'a mut (dyn Observer + Send),
    pub stop: &'a AtomicBool,
    pub save_seconds: u64,
    pub within: Within,
    /// The learners that come before the one that trains, and those after it.
    pub others: [&'a [Learner]; 2],
    pub name: Option<nat_search::Name>,
    /// Steps of the phase on sets before this one, and on all; nothing where there is only one set.
    pub steps: Option<(usize, usize)>,
}

impl Keeper<'_> {
    /// Takes note of a step; returns whether to go on.
    pub fn keep(&mut self, moment: Moment<'_>, phase: Phase) -> Result<bool, TransferError> {
        let (step, set) = (moment.done, self.others[0].len());
        self.state.position = match phase {
            Phase::Pretrain => Position::Pretrain { set, step },
            Phase::WarmUp => Position::WarmUp { set, step },
            _ => Position::Adapt { set, step },
        };
        self.within.waiting += moment.spent.waiting;
        self.within.gradients += moment.spent.gradients;
        self.within.updates += moment.spent.updates;
        let mut progress = moment.progress;
        progress.set = self.name;
        if let Some((before, whole)) = self.steps {
            progress.done += before;
            progress.total = whole;
        }
        self.observer.progress(&progress);
        if let Some(mut epoch) = moment.epoch {
            epoch.set = self.name.map(|name| name.as_str().into());
            let event = Event::Epoch(epoch);
            self.directory.append_event(&event)?;
            self.observer.event(&event);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if self.saved.elapsed() >= Duration::from_secs(self.save_seconds) {
            let begun = Instant::now();
            let own = Part {
                name: self.name,
                trainee: moment.trainee,
            };
            let [before, after] = self
                .others
                .map(|learners| learners.iter().map(Learner::part));
            let parts: Vec<Part<'_>> = before.chain([own]).chain(after).collect();
            checkpoint::save(self.directory, self.state, &parts)?;
            self.within.saving += begun.elapsed().as_secs_f64();
            *self.saved = Instant::now();
        }
        Ok(true)
    }
}
