//! `nat import`: foreign weights in.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nat_data::{Filter, Normalisation};
use nat_export::{ModelInfo, PRODUCER};
use nat_space::Space;
use nat_supernet::{
    Parameter, Provenance, Supernet, SupernetFile,
    import::{self, Origin},
};

use crate::{
    args,
    commands::export,
    dataset,
    failure::{bad_input, check_file},
    output, table, weights,
};

/// What weights are read from.
const WEIGHTS: &str = "a file of weights (.pth or .safetensors)";

/// The spaces that a once-for-all checkpoint may belong to.
const OFA_SPACES: [&str; 3] = ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "nat"];

pub fn run(args: &args::Import) -> Result<()> {
    match args {
        args::Import::Ofa { files, out, data } => supernet(out, data.as_deref(), || ofa(files)),
        args::Import::Lite0(args) => of_network(Origin::Lite0, args),
        args::Import::MobileNetV2(args) => of_network(Origin::MobileNetV2, args),
        args::Import::NetConfig(args) => net_config(args),
    }
}

fn of_network(origin: Origin, args: &args::Seed) -> Result<()> {
    supernet(&args.out, args.data.as_deref(), || seed(origin, args))
}

/// Imports a supernet and writes it, with the names of its classes where a data set tells them.
fn supernet(
    out: &Path,
    data: Option<&str>,
    import: impl FnOnce() -> Result<SupernetFile>,
) -> Result<()> {
    output::check_supernet("--out", out)?;
    let mut file = import()?;
    let classes = file.provenance.class_names.len();
    file.provenance.class_names = class_names(data, classes, "the supernet")?;
    file.save(out)?;
    let parameters: usize = file
        .supernets
        .iter()
        .flat_map(Supernet::parameters)
        .map(Parameter::len)
        .sum();
    outln!(
        "{}: space {}, {} classes, {parameters} parameters",
        out.display(),
        file.space().name,
        file.provenance.class_names.len()
    );
    Ok(())
}

/// The names of so many classes: those of a data set, or their numbers.
fn class_names(data: Option<&str>, classes: usize, of: &str) -> Result<Vec<String>> {
    let Some(data) = data else {
        return Ok((0..classes).map(|class| class.to_string()).collect());
    };
    let set = dataset::open_to_measure(data, &dataset::options())?;
    let names = set.classes().to_vec();
    match names.len() == classes {
        true => Ok(names),
        false => Err(bad_input(format!(
            "{data}: has {} classes, but {of} has {classes}",
            names.len()
        ))),
    }
}

fn ofa(files: &[PathBuf]) -> Result<SupernetFile> {
    for file in files {
        check_file(file, WEIGHTS)?;
    }
    let candidates: Vec<Space> = OFA_SPACES.into_iter().filter_map(Space::builtin).collect();
    let imported = import::ofa(files, &candidates)?;
    for notice in &imported.notices {
        errln!("nat: {notice}");
    }
    let classes = imported.supernets[0].classes();
    Ok(SupernetFile {
        supernets: imported.supernets,
        provenance: Provenance {
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            mean: Normalisation::IMAGENET.mean,
            std: Normalisation::IMAGENET.std,
            // mit-han-lab/once-for-all, the data provider of its ImageNet trainings.
            filter: Filter::Bilinear.name().into(),
        },
    })
}

fn seed(origin: Origin, args: &args::Seed) -> Result<SupernetFile> {
    let space = match &args.space {
        Some(space) => Space::load(space)?,
        None => origin.space(),
    };
    check_file(&args.file, WEIGHTS)?;
    Ok(weights::seeded(
        origin,
        import::seed(&args.file, origin, &space)?,
    ))
}

/// A published network: its costs, and with weights the model.
fn net_config(args: &args::NetConfig) -> Result<()> {
    let form = match &args.out {
        Some(out) => {
            let form = export::form(out)?;
            output::check("--out", out)?;
            Some(form)
        }
        None => None,
    };
    check_file(&args.config, "the layers of a network: net.config")?;
    if let Some(weights) = &args.weights {
        check_file(weights, WEIGHTS)?;
    }
    let network = nat_export::read_net_config(&args.config)?;
    let (madds, params) = (network.madds(), network.params());
    let side = network.resolution;
    let costs = format!(
        "{} classes, {} MAdds, {} params, {side}x{side} pixels",
        network.classes,
        table::millions(madds),
        table::millions(params),
    );
    let (Some(weights), Some(out), Some(form)) = (&args.weights, &args.out, form) else {
        outln!("{}: {costs}", args.config.display());
        return Ok(());
    };
    let folded = nat_export::net_config_weights(weights, &network)?;
    let of = format!("the network of {}", args.config.display());
    let classes = class_names(args.data.as_deref(), network.classes, &of)?;
    let prepared = args.trained_on.preparation();
    let info = ModelInfo {
        classes,
        mean: prepared.normalisation.mean,
        std: prepared.normalisation.std,
        resolution: side,
        crop_ratio: prepared.crop_ratio,
        filter: prepared.filter.name().into(),
        genes: String::new(),
        space: "net.config".into(),
        madds,
        params,
        error: None,
        balanced: false,
        producer: PRODUCER.into(),
    };
    form.write(out, &folded, &info)?;
    outln!("{}: {costs}", out.display());
    Ok(())
}
