//! Supernets as files: safetensors with the space, the classes and the normalisation beside the weights.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use nat_space::{Resolutions, Space};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::layout::Layout;
use crate::parameters::from_vec;
use crate::supernet::Supernet;

/// Marks a file as ours; it changes when the meaning of an entry changes.
const FORMAT: &str = "nat-supernet-1";

/// The single metadata entry. One entry, because several would be written in no fixed order.
const ENTRY: &str = "nat";

/// What a supernet was trained for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Class names in the order of the logits.
    pub class_names: Vec<String>,
    /// Subtracted from each RGB channel, on a scale from 0 to 1.
    pub mean: [f32; 3],
    /// Divides each RGB channel afterwards; same scale.
    pub std: [f32; 3],
    /// Filter that images were scaled with, `bicubic` or `bilinear`. A file that does not say means `bicubic`.
    #[serde(default = "bicubic")]
    pub filter: String,
}

fn bicubic() -> String {
    "bicubic".into()
}

/// The supernets of a space, one for each of its width multipliers.
#[derive(Clone, Debug)]
pub struct SupernetFile {
    /// In order of width.
    pub supernets: Vec<Supernet>,
    /// What they were trained for.
    pub provenance: Provenance,
}

/// Why a supernet file was not read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Writing failed.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Reading failed.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is damaged or something else.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong: which entry or tensor, what was expected, what came.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    space: String,
    classes: usize,
    #[serde(flatten)]
    provenance: Provenance,
}

impl SupernetFile {
    /// The space of the supernets.
    pub fn space(&self) -> &Space {
        self.supernets[0].space()
    }

    /// The same weights for networks of other input sides.
    pub fn with_resolutions(mut self, resolutions: Resolutions) -> SupernetFile {
        for supernet in &mut self.supernets {
            supernet.set_resolutions(resolutions);
        }
        self
    }

    /// Writes the file beside its place, flushes it and renames it into place. Equal supernets give equal bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; an existing file is then untouched.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for supernet in &self.supernets {
            let width = supernet.width();
            for parameter in supernet.parameters() {
                let name = format!("w{width}/{}", parameter.name());
                tensors.insert(
                    name,
                    (parameter.shape().to_vec(), bytes(&parameter.to_vec())),
                );
            }
            for norm in supernet.statistics() {
                for (part, values) in [
                    ("running_mean", &norm.mean),
                    ("running_var", &norm.variance),
                ] {
                    let name = format!("w{width}/{}.{part}", norm.name);
                    tensors.insert(name, (vec![values.len()], bytes(values)));
                }
            }
        }
        let header = Header {
            format: FORMAT.into(),
            space: self.space().to_toml(),
            classes: self.supernets[0].classes(),
            provenance: self.provenance.clone(),
        };
        let header = serde_json::to_string(&header).expect("a header is plain data");
        let views = tensors.iter().map(|(name, (shape, raw))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), raw);
            (name.as_str(), view.expect("four bytes a value"))
        });
        let metadata = HashMap::from([(ENTRY.to_string(), header)]);
        let file = safetensors::serialize(views, Some(metadata)).expect("views are consistent");
        nat_weights::write_whole(path, &file).map_err(|source| CheckpointError::Write {
            path: path.into(),
            source,
        })
    }

    /// Reads a file that [`SupernetFile::save`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, is cut short or no supernet file, or a tensor is missing, superfluous, of another shape or
    /// with a value that no weight or variance has; the message names it.
    pub fn load(path: &Path) -> Result<SupernetFile, CheckpointError> {
        let raw = fs::read(path).map_err(|source| CheckpointError::Read {
            path: path.into(),
            source,
        })?;
        parse(&raw).map_err(|reason| CheckpointError::Malformed {
            path: path.into(),
            reason,
        })
    }
}

fn parse(raw: &[u8]) -> Result<SupernetFile, String> {
    let refuse = |error: safetensors::SafeTensorError| {
        format!("not a supernet file, or cut short ({error})")
    };
    let (_, metadata) = SafeTensors::read_metadata(raw).map_err(refuse)?;
    let file = SafeTensors::deserialize(raw).map_err(refuse)?;
    let entry = metadata.metadata().as_ref().and_then(|map| map.get(ENTRY));
    let entry =
        entry.ok_or("a safetensors file, but not of a supernet: it has no metadata entry 'nat'")?;
    let header: Header = serde_json::from_str(entry)
        .map_err(|error| format!("the metadata entry 'nat': {error}"))?;
    if header.format != FORMAT {
        return Err(format!(
            "this version reads the format '{FORMAT}', the file has '{}'",
            header.format
        ));
    }
    let space = Space::from_toml(&header.space).map_err(|error| format!("its space: {error}"))?;
    if header.classes == 0 || header.classes != header.provenance.class_names.len() {
        return Err(format!(
            "{} class names for {} classes",
            header.provenance.class_names.len(),
            header.classes
        ));
    }
    let Provenance { mean, std, .. } = &header.provenance;
    if !mean.iter().all(|mean| mean.is_finite())
        || !std.iter().all(|std| std.is_finite() && *std > 0.0)
    {
        return Err(format!(
            "pixels with a mean of {mean:?} and a deviation of {std:?} cannot be normalised"
        ));
    }
    // The header could promise more weights than memory holds: they must be there before room is made for them.
    let promised: usize = (0..space.width_multipliers.len())
        .flat_map(|width| Layout::new(&space, width, header.classes).parameters)
        .map(|parameter| 4 * parameter.len())
        .sum();
    if promised > raw.len() {
        return Err(format!(
            "{} bytes are too few for the weights of the space '{}'",
            raw.len(),
            space.name
        ));
    }
    let mut left: BTreeMap<String, TensorView> = file.tensors().into_iter().collect();
    let supernets = (0..space.width_multipliers.len())
        .map(|width| {
            let mut take = |name: &str, shape: &[usize]| take(&mut left, width, name, shape);
            let mut supernet = Supernet::blank(&space, width, header.classes);
            let device = supernet.device().clone();
            for parameter in supernet.parameters_mut() {
                let values = take(parameter.name(), parameter.shape())?;
                parameter.set(from_vec(values, &device));
            }
            for norm in supernet.statistics_mut() {
                norm.mean = take(&format!("{}.running_mean", norm.name), &[norm.mean.len()])?;
                norm.variance = take(
                    &format!("{}.running_var", norm.name),
                    &[norm.variance.len()],
                )?;
            }
            Ok(supernet)
        })
        .collect::<Result<_, String>>()?;
    if let Some(name) = left.keys().next() {
        return Err(format!(
            "the tensor {name} does not belong to the space '{}'",
            space.name
        ));
    }
    Ok(SupernetFile {
        supernets,
        provenance: header.provenance,
    })
}

