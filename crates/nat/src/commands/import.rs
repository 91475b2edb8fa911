//! `nat import`: foreign weights in.

use anyhow::Result;
use nat_space::Space;
use nat_supernet::{Parameter, Provenance, Supernet, SupernetFile};

use crate::{
    args,
    commands::search::{IMAGENET_MEAN, IMAGENET_STD},
};

/// The spaces that a once-for-all checkpoint may belong to.
const OFA_SPACES: [&str; 3] = ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "nat"];

pub fn run(args: &args::Import) -> Result<()> {
    let args::Import::Ofa { file, out } = args;
    let candidates: Vec<Space> = OFA_SPACES.into_iter().filter_map(Space::builtin).collect();
    let imported = nat_supernet::import::ofa(file, &candidates)?;
    for notice in &imported.notices {
        eprintln!("nat: {}: {notice}", file.display());
    }
    let classes = imported.supernets[0].classes();
    let supernets = SupernetFile {
        supernets: imported.supernets,
        provenance: Provenance {
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        },
    };
    supernets.save(out)?;
    let parameters: usize = supernets
        .supernets
        .iter()
        .flat_map(Supernet::parameters)
        .map(Parameter::len)
        .sum();
    println!(
        "{}: space {}, {classes} classes, {parameters} parameters",
        out.display(),
        supernets.space().name
    );
    Ok(())
}
