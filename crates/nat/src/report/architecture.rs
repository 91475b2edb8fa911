//! Drawings of the named networks: a row of blocks from the image to the classes.

use maud::{Markup, html};
use nat_space::Network;
use nat_transfer::Objective;

use super::axis::coordinate;
use super::kernel::{self, Kernels};
use super::model::{Member, Run, Shown};
use super::plot::{WIDE, drawing};

/// Height of the tallest block and what every block has at least, for its two lines of text.
const TALLEST: f64 = 92.0;
const LEAST: f64 = 30.0;
/// Middle line of the row.
const AXIS: f64 = 58.0;
const HEIGHT: f64 = 142.0;
/// Least width of a block; channels come on top.
const NARROWEST: f64 = 22.0;
/// Width of stem and head parts.
const FIXED: f64 = 38.0;
const GAP: f64 = 3.0;
const STAGE_GAP: f64 = 9.0;

/// A rectangle of the row.
struct Block {
    /// Input and output side decide the heights of the left and right edge.
    sides: (usize, usize),
    width: f64,
    class: String,
    lines: Vec<String>,
    meaning: String,
    squeeze: bool,
    /// Blocks with the same number share the label below.
    stage: Option<usize>,
    label: [String; 2],
}

/// One drawing for every high-trade-off point.
pub fn drawings(run: &Run) -> Markup {
    if run.named.is_empty() {
        return html! {};
    }
    let kernels = Kernels::of(&run.space);
    let networks: Vec<(&Member, Network)> = run
        .named
        .iter()
        .map(|&position| (&run.front[position], run.network(&run.front[position])))
        .collect();
    // All drawings share their scales, so that sizes can be compared between them.
    let room = networks
        .iter()
        .map(|(_, network)| channel_scale(network, &kernels))
        .fold(f64::INFINITY, f64::min);
    let tallest = networks
        .iter()
        .map(|(_, network)| network.resolution)
        .max()
        .unwrap_or(1);
    html! {
        section {
            h2 { "Architectures of the high-trade-off points" }
            p.note {
                "A block a layer, from the image to the classes: width grows with output channels, height with the side of the feature map. In a block: kernel and expansion."
            }
            div.note {
                (kernel::legend(&kernels))
                span.legend { i.dot.squeeze {} " squeeze-excite" }
            }
            @for (rank, (member, network)) in networks.iter().enumerate() {
                (row(run, rank, member, network, &kernels, room, tallest))
            }
        }
    }
}

fn row(
    run: &Run,
    rank: usize,
    member: &Member,
    network: &Network,
    kernels: &Kernels,
    room: f64,
    tallest: usize,
) -> Markup {
    let blocks = blocks(network, kernels, room);
    let height = |side: usize| LEAST + (TALLEST - LEAST) * (side as f64 / tallest as f64).sqrt();
    let places = places(&blocks);
    // A network of very many blocks has no room for any in its least width.
    let width = WIDE.max(right_end(&blocks, &places) + 2.0);
    let body = html! {
        g.architecture {
            @for (block, x) in blocks.iter().zip(&places) {
                @let (from, to) = (height(block.sides.0) / 2.0, height(block.sides.1) / 2.0);
                @let (left, right, middle) = (coordinate(*x), coordinate(x + block.width), coordinate(x + block.width / 2.0));
                g {
                    title { (block.meaning) }
                    polygon class=(block.class) points={
                        (left) "," (coordinate(AXIS - from)) " " (right) "," (coordinate(AXIS - to)) " "
                        (right) "," (coordinate(AXIS + to)) " " (left) "," (coordinate(AXIS + from))
                    } {}
                    @for (line, text) in block.lines.iter().enumerate() {
                        @let y = AXIS + 4.0 + 12.0 * (line as f64 - (block.lines.len() - 1) as f64 / 2.0);
                        text.{ "on-" (block.class) } x=(middle) y=(y) text-anchor="middle" { (text) }
                    }
                    @if block.squeeze { circle.squeeze cx=(middle) cy=(coordinate(AXIS - from.min(to) - 5.0)) r="2.8" {} }
                }
            }
            @for (first, last) in stages(&blocks) {
                @let (left, right) = (coordinate(places[first]), coordinate(places[last] + blocks[last].width));
                line.group x1=(left) x2=(right) y1=(AXIS + TALLEST / 2.0 + 6.0) y2=(AXIS + TALLEST / 2.0 + 6.0) {}
                @for (line, text) in blocks[first].label.iter().enumerate() {
                    text.small x=(coordinate((left + right) / 2.0)) y=(AXIS + TALLEST / 2.0 + 18.0 + 11.0 * line as f64) text-anchor="middle" { (text) }
                }
            }
        }
    };
    let letter = run
        .letter(run.named[rank])
        .map(String::from)
        .unwrap_or_default();
    let title = format!("Network {letter}");
    let description = describe(network);
    html! {
        div.network {
            h3 {
                span.badge { (letter) }
                " " (format!("{:.2}", member.measured.error)) " % " (run.counted()) "error · " (format!("{:.2}", Objective::Madds.of(member))) " M multiply-adds · "
                (format!("{:.2}", Objective::Params.of(member))) " M parameters · " (network.resolution) " pixels"
                @if run.space.width_multipliers.len() > 1 { " · width ×" (format!("{:.1}", network.width_multiplier)) }
            }
            div.plot { (drawing(&format!("network-{rank}"), width, HEIGHT, &title, &description, body)) }
        }
    }
}