/// Takes one tensor out of those that are left.
fn take(
    left: &mut BTreeMap<String, TensorView>,
    width: usize,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, String> {
    let name = format!("w{width}/{name}");
    let view = left
        .remove(&name)
        .ok_or_else(|| format!("the tensor {name} is missing"))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(format!(
            "the tensor {name} is {:?} {:?}, expected F32 {shape:?}",
            view.dtype(),
            view.shape()
        ));
    }
    let values: Vec<f32> = (view.data().chunks_exact(4))
        .map(|raw| f32::from_le_bytes(raw.try_into().expect("four bytes")))
        .collect();
    let variance = name.ends_with(".running_var");
    match values
        .iter()
        .find(|value| !value.is_finite() || variance && **value < 0.0)
    {
        Some(bad) => Err(format!("the tensor {name} holds {bad}")),
        None => Ok(values),
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SupernetFile {
        let space = Space::builtin("tiny").unwrap();
        SupernetFile {
            supernets: vec![Supernet::new(&space, 0, 3, 7)],
            provenance: Provenance {
                class_names: ["a", "b", "c"].map(String::from).to_vec(),
                mean: [0.5, 0.25, 0.125],
                std: [0.1, 0.2, 0.3],
                filter: "bilinear".into(),
            },
        }
    }

    #[test]
    fn files_survive_and_equal_supernets_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        file().save(&one).unwrap();
        let loaded = SupernetFile::load(&one).unwrap();
        assert_eq!(loaded.provenance, file().provenance);
        assert_eq!(loaded.space(), file().space());
        loaded.save(&two).unwrap();
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        file().save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let error = SupernetFile::load(&path).unwrap_err().to_string();
            assert!(
                error.contains("net.safetensors") && !error.contains('\n'),
                "{error}"
            );
            error
        };
        for cut in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            assert!(refused(&whole[..cut]).contains("cut short"), "cut at {cut}");
        }
        assert!(refused(b"plain text that is no file of ours").contains("not a supernet file"));
        let text = String::from_utf8_lossy(&whole[8..200]).into_owned();
        let position = whole
            .windows(8)
            .position(|part| part == b"w0/first")
            .unwrap();
        assert!(!text.is_empty());
        let mut renamed = whole.clone();
        renamed[position + 3] = b'x';
        assert!(refused(&renamed).contains("missing"));
        let names: serde_json::Value = {
            let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
            serde_json::from_slice(&whole[8..8 + length]).unwrap()
        };
        let data = whole.len() - {
            let ends = names.as_object().unwrap().values();
            let ends = ends.filter_map(|tensor| tensor["data_offsets"][1].as_u64());
            ends.max().unwrap() as usize
        };
        for (name, value) in [
            ("w0/first_conv.conv.weight", f32::NAN),
            ("w0/first_conv.bn.running_var", -1.0),
        ] {
            let at = data + names[name]["data_offsets"][0].as_u64().unwrap() as usize;
            let mut odd = whole.clone();
            odd[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(refused(&odd).contains(name));
        }
        let mut flat = file();
        flat.provenance.std[1] = 0.0;
        flat.save(&path).unwrap();
        let error = SupernetFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("deviation of"), "{error}");
        let mut other = whole.clone();
        let format = other
            .windows(14)
            .position(|part| part == FORMAT.as_bytes())
            .unwrap();
        other[format + 13] = b'9';
        assert!(refused(&other).contains("nat-supernet-9"));
    }

    #[test]
    fn a_header_alone_takes_no_memory_for_weights() {
        let file = file();
        let mut space = file.space().clone();
        space.head.expand = 8_000;
        let classes = 2_000_000;
        let header = Header {
            format: FORMAT.into(),
            space: space.to_toml(),
            classes,
            provenance: Provenance {
                class_names: vec![String::new(); classes],
                ..file.provenance
            },
        };
        let entry = serde_json::to_string(&header).unwrap();
        let metadata = HashMap::from([(ENTRY.to_string(), entry)]);
        let none: [(&str, TensorView); 0] = [];
        let raw = safetensors::serialize(none, Some(metadata)).unwrap();
        let error = parse(&raw).unwrap_err();
        assert!(error.contains("too few for the weights"), "{error}");
    }
}
