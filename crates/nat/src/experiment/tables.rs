//! The results of an experiment as CSV and as Markdown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    Network, Plan,
    comparison::{
        Finished, against, best, cells_of, compared, hypervolume, makes_networks, reference_of,
        reference_point,
    },
    plan::Arm,
    settings,
};
use crate::spread::Spread;

/// Every network of every cell, a line each.
pub fn networks_csv(plan: &Plan, cells: &[Finished<'_>]) -> String {
    let mut text = String::from(
        "data,seed,arm,part,genes,madds,params,resolution,search_error,test_error,before,cell_seconds,cell_processor_seconds\n",
    );
    for cell in cells {
        let arm = &plan.arms[cell.arm];
        let part = arm.parts()[cell.part];
        let processor = cell.found.processor_seconds;
        for network in &cell.found.networks {
            let before = network.before.map_or(String::new(), |e| e.to_string());
            let processor = processor.map_or(String::new(), |s| format!("{s:.1}"));
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},{},{},{before},{:.1},{processor}",
                quoted(cell.data),
                cell.seed,
                quoted(&arm.name),
                quoted(part),
                quoted(&network.genes),
                network.madds,
                network.params,
                network.resolution,
                network.search_error,
                network.test_error,
                cell.found.seconds,
            );
        }
    }
    text
}

