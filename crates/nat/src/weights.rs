//! Opening supernets by path or built-in name.

use std::path::Path;

use anyhow::Result;
use nat_export::{ExportError, Model, ModelInfo};
use nat_supernet::import::{self, Origin};
use nat_supernet::{Provenance, Supernet, SupernetFile};

use crate::{
    failure::{check_file, check_there, wrong_argument},
    shell,
};

/// Name of the built-in weights: EfficientNet-Lite0 of ImageNet.
pub const LITE0: &str = "lite0";
/// What stands for weights where a supernet is to be trained from nothing.
pub const SCRATCH: &str = "scratch";

/// What [`open`] takes.
const SUPERNETS: &str = "a supernet file, 'lite0', or mobilenet-v2:FILE with torchvision's weights";

static LITE0_WEIGHTS: &[u8] = include_bytes!("../../../assets/lite0/lite0-f16.safetensors");

/// Opens the built-in weights of a name, a supernet file, or as `lite0:FILE` or `mobilenet-v2:FILE` the weights of an
/// ImageNet network.
pub fn open(name_or_path: &str) -> Result<SupernetFile> {
    if name_or_path == LITE0 {
        let origin = Origin::Lite0;
        let supernet = import::seed_from(LITE0_WEIGHTS, Path::new(LITE0), origin, &origin.space())?;
        return Ok(seeded(origin, supernet));
    }
    check(name_or_path)?;
    if let Some((origin, file)) = imagenet(name_or_path) {
        return Ok(seeded(origin, import::seed(file, origin, &origin.space())?));
    }
    Ok(SupernetFile::load(Path::new(name_or_path))?)
}

/// Checks that there is a file where [`open`] would look for one.
///
/// # Errors
/// There is nothing, or a folder.
pub fn check(name_or_path: &str) -> Result<()> {
    match imagenet(name_or_path) {
        _ if name_or_path == LITE0 => Ok(()),
        Some((_, file)) => check_file(file, "the network's weights (.pth or .safetensors)"),
        None => check_file(Path::new(name_or_path), SUPERNETS),
    }
}

/// The network and the file of its weights that `lite0:FILE` or `mobilenet-v2:FILE` names.
fn imagenet(name: &str) -> Option<(Origin, &Path)> {
    let (name, file) = name.split_once(':')?;
    Some((Origin::named(name)?, Path::new(file)))
}

/// Checks that something is called so which a network can be cut from or which is one.
///
/// # Errors
/// There is nothing; the message lists all that could be given.
pub fn check_source(name_or_path: &Path) -> Result<()> {
    let name = name_or_path.to_string_lossy();
    match name == LITE0 || imagenet(&name).is_some() {
        true => Ok(()),
        false => check_there(
            name_or_path,
            &format!("an exported model, the folder of a run, {SUPERNETS}"),
        ),
    }
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
    let word = shell::quoted(&shown.to_string());
    if path.is_dir() {
        let instead = match path.join("run.toml").exists() {
            true => format!(
                "a network of a run is exported first: `nat export {word} --to model.safetensors`"
            ),
            false => "give an exported model (.onnx or .safetensors)".into(),
        };
        return Err(wrong_argument(format!("{shown}: is a folder; {instead}")));
    }
    // Of all else the runtime says what is wrong with it.
    let is_supernet = matches!(single(path), Ok(None)) && open(&path.to_string_lossy()).is_ok();
    if is_supernet {
        return Err(wrong_argument(format!(
            "{shown}: this is a supernet: `nat export {word} --genes … --data … --to model.safetensors` writes one network of it"
        )));
    }
    check_there(path, "an exported model (.onnx or .safetensors)")?;
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
