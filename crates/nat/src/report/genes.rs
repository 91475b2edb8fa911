//! What the archive has settled on: a histogram for every gene, first against last generation.

use maud::{Markup, html};
use nat_space::{Space, Stage};

use super::axis::coordinate;
use super::kernel::{self, Kernels};
use super::model::{Archive, Run};
use super::plot::drawing;

const HEIGHT: f64 = 118.0;
/// Height of the tallest bar of a gene.
const FULL: f64 = 76.0;
/// Where the bars stand.
const FOOT: f64 = 92.0;

/// One value of a gene.
struct Value {
    gene: u16,
    /// Under the bar; empty where there is no room.
    label: String,
    /// In the tooltip.
    meaning: String,
    colour: String,
}

/// A gene and its values in order.
struct Gene {
    position: usize,
    name: String,
    values: Vec<Value>,
    /// Spans of values under a common label: first, last, text.
    groups: Vec<(usize, usize, String)>,
}

/// Histograms of all genes, a row for the input and one for every elastic stage.
pub fn histograms(run: &Run) -> Markup {
    let (Some(first), Some(last)) = (run.archives.first(), run.archives.last()) else {
        return html! {};
    };
    let kernels = Kernels::of(&run.space);
    let rows = rows(&run.space, &kernels);
    html! {
        section {
            h2 { "Genes of the archive" }
            p.note {
                "Share of the archive's networks with each value of each gene, the largest share on top"
                @if run.archives.len() > 1 {
                    ": outline in generation " (first.generation) ", filled in generation " (last.generation) "."
                } @else { " in generation " (last.generation) "." }
                " Under the bars of a layer stand its expansion ratios; the colour is its kernel."
            }
            div.note { (kernel::legend(&kernels)) span.legend { i.swatch.k-none {} " layer skipped" } }
            @for (title, genes) in rows {
                div.stage {
                    h3 { (title) }
                    div.panels { @for gene in genes { (histogram(&gene, first, last)) } }
                }
            }
        }
    }
}