/// Every prediction study, a line each; `None` without any.
pub fn predictions_csv(plan: &Plan, cells: &[Finished<'_>]) -> Option<String> {
    let mut text = String::from("data,seed,arm,part,predictor,samples,tau,rho,rmse\n");
    let head = text.len();
    for cell in cells {
        for row in &cell.found.predictions {
            let optional = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
            let arm = &plan.arms[cell.arm];
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},{}",
                quoted(cell.data),
                cell.seed,
                quoted(&arm.name),
                quoted(arm.parts()[cell.part]),
                row.predictor,
                row.samples,
                optional(row.tau),
                optional(row.rho),
                row.rmse,
            );
        }
    }
    (text.len() > head).then_some(text)
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The tables that answer the experiment's question, in Markdown.
pub fn summary(plan: &Plan, cells: &[Finished<'_>]) -> String {
    let mut text = format!("# {}\n", plan.title);
    let sets = compared(plan, cells);
    for &data in &sets {
        let _ = write!(text, "\n## {data}\n\n{}", arms(plan, cells, data));
        for table in [
            beside_reference(plan, cells, data),
            inherited(plan, cells, data),
            further(plan, cells, data),
            predictors(plan, cells, data),
        ] {
            if !table.is_empty() {
                let _ = write!(text, "\n{table}");
            }
        }
    }
    for remark in [
        settings::differences(plan, cells, &sets),
        countings(plan, cells),
        machines(cells),
    ] {
        if !remark.is_empty() {
            let _ = write!(text, "\n{remark}");
        }
    }
    text
}

/// A line where some errors are means over the classes and others over the images, which are not to be compared.
fn countings(plan: &Plan, cells: &[Finished<'_>]) -> String {
    let arms = |balanced: bool| -> Vec<&str> {
        let counts =
            |cell: &&Finished<'_>| cell.found.networks.iter().any(|n| n.balanced == balanced);
        let arms: BTreeSet<usize> = cells.iter().filter(counts).map(|cell| cell.arm).collect();
        arms.into_iter()
            .map(|arm| plan.arms[arm].name.as_str())
            .collect()
    };
    let (balanced, plain) = (arms(true), arms(false));
    if balanced.is_empty() || plain.is_empty() {
        return String::new();
    }
    format!(
        "Errors are balanced over the classes in {}, counted over the images in {}: do not compare them\n",
        balanced.join(", "),
        plain.join(", ")
    )
}

/// The machine on which most cells ran, the first by name among equals.
fn usual_machine<'a>(cells: &'a [Finished<'_>]) -> Option<&'a str> {
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for cell in cells {
        *counts.entry(cell.found.machine.as_deref()).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    let usual = counts.into_iter().find(|&(_, count)| count == most)?;
    usual.0
}

/// A line where cells ran on several machines, whose times are not to be compared.
fn machines(cells: &[Finished<'_>]) -> String {
    let usual = usual_machine(cells);
    let elsewhere = |cell: &&Finished<'_>| cell.found.machine.as_deref() != usual;
    match cells.iter().filter(elsewhere).count() {
        0 => String::new(),
        count => format!(
            "Times are those of cells that name {}; {count} of {} name another machine, and their times are left out\n",
            usual.unwrap_or("no machine"),
            cells.len()
        ),
    }
}

/// An arm a line: what its networks dominate, the best of them under the limits, and what they took.
fn arms(plan: &Plan, cells: &[Finished<'_>], data: &str) -> String {
    let mut header = vec!["arm".to_owned(), "seeds".into(), "hypervolume".into()];
    header.push("best accuracy %".into());
    header.extend(plan.limits.iter().map(|limit| format!("to {limit}M MAdds")));
    header.extend(["minutes".into(), "processor minutes".into()]);
    let point = reference_point(cells, data);
    let usual = usual_machine(cells);
    let mut rows = Vec::new();
    for (index, arm) in plan.arms.iter().enumerate() {
        if !makes_networks(plan, index) {
            continue;
        }
        // The parts of an arm with one seed are one set of networks, which counts when it is whole.
        let seeds: Vec<Vec<&Finished<'_>>> = (plan.seeds.iter())
            .map(|seed| {
                let mine = cells_of(cells, index, data);
                mine.filter(|cell| cell.seed == *seed).collect()
            })
            .filter(|group: &Vec<_>| group.len() == arm.parts().len())
            .collect();
        if seeds.is_empty() {
            continue;
        }
        let networks: Vec<Vec<_>> = (seeds.iter())
            .map(|group| {
                let all = group.iter().flat_map(|cell| &cell.found.networks);
                all.cloned().collect()
            })
            .collect();
        let whole = seeds.len();
        let accuracy = |madds: f64| {
            let chosen = networks.iter().filter_map(|set| best(set, madds));
            let chosen: Vec<f64> = chosen.map(|network| 100.0 - network.test_error).collect();
            of_some(&chosen, whole, 1)
        };
        let mut row = vec![arm.name.clone(), seeds.len().to_string()];
        let volumes = networks.iter().map(|set| hypervolume(set, point));
        row.push(of_some(&volumes.collect::<Vec<_>>(), whole, 3));
        row.push(accuracy(f64::INFINITY));
        row.extend(plan.limits.iter().map(|limit| accuracy(1e6 * limit)));
        let here = |cell: &&Finished<'_>| cell.found.machine.as_deref() == usual;
        let timed: Vec<_> = seeds
            .iter()
            .filter(|group| group.iter().all(here))
            .collect();
        let sum = |of: &dyn Fn(&Finished<'_>) -> f64| {
            let sums = timed
                .iter()
                .map(|group| group.iter().map(|cell| of(cell)).sum::<f64>() / 60.0);
            of_some(&sums.collect::<Vec<_>>(), whole, 1)
        };
        row.push(sum(&|cell| cell.found.seconds));
        let known =
            (timed.iter().copied().flatten()).all(|cell| cell.found.processor_seconds.is_some());
        row.push(match known {
            true => sum(&|cell| cell.found.processor_seconds.unwrap_or_default()),
            false => "-".into(),
        });
        rows.push(row);
    }
    markdown(&header, &rows)
}

/// The networks of other arms beside the reference's, a line for each part of an arm.
fn beside_reference(plan: &Plan, cells: &[Finished<'_>], data: &str) -> String {
    let Some(reference) = &plan.reference else {
        return String::new();
    };
    let header = [
        "network".to_owned(),
        "pixels".into(),
        "MAdds".into(),
        "accuracy %".into(),
        format!("{reference} at no more MAdds, points"),
        format!("MAdds of {reference} at no less accuracy, share"),
    ];
    let mut rows = Vec::new();
    for (index, arm) in plan.arms.iter().enumerate() {
        if arm.name == *reference || !trains_alone(arm) {
            continue;
        }
        for (part, extra) in arm.parts().into_iter().enumerate() {
            let mine: Vec<&Finished<'_>> = cells_of(cells, index, data)
                .filter(|cell| cell.part == part)
                .collect();
            let Some(first) = mine.first().and_then(|cell| cell.found.networks.first()) else {
                continue;
            };
            let networks = mine.iter().flat_map(|cell| {
                cell.found
                    .networks
                    .iter()
                    .map(move |network| (cell, network))
            });
            let (mut accuracies, mut gains, mut shares) = (Vec::new(), Vec::new(), Vec::new());
            for (cell, network) in networks {
                accuracies.push(100.0 - network.test_error);
                if let Some(reference) = reference_of(plan, cells, cell) {
                    let found = against(network, reference);
                    gains.extend(found.gain);
                    shares.extend(found.share);
                }
            }
            let text = |values: &[f64], decimals| match values {
                [] => "none".to_owned(),
                _ => of_some(values, accuracies.len(), decimals),
            };
            rows.push(vec![
                format!("{} {extra}", arm.name).trim().to_owned(),
                first.resolution.to_string(),
                crate::table::millions(first.madds),
                text(&accuracies, 1),
                text(&gains, 1),
                text(&shares, 2),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    markdown(&header, &rows)
}

/// Networks as they are in a search's supernet beside the same ones trained alone, with the same seed.
fn inherited(plan: &Plan, cells: &[Finished<'_>], data: &str) -> String {
    let mut rows = Vec::new();
    let arms = || plan.arms.iter().enumerate();
    for (index, arm) in arms().filter(|(_, arm)| matches!(arm.work(), super::Work::Eval(_))) {
        for part in 0..arm.parts().len() {
            for (alone, other) in arms() {
                if !trains_alone(other) {
                    continue;
                }
                let mut pairs: Vec<(&Network, &Network)> = Vec::new();
                let mut seeds = BTreeSet::new();
                for cell in cells_of(cells, index, data).filter(|cell| cell.part == part) {
                    let others = cells_of(cells, alone, data).filter(|of| of.seed == cell.seed);
                    for other in others.flat_map(|of| &of.found.networks) {
                        let same = cell.found.networks.iter().filter(|own| is_same(own, other));
                        let same: Vec<_> = same.map(|own| (own, other)).collect();
                        if !same.is_empty() {
                            seeds.insert(cell.seed);
                        }
                        pairs.extend(same);
                    }
                }
                let of = |value: &dyn Fn(&(&Network, &Network)) -> f64| {
                    let values: Vec<f64> = pairs.iter().map(value).collect();
                    Spread::of(&values).map(|spread| spread.text(1))
                };
                let values = (
                    of(&|(network, _)| 100.0 - network.test_error),
                    of(&|(_, of)| 100.0 - of.test_error),
                    of(&|(network, of)| of.test_error - network.test_error),
                );
                if let (Some(inherited), Some(trained), Some(gain)) = values {
                    rows.push(vec![
                        arm.name.clone(),
                        other.name.clone(),
                        seeds.len().to_string(),
                        pairs[0].0.resolution.to_string(),
                        crate::table::millions(pairs[0].0.madds),
                        inherited,
                        trained,
                        gain,
                    ]);
                }
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "network",
        "the same network as",
        "seeds",
        "pixels",
        "MAdds",
        "accuracy % in the supernet",
        "trained alone",
        "difference",
    ];
    markdown(&header.map(str::to_owned), &rows)
}

/// Whether two networks are one architecture at one side: the first gene counts from the least side of its own space.
fn is_same(a: &Network, b: &Network) -> bool {
    let bodies = [a, b].map(|network| network.genes.split_once(',').map(|(_, body)| body));
    a.resolution == b.resolution && a.madds == b.madds && bodies[0] == bodies[1]
}

/// Whether an arm trains networks that it does not take from a search.
fn trains_alone(arm: &Arm) -> bool {
    matches!(arm.work(), super::Work::Finetune(_)) && arm.networks_of.is_none()
}

/// What further training gave the networks of a search.
fn further(plan: &Plan, cells: &[Finished<'_>], data: &str) -> String {
    let mut rows = Vec::new();
    for (index, part, name) in parts_of(plan) {
        let pairs: Vec<(f64, f64)> = cells_of(cells, index, data)
            .filter(|cell| cell.part == part)
            .flat_map(|cell| &cell.found.networks)
            .filter_map(|network| Some((100.0 - network.before?, 100.0 - network.test_error)))
            .collect();
        let of = |value: &dyn Fn(&(f64, f64)) -> f64| {
            let values: Vec<f64> = pairs.iter().map(value).collect();
            Spread::of(&values)
        };
        let parts = (of(&|p| p.0), of(&|p| p.1), of(&|p| p.1 - p.0));
        if let (Some(before), Some(after), Some(gain)) = parts {
            rows.push(vec![
                name,
                pairs.len().to_string(),
                before.text(1),
                after.text(1),
                gain.text(1),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["arm", "networks", "accuracy % before", "after", "gain"];
    markdown(&header.map(str::to_owned), &rows)
}

/// Kendall's tau and RMSE of every predictor by the number of networks it was fitted on.
fn predictors(plan: &Plan, cells: &[Finished<'_>], data: &str) -> String {
    let mut rows = Vec::new();
    for (arm, part, name) in parts_of(plan) {
        let all: Vec<_> = cells_of(cells, arm, data)
            .filter(|cell| cell.part == part)
            .flat_map(|cell| &cell.found.predictions)
            .collect();
        let mut keys: Vec<(&str, usize)> = Vec::new();
        for row in &all {
            let key = (row.predictor.as_str(), row.samples);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for (predictor, samples) in keys {
            let same = all
                .iter()
                .filter(|row| row.predictor == predictor && row.samples == samples);
            let taus: Vec<f64> = same.clone().filter_map(|row| row.tau).collect();
            let errors: Vec<f64> = same.map(|row| row.rmse).collect();
            rows.push(vec![
                name.clone(),
                predictor.to_owned(),
                samples.to_string(),
                of_some(&taus, taus.len(), 2),
                of_some(&errors, errors.len(), 2),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["arm", "predictor", "samples", "Kendall tau", "RMSE, points"];
    markdown(&header.map(str::to_owned), &rows)
}

/// The parts of every arm: places of both, and what the two are called.
fn parts_of(plan: &Plan) -> impl Iterator<Item = (usize, usize, String)> {
    let arms = plan.arms.iter().enumerate();
    arms.flat_map(|(index, arm)| {
        let parts = arm.parts().into_iter().enumerate();
        parts.map(move |(part, extra)| {
            let name = format!("{} {extra}", arm.name);
            (index, part, name.trim().to_owned())
        })
    })
}

/// Mean and deviation of what some of `all` cells have, with how many where these are fewer.
fn of_some(values: &[f64], all: usize, decimals: usize) -> String {
    match Spread::of(values) {
        Some(spread) if spread.n < all => {
            format!("{} (in {} of {all})", spread.text(decimals), spread.n)
        }
        Some(spread) => spread.text(decimals),
        None => "-".into(),
    }
}

/// A Markdown table; every column but the first to the right.
fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = vec!["---:"; header.len().saturating_sub(1)].join("|");
    let mut text = line(header);
    let _ = writeln!(text, "|---|{rule}|");
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Found, Network, found::Prediction};

    fn network(madds: u64, error: f64, before: Option<f64>) -> Network {
        Network {
            genes: "0,1".into(),
            madds,
            params: 2,
            resolution: 64,
            search_error: error,
            test_error: error,
            balanced: false,
            before,
        }
    }

    fn cell(arm: usize, seed: u64, networks: Vec<Network>) -> Finished<'static> {
        Finished {
            arm,
            part: 0,
            data: "tiles",
            seed,
            found: Found {
                seconds: 60.0,
                processor_seconds: Some(90.0),
                networks,
                ..Found::default()
            },
        }
    }

    #[test]
    fn the_tables_hold_what_was_found() {
        let plan: Plan = toml::from_str(
            "title = 'T'\nseeds = [1, 2]\nlimits = [20]\nreference = 'nat'\n[data]\ntiles = 'x'\n\
             [[arm]]\nname = 'nat'\nsearch = ''\n[[arm]]\nname = 'tuned'\nfinetune = ''\n\
             [[arm]]\nname = 'on'\nfinetune = ''\nnetworks_of = 'nat'\n\
             [[arm]]\nname = 'as it is'\neval = '--genes 0,1'\nnetworks_of = 'nat'\n",
        )
        .unwrap();
        let front = |shift| {
            vec![
                network(10_000_000, 20.0 + shift, None),
                network(40_000_000, 10.0, None),
            ]
        };
        let mut cells = vec![
            cell(0, 1, front(0.0)),
            cell(0, 2, front(2.0)),
            cell(1, 1, vec![network(40_000_000, 12.0, None)]),
            cell(2, 1, vec![network(10_000_000, 19.0, Some(20.0))]),
            cell(3, 1, vec![network(40_000_000, 11.0, None)]),
            cell(3, 2, vec![network(40_000_000, 13.0, None)]),
        ];
        cells[0].found.predictions.push(Prediction {
            predictor: "gp".into(),
            samples: 50,
            tau: Some(0.5),
            rho: None,
            rmse: 2.0,
        });
        let text = summary(&plan, &cells);
        for part in [
            "| nat | 2 |",
            "79.0 ± 1.4",
            "| tuned | 64 | 40.00M | 88.0 | 2.0 | 1.00 |",
            "| on | 1 | 80.0 | 81.0 | 1.0 |",
            "| tuned | 1 | 64 | 40.00M | 89.0 | 88.0 | 1.0 |",
            "| nat | gp | 50 | 0.50 | 2.00 |",
            "| 1.0 ± 0.0 | 1.5 ± 0.0 |",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("balanced"), "{text}");
        cells[3].found.networks[0].balanced = true;
        cells[3].found.processor_seconds = None;
        let text = summary(&plan, &cells);
        assert!(
            text.contains(
                "balanced over the classes in on, counted over the images in nat, tuned, as it is"
            ),
            "{text}"
        );
        let csv = networks_csv(&plan, &cells);
        assert_eq!(csv.lines().count(), 9);
        assert!(
            csv.contains("tiles,1,on,,\"0,1\",10000000,2,64,19,19,20,60.0,\n"),
            "{csv}"
        );
        assert_eq!(predictions_csv(&plan, &cells).unwrap().lines().count(), 2);
    }

    #[test]
    fn times_are_those_of_one_machine() {
        let plan: Plan = toml::from_str(
            "title = 'T'\nseeds = [1, 2, 3]\n[data]\ntiles = 'x'\n\
             [[arm]]\nname = 'nat'\nsearch = ''\n[[arm]]\nname = 'far'\nsearch = ''\n",
        )
        .unwrap();
        let front = || vec![network(10_000_000, 20.0, None)];
        let mut cells = vec![
            cell(0, 1, front()),
            cell(0, 2, front()),
            cell(0, 3, front()),
            cell(1, 1, front()),
        ];
        for (place, machine) in ["near", "near", "far", "far"].into_iter().enumerate() {
            cells[place].found.machine = Some(machine.into());
        }
        cells[2].found.seconds = 6000.0;
        cells.push(cell(1, 2, front()));
        cells[4].found.machine = Some("near".into());
        let text = summary(&plan, &cells);
        for part in [
            "| nat | 3 | 0.000 ± 0.000 | 80.0 ± 0.0 | 1.0 ± 0.0 (in 2 of 3) | 1.5 ± 0.0 (in 2 of 3) |",
            "Times are those of cells that name near; 2 of 5 name another machine",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        cells.truncate(2);
        assert!(!summary(&plan, &cells).contains("Times are"));
    }
}
