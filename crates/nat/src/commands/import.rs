//! `nat import`: foreign weights in.

use std::path::PathBuf;

use anyhow::Result;
use nat_space::Space;
use nat_supernet::{
    Parameter, Provenance, Supernet, SupernetFile,
    import::{self, Origin},
};

use crate::{
    args,
    commands::search::{IMAGENET_MEAN, IMAGENET_STD},
    weights,
};

/// The spaces that a once-for-all checkpoint may belong to.
const OFA_SPACES: [&str; 3] = ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "nat"];

pub fn run(args: &args::Import) -> Result<()> {
    let (file, out) = match args {
        args::Import::Ofa { files, out } => (ofa(files)?, out),
        args::Import::Lite0(args) => (seed(Origin::Lite0, args)?, &args.out),
        args::Import::MobileNetV2(args) => (seed(Origin::MobileNetV2, args)?, &args.out),
    };
    file.save(out)?;
    let parameters: usize = file
        .supernets
        .iter()
        .flat_map(Supernet::parameters)
        .map(Parameter::len)
        .sum();
    println!(
        "{}: space {}, {} classes, {parameters} parameters",
        out.display(),
        file.space().name,
        file.provenance.class_names.len()
    );
    Ok(())
}

fn ofa(files: &[PathBuf]) -> Result<SupernetFile> {
    let candidates: Vec<Space> = OFA_SPACES.into_iter().filter_map(Space::builtin).collect();
    let imported = import::ofa(files, &candidates)?;
    for notice in &imported.notices {
        eprintln!("nat: {notice}");
    }
    let classes = imported.supernets[0].classes();
    Ok(SupernetFile {
        supernets: imported.supernets,
        provenance: Provenance {
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        },
    })
}

fn seed(origin: Origin, args: &args::Seed) -> Result<SupernetFile> {
    let space = match &args.space {
        Some(space) => Space::load(space)?,
        None => origin.space(),
    };
    Ok(weights::seeded(
        origin,
        import::seed(&args.file, origin, &space)?,
    ))
}