/// The network in words.
fn describe(network: &Network) -> String {
    let layers: Vec<String> = network
        .blocks
        .iter()
        .map(|block| {
            let squeeze = if block.se.is_some() {
                ", squeeze-excite"
            } else {
                ""
            };
            format!(
                "kernel {}, expansion {}, {} channels at {} pixels{squeeze}",
                block.kernel, block.expand, block.out_channels, block.output_side
            )
        })
        .collect();
    format!(
        "{} blocks on an image of {} pixels: {}.",
        layers.len(),
        network.resolution,
        layers.join("; ")
    )
}

/// Where the last block ends.
fn right_end(blocks: &[Block], places: &[f64]) -> f64 {
    places.last().copied().unwrap_or(0.0) + blocks.last().map_or(0.0, |block| block.width)
}

/// Width per channel that lets the network fill the drawing.
fn channel_scale(network: &Network, kernels: &Kernels) -> f64 {
    let blocks = blocks(network, kernels, 0.0);
    let ends = right_end(&blocks, &places(&blocks));
    let channels: usize = network.blocks.iter().map(|block| block.out_channels).sum();
    ((WIDE - ends - 2.0) / channels as f64).max(0.0)
}

fn blocks(network: &Network, kernels: &Kernels, scale: f64) -> Vec<Block> {
    let plain = |lines: &[&str], sides: (usize, usize), channels: usize, meaning: String| Block {
        sides,
        width: FIXED,
        class: "k-none".to_owned(),
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
        meaning,
        squeeze: false,
        stage: None,
        label: [format!("{} px", sides.1), format!("{channels} ch")],
    };
    let stem = &network.stem;
    let head = &network.final_expand;
    let mut blocks = vec![plain(
        &["stem", &format!("k{}", stem.kernel)],
        (stem.input_side, stem.output_side),
        stem.out_channels,
        format!(
            "stem: kernel {}, {} channels at {} pixels",
            stem.kernel, stem.out_channels, stem.output_side
        ),
    )];
    blocks.extend(network.blocks.iter().map(|block| Block {
        sides: (block.input_side, block.output_side),
        width: NARROWEST + scale * block.out_channels as f64,
        class: kernels.class(block.kernel),
        lines: vec![format!("k{}", block.kernel), format!("×{}", block.expand)],
        meaning: format!(
            "stage {}: kernel {}, expansion {}, {} → {} channels, {} → {} pixels{}",
            block.stage,
            block.kernel,
            block.expand,
            block.in_channels,
            block.out_channels,
            block.input_side,
            block.output_side,
            block.se.map_or(String::new(), |squeeze| format!(
                ", squeeze-excite {squeeze}"
            ))
        ),
        squeeze: block.se.is_some(),
        stage: Some(block.stage),
        label: [
            format!("{} px", block.output_side),
            format!("{} ch", block.out_channels),
        ],
    }));
    blocks.push(plain(
        &["1×1"],
        (head.input_side, head.output_side),
        head.out_channels,
        format!(
            "1×1 convolution to {} channels, then the mean over the map",
            head.out_channels
        ),
    ));
    if let Some(mix) = &network.feature_mix {
        blocks.push(plain(
            &["mix"],
            (1, 1),
            mix.out_channels,
            format!("feature mix to {} channels", mix.out_channels),
        ));
    }
    blocks.push(plain(
        &["fc"],
        (1, 1),
        network.classes,
        format!("linear classifier of {} classes", network.classes),
    ));
    blocks
}

/// Left edges of the blocks; a stage begins after a wider gap.
fn places(blocks: &[Block]) -> Vec<f64> {
    let mut x = 1.0;
    let mut places = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            x += if joined(&blocks[index - 1], block) {
                GAP
            } else {
                STAGE_GAP
            };
        }
        places.push(x);
        x += block.width;
    }
    places
}

fn joined(a: &Block, b: &Block) -> bool {
    a.stage.is_some() && a.stage == b.stage
}

/// First and last block of every stage; parts without a stage stand alone.
fn stages(blocks: &[Block]) -> Vec<(usize, usize)> {
    let mut first = 0;
    blocks
        .chunk_by(joined)
        .map(|stage| {
            let range = (first, first + stage.len() - 1);
            first += stage.len();
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;

    #[test]
    fn the_largest_networks_fit_the_drawing() {
        for name in Space::BUILTIN_NAMES {
            let space = Space::builtin(name).unwrap();
            let largest = space.network(&space.architecture(&space.largest()), 1000);
            let kernels = Kernels::of(&space);
            let scale = channel_scale(&largest, &kernels);
            assert!(scale > 0.0, "{name}");
            let blocks = blocks(&largest, &kernels, scale);
            let end = places(&blocks).last().unwrap() + blocks.last().unwrap().width;
            assert!((WIDE - 3.0..=WIDE).contains(&end), "{name}: {end}");
        }
    }

    #[test]
    fn blocks_of_a_stage_share_a_label() {
        let space = Space::builtin("tiny").unwrap();
        let network = space.network(&space.architecture(&space.largest()), 10);
        let blocks = blocks(&network, &Kernels::of(&space), 0.1);
        assert_eq!(
            stages(&blocks),
            [(0, 0), (1, 1), (2, 3), (4, 5), (6, 8), (9, 9), (10, 10)]
        );
        assert_eq!(blocks[8].label, ["4 px", "64 ch"]);
    }
}
