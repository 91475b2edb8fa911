//! What a network is judged by. All objectives are minimised.

use std::{
    collections::BTreeSet,
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::SearchError;

/// A name that the user gave, such as that of a device. Copied freely: the text is kept for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(&'static str);

/// The names there are; a process knows a handful.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl Name {
    /// The name of a text.
    pub fn new(text: &str) -> Name {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(text) {
            return Name(known);
        }
        let kept: &'static str = Box::leak(text.into());
        names.insert(kept);
        Name(kept)
    }

    /// Its text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// One axis of the trade-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Objective {
    /// Top-1 error on the search split in percent, after BN recalibration; the mean over the data sets where there are
    /// several.
    Error,
    /// The same on one of several data sets.
    ErrorOn(Name),
    /// Multiply-adds of convolutions and linear layers for one image.
    Madds,
    /// Weights, biases and batch-norm scales and shifts.
    Params,
    /// Bytes of the largest set of activations alive at once, for one image in single precision.
    Memory,
    /// Milliseconds for one image on the device of a latency table.
    Latency(Name),
    /// What an external command or a linked [`Measure`](crate::Measure) of this name says.
    Command(Name),
}

impl Objective {
    /// The objectives that every run knows, in the order in which they are listed to people.
    pub const CLOSED: [Objective; 4] = [
        Objective::Error,
        Objective::Madds,
        Objective::Params,
        Objective::Memory,
    ];

    /// Reads a comma-separated list such as `error,madds`.
    ///
    /// # Errors
    /// An unknown or repeated name, or an empty list.
    pub fn parse_list(text: &str) -> Result<Vec<Objective>, SearchError> {
        let names = text.split(',').map(str::trim);
        let list: Vec<Objective> = names.map(str::parse).collect::<Result<_, _>>()?;
        match Objective::repeated(&list) {
            Some(twice) => Err(SearchError::Config(format!(
                "objective '{twice}' is given twice"
            ))),
            None => Ok(list),
        }
    }

    /// The first of a list that stands in it before.
    pub fn repeated(list: &[Objective]) -> Option<Objective> {
        let mut all = list.iter().enumerate();
        all.find(|&(at, one)| list[..at].contains(one))
            .map(|(_, &one)| one)
    }

    /// Whether networks must be measured to know it, so that the search predicts it.
    pub fn is_measured(self) -> bool {
        match self {
            Objective::Error | Objective::ErrorOn(_) | Objective::Command(_) => true,
            Objective::Madds | Objective::Params | Objective::Memory | Objective::Latency(_) => {
                false
            }
        }
    }

    /// Whether it is an error in percent.
    pub fn is_error(self) -> bool {
        matches!(self, Objective::Error | Objective::ErrorOn(_))
    }
}

impl FromStr for Objective {
    type Err = SearchError;

    fn from_str(name: &str) -> Result<Self, SearchError> {
        match name.split_once(':').unwrap_or((name, "")) {
            ("error", "") => Ok(Objective::Error),
            ("madds", "") => Ok(Objective::Madds),
            ("params", "") => Ok(Objective::Params),
            ("memory", "") => Ok(Objective::Memory),
            ("latency", device) => Ok(Objective::Latency(Name::new(device))),
            ("error", set) => Ok(Objective::ErrorOn(Name::new(set))),
            ("command", command) if !command.is_empty() => {
                Ok(Objective::Command(Name::new(command)))
            }
            _ => Err(SearchError::Config(format!(
                "there is no objective '{name}'; the objectives are error, madds, params, memory, latency:TABLE, \
                 error:SET and command:NAME"
            ))),
        }
    }
}

impl TryFrom<String> for Objective {
    type Error = SearchError;

    fn try_from(name: String) -> Result<Self, SearchError> {
        name.parse()
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> String {
        objective.to_string()
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objective::Error => f.write_str("error"),
            Objective::Madds => f.write_str("madds"),
            Objective::Params => f.write_str("params"),
            Objective::Memory => f.write_str("memory"),
            Objective::Latency(Name("")) => f.write_str("latency"),
            Objective::Latency(name) => write!(f, "latency:{}", name.as_str()),
            Objective::ErrorOn(set) => write!(f, "error:{}", set.as_str()),
            Objective::Command(name) => write!(f, "command:{}", name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for text in [
            "error",
            "madds",
            "params",
            "memory",
            "latency",
            "latency:phone",
            "error:trash",
            "command:energy",
        ] {
            let objective: Objective = text.parse().unwrap();
            assert_eq!(objective.to_string(), text);
            let json = serde_json::to_string(&objective).unwrap();
            assert_eq!(serde_json::from_str::<Objective>(&json).unwrap(), objective);
        }
        let phone: Objective = "latency:phone".parse().unwrap();
        assert_eq!(phone, Objective::Latency(Name::new("phone")));
        for wrong in ["madds:1", "command", "command:", "energy"] {
            assert!(wrong.parse::<Objective>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_read_in_order_and_bad_ones_refused() {
        assert_eq!(
            Objective::parse_list("madds, error").unwrap(),
            [Objective::Madds, Objective::Error]
        );
        assert!(
            Objective::parse_list("error,error")
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        let unknown = Objective::parse_list("error,energy")
            .unwrap_err()
            .to_string();
        assert!(
            unknown.contains("'energy'") && unknown.contains("error, madds, params"),
            "{unknown}"
        );
        assert!(Objective::parse_list("").is_err());
    }
}
