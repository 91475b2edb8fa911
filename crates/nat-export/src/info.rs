//! What a deployer must know beside the weights, stored in the file itself.

use std::collections::BTreeMap;
use std::path::Path;

use nat_space::limits::MAX_SIDE;
use nat_supernet::FoldedNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ExportError;

/// Name and version of this program, for [`ModelInfo::producer`].
pub const PRODUCER: &str = concat!("nat ", env!("CARGO_PKG_VERSION"));

/// Value of the metadata entry `format`, which marks a file as ours; it changes when an entry changes its meaning.
const FORMAT: &str = "nat-model-1";

/// Classes, preprocessing, identity and costs of an exported network.
///
/// In both file forms every field is one metadata entry of its own name: strings as they are, everything else
/// as JSON, beside the entry `format`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// Subtracted from each RGB channel, on a scale from 0 to 1.
    pub mean: [f32; 3],
    /// Divides each RGB channel afterwards; same scale, positive.
    pub std: [f32; 3],
    /// Side of the square input in pixels.
    pub resolution: usize,
    /// Side of the central crop over the shorter side of the resized image, in (0, 1].
    pub crop_ratio: f64,
    /// Interpolation when the image is resized, e.g. `bicubic`.
    pub filter: String,
    /// Genotype: comma-separated integers in the order of the space; empty for a network of no space.
    pub genes: String,
    /// Name of the search space that the genotype belongs to, or of what else describes the network.
    pub space: String,
    /// Multiply-adds of convolutions and linear layers for one image.
    pub madds: u64,
    /// Weights and biases before folding, batch norm's scale and shift included.
    pub params: u64,
    /// Classification error in percent, where one was measured.
    pub error: Option<f64>,
    /// Whether that counts every class the same, however many images it has; the entry is there only where it does.
    pub balanced: bool,
    /// Name and version of the program that wrote the file; see [`PRODUCER`].
    pub producer: String,
}

/// Metadata as the files hold it: name to text.
pub(crate) type Properties = BTreeMap<String, String>;

/// Where properties were read, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) form: &'static str,
}

impl ModelInfo {
    /// Checks the fields by themselves and against the network they describe.
    ///
    /// # Errors
    ///
    /// [`ExportError::Info`].
    pub(crate) fn check(&self, net: &FoldedNet) -> Result<(), ExportError> {
        let wrong = |field, reason| Err(ExportError::Info { field, reason });
        if self.classes.len() != net.classes() {
            let reason = format!(
                "{} names for a network of {} classes",
                self.classes.len(),
                net.classes()
            );
            return wrong("classes", reason);
        }
        if self.resolution != net.resolution {
            let reason = format!(
                "{} for a network of resolution {}",
                self.resolution, net.resolution
            );
            return wrong("resolution", reason);
        }
        self.check_fields()
            .or_else(|(field, reason)| wrong(field, reason))
    }

    fn check_fields(&self) -> Result<(), (&'static str, String)> {
        if !(1..=MAX_SIDE).contains(&self.resolution) {
            let reason = format!(
                "expected a side from 1 to {MAX_SIDE}, found {}",
                self.resolution
            );
            return Err(("resolution", reason));
        }
        if !self.mean.iter().all(|m| m.is_finite()) {
            return Err((
                "mean",
                format!("expected three numbers, found {:?}", self.mean),
            ));
        }
        if !self.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            let reason = format!("expected three positive numbers, found {:?}", self.std);
            return Err(("std", reason));
        }
        if !(self.crop_ratio > 0.0 && self.crop_ratio <= 1.0) {
            let reason = format!("expected a number in (0, 1], found {}", self.crop_ratio);
            return Err(("crop_ratio", reason));
        }
        if self.error.is_some_and(|e| !e.is_finite()) {
            return Err(("error", format!("expected percent, found {:?}", self.error)));
        }
        Ok(())
    }

    pub(crate) fn to_properties(&self) -> Properties {
        let text = |value: &str| value.to_string();
        [
            ("format", text(FORMAT)),
            ("classes", json(&self.classes)),
            ("mean", json(&self.mean)),
            ("std", json(&self.std)),
            ("resolution", json(&self.resolution)),
            ("crop_ratio", json(&self.crop_ratio)),
            ("filter", text(&self.filter)),
            ("genes", text(&self.genes)),
            ("space", text(&self.space)),
            ("madds", json(&self.madds)),
            ("params", json(&self.params)),
            ("error", json(&self.error)),
            ("producer", text(&self.producer)),
        ]
        .into_iter()
        .chain(self.balanced.then(|| ("balanced", json(&true))))
        .map(|(key, value)| (key.to_string(), value))
        .collect()
    }

    /// Reads what [`to_properties`](Self::to_properties) wrote; entries of other names are ignored.
    ///
    /// # Errors
    ///
    /// [`ExportError::Foreign`] for a missing entry, [`ExportError::Metadata`] for one that cannot be understood.
    pub(crate) fn from_properties(
        properties: &Properties,
        source: Source,
    ) -> Result<Self, ExportError> {
        let format = entry(properties, source, "format")?;
        if format != FORMAT {
            return Err(ExportError::Metadata {
                path: source.path.into(),
                key: "format",
                reason: format!("this version reads `{FORMAT}`, found `{format}`"),
            });
        }
        let text = |key| entry(properties, source, key).map(str::to_string);
        let info = Self {
            classes: parsed(properties, source, "classes")?,
            mean: parsed(properties, source, "mean")?,
            std: parsed(properties, source, "std")?,
            resolution: parsed(properties, source, "resolution")?,
            crop_ratio: parsed(properties, source, "crop_ratio")?,
            filter: text("filter")?,
            genes: text("genes")?,
            space: text("space")?,
            madds: parsed(properties, source, "madds")?,
            params: parsed(properties, source, "params")?,
            error: parsed(properties, source, "error")?,
            balanced: match properties.contains_key("balanced") {
                true => parsed(properties, source, "balanced")?,
                false => false,
            },
            producer: text("producer")?,
        };
        info.check_fields()
            .map_err(|(key, reason)| ExportError::Metadata {
                path: source.path.into(),
                key,
                reason,
            })?;
        Ok(info)
    }
}

