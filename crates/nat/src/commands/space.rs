//! `nat space`: the search spaces.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;
use nat_space::{Genotype, Space, parse_genes};
use nat_transfer::streams::{Purpose, key, stream};
use serde_json::json;

use crate::{
    answer, args,
    failure::{bad_input, wrong_argument},
    table,
};

/// Classes that costs are told for where nothing says how many.
const CLASSES: usize = 1000;

pub fn run(args: &args::Space) -> Result<()> {
    match args {
        args::Space::List { json } => list(*json),
        args::Space::Show { space } => out!("{}", load(space)?.0.to_toml()),
        args::Space::Count {
            space,
            genes,
            classes,
            json,
        } => {
            let (space, of_run) = load(space)?;
            let classes = classes.or(of_run).unwrap_or(CLASSES);
            count(&space, genes, classes, *json)?;
        }
        args::Space::Sample { space, n, seed } => sample(&load(space)?.0, *n, *seed)?,
    }
    Ok(())
}

/// A space by built-in name or file, or that of a run, whose resolutions may be others; of a run also the classes by which its
/// costs are counted: those of the data set with the most.
fn load(name: &str) -> Result<(Space, Option<usize>)> {
    let folder = Path::new(name);
    if !folder.is_dir() || Space::BUILTIN_NAMES.contains(&name) {
        return Ok((Space::load(name)?, None));
    }
    let record = answer::record(folder)?;
    let classes = record.data.iter().map(|data| data.classes.len()).max();
    Ok((record.space, classes))
}

/// A genotype from the command line: integers, `max`, `mid`, `min`, or a file with the network as once-for-all's and NAT's programs write
/// it. One that is not canonical is accepted with a notice.
pub fn genotype(space: &Space, text: &str) -> Result<Genotype> {
    match text {
        "max" => return Ok(space.largest()),
        "min" => return Ok(space.smallest()),
        "mid" => return Ok(space.middle()),
        _ => {}
    }
    if Path::new(text).is_file() {
        let bad = |reason: String| bad_input(format!("{text}: {reason}"));
        let json = fs::read_to_string(text).map_err(|error| bad(error.to_string()))?;
        let architecture =
            (space.architecture_from_json(&json, None)).map_err(|error| bad(error.to_string()))?;
        return (space.genotype_of(&architecture)).map_err(|error| bad(error.to_string()));
    }
    let genes = parse_genes(text).map_err(|error| {
        wrong_argument(format!(
            "'{text}' is no genotype: give comma-separated genes, 'min', 'mid', 'max' or a file of a network (net.subnet) ({error})"
        ))
    })?;
    let genotype = space.genotype(&genes)?;
    if !space.is_canonical(&genes) {
        errln!(
            "nat: the genotype is not canonical (a layer follows a skipped one); it is read as {genotype}"
        );
    }
    Ok(genotype)
}

fn list(as_json: bool) {
    let spaces =
        Space::BUILTIN_NAMES.map(|name| Space::builtin(name).expect("built-in names have a space"));
    if as_json {
        for space in spaces {
            outln!(
                "{}",
                json!({ "name": space.name, "genes": space.genes(), "networks": space.size().to_string() })
            );
        }
        return;
    }
    let rows: Vec<Vec<String>> = spaces
        .iter()
        .map(|space| {
            let costs = |genotype| {
                let count = space.count(&genotype, CLASSES);
                table::millions(count.madds)
            };
            vec![
                space.name.clone(),
                space.genes().to_string(),
                format!("{:.1e}", space.size() as f64),
                format!("{}..{}", space.resolutions.from, space.resolutions.to),
                format!("{} to {}", costs(space.smallest()), costs(space.largest())),
            ]
        })
        .collect();
    out!(
        "{}",
        table::render(
            &[
                "space",
                "genes",
                "networks",
                "pixels",
                "MAdds (1000 classes)"
            ],
            &rows
        )
    );
}

fn count(space: &Space, genes: &str, classes: usize, as_json: bool) -> Result<()> {
    let count = space.count(&genotype(space, genes)?, classes);
    if as_json {
        outln!("{}", serde_json::to_string(&count)?);
        return Ok(());
    }
    outln!("genes       {}", count.genes);
    outln!("resolution  {}", count.resolution);
    outln!("depths      {:?}", count.depths);
    outln!("kernels     {:?}", count.kernels);
    outln!("expands     {:?}", count.expands);
    outln!(
        "MAdds       {} (convolutions and linear layers)",
        count.madds
    );
    outln!("params      {}", count.params);
    outln!("classes     {classes}");
    Ok(())
}

fn sample(space: &Space, n: usize, seed: u64) -> Result<()> {
    let mut rng = stream(key(seed, Purpose::Designs, 0, 0));
    let genotypes = space
        .sample_distinct(n, &mut rng, &BTreeSet::new())
        .map_err(|error| wrong_argument(error.to_string()))?;
    for genotype in genotypes {
        outln!("{genotype}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_subnet_is_a_genotype() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.subnet");
        let given = |text: &str| {
            fs::write(&path, text).unwrap();
            genotype(&Space::builtin("nat").unwrap(), &path.display().to_string())
        };
        let error = given(r#"{"ks": [3], "e": [6], "d": [2, 2, 3, 4, 4], "r": 224, "w": 1.0}"#);
        let error = error.unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 3);
        assert!(error.to_string().contains("net.subnet: "), "{error}");
        let space = Space::builtin("nat").unwrap();
        let genes = "8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7";
        let expected = space.parse(genes).unwrap();
        let text = space.architecture_to_json(&space.architecture(&expected));
        assert_eq!(given(&text).unwrap(), expected);
        assert_eq!(genotype(&space, genes).unwrap(), expected);
    }
}
