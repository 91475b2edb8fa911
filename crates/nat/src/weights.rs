//! Opening supernets by path or built-in name.

use std::path::Path;

use anyhow::Result;
use nat_export::{ExportError, Model, ModelInfo};
use nat_supernet::import::{self, Origin};
use nat_supernet::{Provenance, Supernet, SupernetFile};

use crate::failure::wrong_argument;

/// Name of the built-in weights: EfficientNet-Lite0 of ImageNet.
pub const LITE0: &str = "lite0";

static LITE0_WEIGHTS: &[u8] = include_bytes!("../../../assets/lite0/lite0-f16.safetensors");

/// Opens the built-in weights of a name, a supernet file, or as `lite0:FILE` or `mobilenet-v2:FILE` the weights of an
/// ImageNet network.
pub fn open(name_or_path: &str) -> Result<SupernetFile> {
    if name_or_path == LITE0 {
        let origin = Origin::Lite0;
        let supernet = import::seed_from(LITE0_WEIGHTS, Path::new(LITE0), origin, &origin.space())?;
        return Ok(seeded(origin, supernet));
    }
    let path = Path::new(name_or_path);
    if let Some((name, file)) = name_or_path.split_once(':')
        && let Some(origin) = Origin::named(name)
    {
        return Ok(seeded(
            origin,
            import::seed(Path::new(file), origin, &origin.space())?,
        ));
    }
    if !path.exists() {
        return Err(wrong_argument(format!(
            "{name_or_path}: no such file; give a supernet file, '{LITE0}', or mobilenet-v2:FILE with torchvision's weights"
        )));
    }
    Ok(SupernetFile::load(path)?)
}

/// The description of a single network, or nothing where the name is one for [`open`].
///
/// # Errors
/// A file that is neither, or a single network that cannot be read.
pub fn single(name_or_path: &Path) -> Result<Option<ModelInfo>> {
    if name_or_path.as_os_str() == LITE0 || !name_or_path.is_file() {
        return Ok(None);
    }
    match nat_export::read_info(name_or_path) {
        Ok(info) => Ok(Some(info)),
        // Sound safetensors without the mark of a single network: `open` knows whether it is a supernet.
        Err(ExportError::Foreign {
            form: "safetensors",
            missing: "format",
            ..
        }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a single network. For what one is first cut from, the error says how.
pub fn network(path: &Path) -> Result<Model> {
    let shown = path.display();
    if path.is_dir() {
        return Err(wrong_argument(format!(
            "{shown}: is a folder; a network of a run is exported first: `nat export {shown} --to model.safetensors`"
        )));
    }
    // Of all else the runtime says what is wrong with it.
    let is_supernet = matches!(single(path), Ok(None)) && open(&path.to_string_lossy()).is_ok();
    if is_supernet {
        return Err(wrong_argument(format!(
            "{shown}: this is a supernet: `nat export {shown} --genes … --data … --to model.safetensors` writes one network of it"
        )));
    }
    Ok(Model::open(path)?)
}

/// A supernet that holds an ImageNet network, as a file; its classes are called by their numbers.
pub fn seeded(origin: Origin, supernet: Supernet) -> SupernetFile {
    let (mean, std) = origin.normalisation();
    SupernetFile {
        provenance: Provenance {
            class_names: (0..supernet.classes())
                .map(|class| class.to_string())
                .collect(),
            mean,
            std,
            filter: origin.filter().into(),
        },
        supernets: vec![supernet],
    }
}