/// The text of one entry.
fn entry<'p>(
    properties: &'p Properties,
    source: Source,
    key: &'static str,
) -> Result<&'p str, ExportError> {
    let found = properties.get(key).map(String::as_str);
    found.ok_or_else(|| ExportError::Foreign {
        path: source.path.into(),
        form: source.form,
        missing: key,
    })
}

/// The value of one entry that is stored as JSON.
pub(crate) fn parsed<T: DeserializeOwned>(
    properties: &Properties,
    source: Source,
    key: &'static str,
) -> Result<T, ExportError> {
    let text = entry(properties, source, key)?;
    serde_json::from_str(text).map_err(|error| ExportError::Metadata {
        path: source.path.into(),
        key,
        reason: format!("cannot be understood: {error}"),
    })
}

/// Compact JSON of a plain value.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data has a JSON form")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn info(classes: usize, resolution: usize) -> ModelInfo {
        ModelInfo {
            classes: (0..classes).map(|i| format!("class \"{i}\" é")).collect(),
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            resolution,
            crop_ratio: 0.875,
            filter: "bicubic".into(),
            genes: "8,0,1,1".into(),
            space: "tiny".into(),
            madds: 1_099_061_760,
            params: 10_701_632,
            error: Some(12.345_678_9),
            balanced: false,
            producer: PRODUCER.into(),
        }
    }

    fn here() -> Source<'static> {
        Source {
            path: Path::new("some.onnx"),
            form: "ONNX",
        }
    }

    #[test]
    fn properties_round_trip_and_are_readable() {
        for (error, balanced) in [(None, false), (Some(0.1 + 0.2), true)] {
            let info = ModelInfo {
                error,
                balanced,
                ..info(3, 64)
            };
            let properties = info.to_properties();
            assert_eq!(properties["mean"], "[0.485,0.456,0.406]");
            assert_eq!(properties["genes"], "8,0,1,1");
            let back = ModelInfo::from_properties(&properties, here()).unwrap();
            assert_eq!(back, info);
        }
    }

    #[test]
    fn every_missing_or_broken_entry_is_named() {
        let properties = info(3, 64).to_properties();
        for key in properties.keys() {
            let mut without = properties.clone();
            without.remove(key);
            let error = ModelInfo::from_properties(&without, here()).unwrap_err();
            assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
        }
        for (key, value) in [
            ("format", "nat-model-9"),
            ("classes", "3"),
            ("mean", "[0.5,0.5]"),
            ("std", "[0.5,0.5,0]"),
            ("resolution", "-1"),
            ("resolution", "0"),
            ("resolution", "4294967296"),
            ("crop_ratio", "1.5"),
            ("madds", "many"),
            ("balanced", "maybe"),
        ] {
            let mut broken = properties.clone();
            broken.insert(key.into(), value.into());
            let error = ModelInfo::from_properties(&broken, here()).unwrap_err();
            let message = error.to_string();
            assert!(
                message.starts_with(&format!("some.onnx: metadata entry `{key}`")),
                "{message}"
            );
        }
    }
}
