//! Accuracy over MAdds, a panel a data set.

use super::{
    Network, Plan, Work,
    comparison::{Finished, cells_of, compared},
};
use crate::line_chart::{Line, Panel, Scale, render};

/// The chart as an SVG file; `None` where no cell made networks.
pub fn accuracy_over_madds(plan: &Plan, cells: &[Finished<'_>]) -> Option<String> {
    let panels: Vec<Panel> = compared(plan, cells)
        .into_iter()
        .map(|data| Panel {
            title: data.to_owned(),
            x_title: "MAdds, millions".into(),
            y_title: "test accuracy, %".into(),
            scales: (Scale::Logarithmic, Scale::Covering),
            lines: lines(plan, cells, data),
        })
        .filter(|panel| !panel.lines.is_empty())
        .collect();
    (!panels.is_empty()).then(|| render(&panels))
}

/// A line for every search, and one through the networks of the other arms with one seed.
fn lines(plan: &Plan, cells: &[Finished<'_>], data: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, arm) in plan.arms.iter().enumerate() {
        for seed in &plan.seeds {
            let mine = cells_of(cells, index, data).filter(|cell| cell.seed == *seed);
            let mut networks: Vec<&Network> = mine.flat_map(|cell| &cell.found.networks).collect();
            networks.sort_by_key(|network| network.madds);
            if !networks.is_empty() {
                lines.push(Line {
                    name: arm.name.clone(),
                    colour: index,
                    dashed: !matches!(arm.work(), Work::Search(_)),
                    points: networks
                        .into_iter()
                        .map(|network| (network.madds as f64 / 1e6, 100.0 - network.test_error))
                        .collect(),
                    band: Vec::new(),
                });
            }
        }
    }
    lines
}
