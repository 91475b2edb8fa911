//! What a run tells while it goes: lines of `events.jsonl`, and finer progress for people who watch.

use nat_predictor::metrics;
use nat_search::{Name, Objective, PredictorKind, Settings};
use serde::{Deserialize, Serialize};

use crate::Course;

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The run began.
    Start {
        /// Seconds since the Unix epoch.
        time: u64,
        /// Version of the program.
        version: String,
        /// Seed of the run.
        seed: u64,
    },
    /// The run was taken up again.
    Resume {
        /// Seconds since the Unix epoch.
        time: u64,
        /// Iteration in which it goes on.
        generation: usize,
    },
    /// A pass over the training images ended.
    Epoch(Epoch),
    /// An iteration ended: every member of the archive has been measured.
    Generation(Generation),
    /// The run is complete.
    Finish(Finish),
}

/// A pass over the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Iteration.
    pub generation: usize,
    /// What is being trained for.
    pub phase: Phase,
    /// The data set, where the run has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Passes done in this phase, counted from 1.
    pub epoch: usize,
    /// Steps done in this phase.
    #[serde(default)]
    pub step: usize,
    /// Mean loss of the pass, or of what a resume left of it: with the sandwich rule, and before the first archive, that of the largest
    /// subnet, else the mean of all.
    pub loss: f64,
    /// Training images a second.
    pub images_per_s: f64,
    /// Learning rate of the last step.
    pub lr: f64,
}

/// The end of an iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Iteration; 0 is the first archive.
    pub generation: usize,
    /// Members of the archive.
    pub archive: usize,
    /// Non-dominated ones among them.
    pub front: usize,
    /// Share of the reference box that the front dominates.
    pub hypervolume: f64,
    /// Least error in percent.
    pub best_error: f64,
    /// Kendall's tau-b of predicted against measured errors of the newly measured.
    pub tau: Option<f64>,
    /// Spearman's rho of the same.
    pub rho: Option<f64>,
    /// Root of the mean squared difference of the same, in points.
    pub rmse: Option<f64>,
    /// Predicted and measured errors of the newly measured.
    pub predicted: Vec<(f64, f64)>,
    /// The same of whatever is measured besides the error: the errors on several data sets, what commands say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Agreement>,
    /// The models that predicted, of the error first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictors: Vec<PredictorKind>,
    /// Where the time went since the iteration was begun or taken up again.
    pub seconds: Seconds,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Wall-clock seconds of the process that finished it.
    pub seconds: f64,
    /// Largest resident set of that process in MiB, where the system tells.
    pub peak_rss_mb: Option<f64>,
}

/// How well one measured objective of the newly measured was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The objective.
    pub objective: Objective,
    /// Kendall's tau-b.
    pub tau: Option<f64>,
    /// Spearman's rho.
    pub rho: Option<f64>,
    /// Root of the mean squared difference.
    pub rmse: Option<f64>,
    /// Predicted and measured values.
    pub predicted: Vec<(f64, f64)>,
}

impl Agreement {
    /// Judges pairs of predicted and measured values; fewer than three say nothing.
    pub(crate) fn new(objective: Objective, predicted: Vec<(f64, f64)>) -> Agreement {
        let (foreseen, measured): (Vec<f64>, Vec<f64>) = predicted.iter().copied().unzip();
        let judged = predicted.len() >= 3;
        let metric = |of: fn(&[f64], &[f64]) -> Option<f64>| {
            judged.then(|| of(&foreseen, &measured)).flatten()
        };
        Agreement {
            objective,
            tau: metric(metrics::kendall_tau),
            rho: metric(metrics::spearman),
            rmse: metric(metrics::rmse),
            predicted,
        }
    }
}

/// Wall-clock seconds of the parts of an iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Training from nothing, or the warm-up (in iteration 0 only).
    pub pretrain: f64,
    /// Adaptation.
    pub adapt: f64,
    /// Measuring the archive.
    pub evaluate: f64,
    /// Measuring what commands say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commands: f64,
    /// Fitting the predictor.
    pub fit: f64,
    /// The inner search and the survival.
    pub search: f64,
    /// What training, measuring and saving were made of.
    #[serde(default)]
    pub within: Within,
}

impl Seconds {
    /// All parts together.
    pub fn total(&self) -> f64 {
        self.pretrain + self.adapt + self.evaluate + self.commands + self.fit + self.search
    }
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// What the parts of an iteration were made of, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Within {
    /// Training: waiting for images.
    pub waiting: f64,
    /// Training: forward and backward passes.
    pub gradients: f64,
    /// Training: steps of the optimizer.
    pub updates: f64,
    /// Measuring: recalibration of batch norm, summed over the workers; the first at a resolution prepares the images.
    pub calibration: f64,
    /// Measuring: classification, summed over the workers.
    pub classification: f64,
    /// Writing the state, inside of training and after iterations.
    pub saving: f64,
}

/// A part of an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Training a supernet from nothing.
    Pretrain,
    /// Training the smaller subnets of a supernet that came with weights.
    WarmUp,
    /// Training one network.
    Finetune,
    /// Fitting the predictor and searching.
    Search,
    /// Training the supernet on the archive's marginals.
    Adapt,
    /// Measuring.
    Evaluate,
    /// Measuring what commands say.
    Commands,
}

impl Phase {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pretrain => "pretrain",
            Phase::WarmUp => "warm-up",
            Phase::Finetune => "fine-tune",
            Phase::Search => "search",
            Phase::Adapt => "adapt",
            Phase::Evaluate => "evaluate",
            Phase::Commands => "commands",
        }
    }

    /// The section of a configuration that a phase of training is set by.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Phase::Pretrain => "pretrain",
            Phase::WarmUp | Phase::Finetune => "warm_up",
            _ => "adapt",
        }
    }
}

/// How far a phase has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// The data set, where the run has several.
    pub set: Option<Name>,
    /// The iteration it belongs to.
    pub course: Course,
    /// How many iterations and closing rounds there are to be.
    pub search: Settings,
    /// Steps or networks done.
    pub done: usize,
    /// Steps or networks in all.
    pub total: usize,
    /// Images a second since the phase began in this process.
    pub images_per_s: f64,
    /// Smoothed training loss, where the phase trains.
    pub loss: Option<f64>,
}

/// Somebody who watches a run.
pub trait Observer {
    /// A line of the event log was written.
    fn event(&mut self, event: &Event);
    /// A step was made.
    fn progress(&mut self, progress: &Progress);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_tagged_line() {
        let event = Event::Resume {
            time: 5,
            generation: 2,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"event":"resume","time":5,"generation":2}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
