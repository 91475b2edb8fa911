//! Latency of a network as the sum over a table of measured layers.
//!
//! A [`LatencyTable`] belongs to one device, runtime and number of threads. It is read from the open
//! JSON format of [`LatencyTable::from_json`], or from the tables that were published with
//! mit-han-lab/once-for-all and mikelzc1990/nsganetv2, as YAML or JSON.

mod file;
mod layer;
mod published;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use layer::{Layer, LayerKind};

use crate::{network::Network, space::Space};

/// Time of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Milliseconds for one image.
    pub ms: f64,
    /// Standard deviation or half range in milliseconds, as the table's maker has it.
    pub spread: Option<f64>,
}

/// A straight line from the sum over the layers to the time of the whole network, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Correction {
    /// Factor of the sum.
    pub scale: f64,
    /// Added to it, in milliseconds.
    pub offset: f64,
}

/// Where and how a table was measured. Empty strings and 0 where nobody said.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// The machine.
    pub device: String,
    /// What ran the layers.
    pub runtime: String,
    /// Threads of the runtime.
    pub threads: usize,
}

/// Measured layers of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyTable {
    /// Where and how the rows were measured.
    pub device: Device,
    /// Whether a layer that was measured at other input sides only is read off the line through its
    /// two nearest sides, over the number of pixels.
    pub interpolate: bool,
    /// From the sum of the rows to the network; nothing where the sum is the answer.
    pub correction: Option<Correction>,
    /// Rows by layer (its side left out) and side.
    rows: HashMap<Layer, BTreeMap<usize, Timing>>,
}

/// Why there is no table, or no latency.
#[derive(Debug, Error)]
pub enum LatencyError {
    /// The file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What the file holds is no table.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line or key.
        reason: String,
    },
    /// A layer that the table does not have.
    #[error("the table has no row for {0}")]
    Missing(Box<Layer>),
    /// A space of which some networks have no latency.
    #[error(
        "it does not cover the space '{space}', being without a row for {layer}; `nat latency build --space NAME --out FILE` \
         makes a table that does"
    )]
    Uncovered {
        /// Name of the space.
        space: String,
        /// The first layer that is missing.
        layer: Box<Layer>,
    },
}

/// Longest time that a file may hold, in milliseconds: over a week, and low enough that all sums and multiples of it are
/// finite.
const MAX_MS: f64 = 1e9;

/// A time as files may hold it.
fn milliseconds(ms: f64) -> Result<f64, String> {
    match (0.0..=MAX_MS).contains(&ms) {
        true => Ok(ms),
        false => Err(format!("{ms:?} ms, expected 0 to {MAX_MS}")),
    }
}

impl LatencyTable {
    /// A table of measured rows. Of several rows of one layer the last counts.
    pub fn new(device: Device, rows: impl IntoIterator<Item = (Layer, Timing)>) -> Self {
        let mut table = Self {
            device,
            interpolate: false,
            correction: None,
            rows: HashMap::new(),
        };
        for (layer, timing) in rows {
            table.insert(layer, timing);
        }
        table
    }

    /// Adds a row, or replaces it.
    pub fn insert(&mut self, layer: Layer, timing: Timing) {
        let (side, layer) = (layer.side, Layer { side: 0, ..layer });
        self.rows.entry(layer).or_default().insert(side, timing);
    }

    /// Reads a table: a `.json` file in the open format or as published, a published `.yaml` file, or a
    /// folder of published `.yaml` files that are each named after an input side.
    ///
    /// # Errors
    /// The file cannot be read, or is no table; the message names line or key.
    pub fn open(path: &Path) -> Result<Self, LatencyError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| LatencyError::Read {
                path: path.into(),
                source,
            })
        };
        let refuse = |path: &Path| {
            let path = path.to_owned();
            move |reason| LatencyError::File { path, reason }
        };
        if path.is_dir() {
            return published::folder(path, &read);
        }
        let text = read(path)?;
        if path.extension().is_some_and(|end| end == "json") {
            Self::from_json(&text).map_err(refuse(path))
        } else {
            published::from_yaml(&text, None).map_err(refuse(path))
        }
    }

    /// Rows in a fixed order.
    pub fn rows(&self) -> Vec<(Layer, Timing)> {
        let mut rows: Vec<(Layer, Timing)> = (self.rows.iter())
            .flat_map(|(layer, sides)| {
                sides
                    .iter()
                    .map(move |(&side, &timing)| (Layer { side, ..*layer }, timing))
            })
            .collect();
        rows.sort_by_key(|(layer, _)| *layer);
        rows
    }

    /// Milliseconds of one layer.
    ///
    /// # Errors
    /// There is no such row, or none with a finite time.
    pub fn layer_ms(&self, layer: &Layer) -> Result<f64, LatencyError> {
        layer
            .readings()
            .find_map(|layer| self.reading(&layer).or_else(|| self.other_classes(&layer)))
            // Files hold no others, but rows that are inserted may be anything.
            .filter(|ms| ms.is_finite())
            .ok_or_else(|| LatencyError::Missing(Box::new(*layer)))
    }

    /// A classifier that was timed for another number of classes: its time is that of reading its weights, so it
    /// grows with them.
    fn other_classes(&self, layer: &Layer) -> Option<f64> {
        if layer.kind != LayerKind::Classifier {
            return None;
        }
        let similar = self.rows.iter().filter(|(known, _)| {
            Layer {
                output: layer.output,
                side: layer.side,
                ..**known
            } == *layer
        });
        let (known, sides) = similar.max_by_key(|(known, _)| known.output)?;
        let timing = sides.get(&layer.side)?;
        Some(timing.ms * layer.output as f64 / known.output as f64)
    }

    fn reading(&self, layer: &Layer) -> Option<f64> {
        let sides = self.rows.get(&Layer { side: 0, ..*layer })?;
        if let Some(timing) = sides.get(&layer.side) {
            return Some(timing.ms);
        }
        if !self.interpolate {
            return None;
        }
        let below = sides.range(..layer.side).next_back();
        let above = sides.range(layer.side..).next();
        let pixels = |side: usize| (side * side) as f64;
        match (below, above) {
            (Some((&low, a)), Some((&high, b))) => {
                let share = (pixels(layer.side) - pixels(low)) / (pixels(high) - pixels(low));
                Some(a.ms + share * (b.ms - a.ms))
            }
            _ => None,
        }
    }

    /// Milliseconds of a network for one image. Layers that the table's makers did not time on their own
    /// (pooling) count where the table has them.
    ///
    /// # Errors
    /// A layer of the network is not in the table. A classifier of other classes than the table's is no error: its
    /// time is scaled by their number.
    pub fn network_ms(&self, network: &Network) -> Result<f64, LatencyError> {
        let mut sum = 0.0;
        for layer in network.timed_layers() {
            match self.layer_ms(&layer) {
                Err(_) if layer.kind == LayerKind::Pool => {}
                ms => sum += ms?,
            }
        }
        Ok(match self.correction {
            Some(Correction { scale, offset }) => (scale * sum + offset).max(0.0),
            None => sum,
        })
    }

    /// Whether every network of a space, with so many classes, has a latency.
    ///
    /// # Errors
    /// [`LatencyError::Uncovered`] with the first layer that is missing.
    pub fn covers(&self, space: &Space, classes: usize) -> Result<(), LatencyError> {
        for layer in space.timed_layers(classes) {
            if layer.kind != LayerKind::Pool && self.layer_ms(&layer).is_err() {
                return Err(LatencyError::Uncovered {
                    space: space.name.clone(),
                    layer: Box::new(layer),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
