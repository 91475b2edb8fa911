//! `nat data`: what a data set holds.

use anyhow::Result;
use nat_data::Warning;

use crate::{args, dataset, table};

pub fn run(args: &args::Data) -> Result<()> {
    let set = dataset::open_quietly(&args.path, &dataset::options())?;
    let mut census = set.census().clone();
    if let Some(reason) = dataset::scarcity(&set) {
        let path = census.name.clone();
        census.warnings.push(Warning { path, reason });
    }
    if args.json {
        outln!("{}", serde_json::to_string(&census)?);
        return Ok(());
    }
    for warning in &census.warnings {
        errln!("nat: warning: {}: {}", warning.path, warning.reason);
    }
    let row = |name: &str, images: nat_data::SplitCounts| {
        vec![
            name.to_owned(),
            images.train.to_string(),
            images.val.to_string(),
            images.test.to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = census
        .classes
        .iter()
        .map(|class| row(&class.name, class.images))
        .collect();
    rows.push(row("all", census.images));
    out!(
        "{}",
        table::render(&["class", "train", "val", "test"], &rows)
    );
    let (width, height) = (census.width, census.height);
    outln!(
        "\nsizes    {} to {} wide (median {}), {} to {} high (median {})",
        width.min,
        width.max,
        width.median,
        height.min,
        height.max,
        height.median
    );
    if !census.drawn.is_empty() {
        let names: Vec<&str> = census.drawn.iter().map(|split| split.name()).collect();
        outln!(
            "drawn    {} from the training images: the set has no usable images in such folders",
            names.join(", ")
        );
    }
    outln!("skipped  {} of {} files", census.skipped, census.files);
    outln!("hash     {}", census.hash);
    Ok(())
}