fn histogram(gene: &Gene, first: &Archive, last: &Archive) -> Markup {
    let shares = |archive: &Archive| -> Vec<f64> {
        let count = |value: &Value| {
            archive
                .members
                .iter()
                .filter(|member| member.measured.genes.as_slice()[gene.position] == value.gene)
                .count()
        };
        gene.values
            .iter()
            .map(|value| count(value) as f64 / archive.members.len() as f64)
            .collect()
    };
    let (before, after) = (shares(first), shares(last));
    let most = before.iter().chain(&after).copied().fold(0.0, f64::max);
    let tall = |share: f64| coordinate(FULL * share / most);
    let slot = if gene.values.len() > 12 { 13.0 } else { 23.0 };
    let width = (gene.values.len() as f64 * slot + 12.0).max(76.0);
    let left = |index: usize| {
        coordinate((width - gene.values.len() as f64 * slot) / 2.0 + index as f64 * slot)
    };
    let bar = slot - 5.0;
    let body = html! {
        text x="2" y="10" { (percent(most)) }
        line.grid x1="2" x2=(width - 2.0) y1=(FOOT - FULL) y2=(FOOT - FULL) {}
        line.base x1="2" x2=(width - 2.0) y1=(FOOT) y2=(FOOT) {}
        @for (index, value) in gene.values.iter().enumerate() {
            @let (height, outline) = (tall(after[index]), tall(before[index]));
            g {
                title { (value.meaning) ": " (percent(before[index])) " before, " (percent(after[index])) " now" }
                rect.hover x=(left(index)) y=(FOOT - FULL) width=(slot) height=(FULL) {}
                rect class=(value.colour) x=(left(index) + 2.5) y=(FOOT - height) width=(bar) height=(height) {}
                @if first.generation != last.generation {
                    rect.outline x=(left(index) + 2.5) y=(FOOT - outline) width=(bar) height=(outline) {}
                }
                text x=(left(index) + slot / 2.0) y=(FOOT + 12.0) text-anchor="middle" { (value.label) }
            }
        }
        @for (from, to, text) in &gene.groups {
            line.group x1=(left(*from) + 3.0) x2=(left(*to) + slot - 3.0) y1=(FOOT + 4.0) y2=(FOOT + 4.0) {}
            text x=((left(*from) + left(*to) + slot) / 2.0) y=(FOOT + 16.0) text-anchor="middle" { (text) }
        }
    };
    let modal = (after.iter().zip(&gene.values)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let description = modal.map_or(String::new(), |(share, value)| {
        format!(
            "Most frequent now: {} with {}.",
            value.meaning,
            percent(*share)
        )
    });
    let name = format!("gene-{}", gene.position);
    html! {
        div.panel {
            (drawing(&name, width, HEIGHT, &gene.name, &description, body))
            div.panel-name { (gene.name) }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// The genes in rows with a heading, in the order of the genotype.
fn rows(space: &Space, kernels: &Kernels) -> Vec<(String, Vec<Gene>)> {
    let mut rows = vec![(
        "Input and width".to_owned(),
        vec![resolution(space), width(space)],
    )];
    let mut position = 2;
    let mut previous_side = 1;
    for (index, stage) in space.stages.iter().enumerate() {
        previous_side *= stage.stride;
        if stage.is_fixed() {
            continue;
        }
        let genes = (0..stage.max_depth())
            .map(|layer| layer_gene(stage, layer, position + layer, kernels))
            .collect();
        let title = format!(
            "Stage {index}: {} channels, 1/{} of the side",
            stage.width,
            previous_side * space.stem.stride
        );
        rows.push((title, genes));
        position += stage.max_depth();
    }
    rows
}

fn resolution(space: &Space) -> Gene {
    let sides: Vec<usize> = space.resolutions.sides().collect();
    // Every label has the width of about two slots.
    let every = if sides.len() > 12 { 4 } else { 2 };
    let values = sides.iter().enumerate().map(|(index, side)| Value {
        gene: index as u16,
        label: if index % every == 0 {
            side.to_string()
        } else {
            String::new()
        },
        meaning: format!("{side} pixels"),
        colour: "plain".to_owned(),
    });
    Gene {
        position: 0,
        name: "input side (pixels)".to_owned(),
        values: values.collect(),
        groups: Vec::new(),
    }
}

fn width(space: &Space) -> Gene {
    let values = space
        .width_multipliers
        .iter()
        .enumerate()
        .map(|(index, width)| Value {
            gene: index as u16,
            label: format!("{width:.1}"),
            meaning: format!("width multiplier {width}"),
            colour: "plain".to_owned(),
        });
    Gene {
        position: 1,
        name: "width multiplier".to_owned(),
        values: values.collect(),
        groups: Vec::new(),
    }
}

fn layer_gene(stage: &Stage, layer: usize, position: usize, kernels: &Kernels) -> Gene {
    let mut values = Vec::new();
    if layer >= stage.min_depth() {
        values.push(Value {
            gene: 0,
            label: "–".to_owned(),
            meaning: "skipped".to_owned(),
            colour: "k-none".to_owned(),
        });
    }
    let mut groups = Vec::new();
    let first = values.len();
    for gene in 1..=stage.settings() as u16 {
        let (kernel, expand) = stage.kernel_and_expand(gene);
        values.push(Value {
            gene,
            label: String::new(),
            meaning: format!("kernel {kernel}, expansion {expand}"),
            colour: kernels.class(kernel),
        });
    }
    for (index, expand) in stage.expands.iter().enumerate() {
        let from = first + index * stage.kernels.len();
        groups.push((from, from + stage.kernels.len() - 1, format!("×{expand}")));
    }
    Gene {
        position,
        name: format!("layer {}", layer + 1),
        values,
        groups,
    }
}
