//! Measured networks as lines of a file.

use std::collections::BTreeMap;

use nat_space::Space;
use serde::{Deserialize, Serialize};

use crate::{Member, TransferError};

/// A measured network of one iteration: a line of `archive.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveLine {
    /// Iteration in which it was measured.
    pub generation: usize,
    /// Genotype, comma-separated.
    pub genes: String,
    /// Top-1 error on the search split in percent, counted or (`evaluate.regress`) estimated; the mean over the data
    /// sets where there are several.
    pub error: f64,
    /// Multiply-adds.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
    /// Bytes of the largest set of activations alive at once.
    #[serde(default)]
    pub memory: u64,
    /// What else is known by the name of its objective: latencies, errors on several data sets, what commands say.
    #[serde(flatten)]
    pub measures: BTreeMap<String, f64>,
}

impl ArchiveLine {
    /// The line of a member.
    pub fn of(generation: usize, member: &Member) -> ArchiveLine {
        ArchiveLine {
            generation,
            genes: member.genes.to_string(),
            error: member.error,
            madds: member.madds,
            params: member.params,
            memory: member.memory,
            measures: (member.measures.iter())
                .map(|(objective, value)| (objective.to_string(), *value))
                .collect(),
        }
    }

    /// The member of a line.
    ///
    /// # Errors
    /// The genotype is none of the space.
    pub fn member(&self, space: &Space) -> Result<Member, TransferError> {
        Ok(Member {
            genes: space.parse(&self.genes)?,
            error: self.error,
            madds: self.madds,
            params: self.params,
            memory: self.memory,
            measures: (self.measures.iter())
                .map(|(name, &value)| Ok((name.parse()?, value)))
                .collect::<Result<_, TransferError>>()?,
        })
    }
}
