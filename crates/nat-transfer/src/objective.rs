//! What a network is judged by. All objectives are minimised.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::TransferError;

/// One axis of the trade-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Top-1 error on the search split in percent, after BN recalibration.
    Error,
    /// Multiply-adds of convolutions and linear layers for one image.
    Madds,
    /// Weights, biases and batch-norm scales and shifts.
    Params,
}

impl Objective {
    /// Every objective, in the order in which they are listed to people.
    pub const ALL: [Objective; 3] = [Objective::Error, Objective::Madds, Objective::Params];

    /// The name on the command line, in configurations and in files.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Error => "error",
            Objective::Madds => "madds",
            Objective::Params => "params",
        }
    }

    /// Reads a comma-separated list such as `error,madds`.
    ///
    /// # Errors
    /// An unknown or repeated name, or an empty list.
    pub fn parse_list(text: &str) -> Result<Vec<Objective>, TransferError> {
        let mut list = Vec::new();
        for name in text.split(',').map(str::trim) {
            let objective: Objective = name.parse()?;
            if list.contains(&objective) {
                return Err(TransferError::Config(format!(
                    "objective '{name}' is given twice"
                )));
            }
            list.push(objective);
        }
        Ok(list)
    }
}

impl FromStr for Objective {
    type Err = TransferError;

    fn from_str(name: &str) -> Result<Self, TransferError> {
        Objective::ALL
            .into_iter()
            .find(|objective| objective.name() == name)
            .ok_or_else(|| {
                let known = Objective::ALL.map(Objective::name).join(", ");
                TransferError::Config(format!(
                    "there is no objective '{name}'; the objectives are {known}"
                ))
            })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
