//! What a finished cell has found: its `result.json`.

use serde::{Deserialize, Serialize};

use super::{cell::short_hash, child::Spent, question::Question, settings::Settings};

/// A network that a cell made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Genotype.
    pub genes: String,
    /// Multiply-adds.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
    /// Input side in pixels.
    pub resolution: usize,
    /// Error on the search split in percent.
    pub search_error: f64,
    /// Error on the test split in percent.
    pub test_error: f64,
    /// Whether both errors are means over the classes instead of the images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub balanced: bool,
    /// Test error before the training of this cell, where it trained a network of a search further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
}

/// How well a model predicted errors from so many samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Name of the predictor.
    pub predictor: String,
    /// Networks it was fitted on.
    pub samples: usize,
    /// Kendall's tau-b on the held-out networks.
    pub tau: Option<f64>,
    /// Spearman's rho on them.
    pub rho: Option<f64>,
    /// Root mean square error on them, in points.
    pub rmse: f64,
}

/// What a finished cell found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// Wall-clock seconds of its work, interruptions left out, reading of the test split too.
    pub seconds: f64,
    /// Processor seconds of the same, where the system tells.
    pub processor_seconds: Option<f64>,
    /// The processor that ended it, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What a search was set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// Its networks.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Its study of predictors.
    #[serde(default)]
    pub predictions: Vec<Prediction>,
}

impl Found {
    /// What tells its networks from those of another run of the same search.
    pub(super) fn fingerprint(&self) -> String {
        let text = serde_json::to_string(&self.networks).expect("plain values");
        short_hash(text.as_bytes())
    }

    pub(super) fn take(&mut self, spent: &Spent) {
        self.seconds += spent.seconds;
        self.processor_seconds = match (self.processor_seconds, spent.processor_seconds) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }
}
