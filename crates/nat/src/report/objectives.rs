//! Three objectives and more at once: every network of the front as a line over one axis an objective, and the
//! high-trade-off points as radars.

use std::f64::consts::TAU;

use maud::{Markup, html};
use nat_transfer::Objective;

use super::axis::coordinate;
use super::model::{Member, Run, Shown, number};
use super::plot::{HALF, WIDE, drawing, figure, points};

const HEIGHT: f64 = 340.0;
/// Room at the sides for the numbers of the outer axes, above for titles, below for the least values.
const SIDE: f64 = 80.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 34.0;

/// Radius of the outer ring of a radar, and the inner share of it that the worst value of the front takes: a shape that
/// touched the centre would have no area.
const RADIUS: f64 = 105.0;
const CORE: f64 = 0.15;

/// The least and the greatest value of an objective on the front.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    least: f64,
    greatest: f64,
}

impl Range {
    fn of(members: &[Member], objective: Objective) -> Range {
        let values = members.iter().map(|member| objective.of(member));
        let empty = (f64::INFINITY, f64::NEG_INFINITY);
        let (least, greatest) = values.fold(empty, |(low, high), value| {
            (low.min(value), high.max(value))
        });
        Range { least, greatest }
    }

    /// 0 for the least and best value, 1 for the greatest; one half where all are the same.
    fn share(self, value: f64) -> f64 {
        if self.greatest > self.least {
            (value - self.least) / (self.greatest - self.least)
        } else {
            0.5
        }
    }
}

/// Both drawings; nothing for fewer than three objectives or a front of one network.
pub fn plots(run: &Run) -> Markup {
    if run.objectives.len() < 3 || run.front.len() < 2 {
        return html! {};
    }
    let ranges: Vec<Range> = (run.objectives.iter())
        .map(|&objective| Range::of(&run.front, objective))
        .collect();
    html! {
        (parallel(run, &ranges))
        (radars(run, &ranges))
    }
}

/// The best value of each objective lies at the bottom of its axis.
fn parallel(run: &Run, ranges: &[Range]) -> Markup {
    let axes = run.objectives.len();
    let x = |axis: usize| coordinate(SIDE + axis as f64 * (WIDE - 2.0 * SIDE) / (axes - 1) as f64);
    let y = |share: f64| coordinate(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM));
    let line = |member: &Member| {
        let places = run.objectives.iter().zip(ranges).enumerate();
        points(
            places
                .map(|(axis, (objective, range))| (x(axis), y(range.share(objective.of(member))))),
        )
    };
    let named = |position: usize| run.letter(position);
    let order = (0..run.front.len()).filter(|&position| named(position).is_none());
    let marked: Vec<usize> = run.named.clone();
    let body = html! {
        g.axes {
            @for (axis, (objective, range)) in run.objectives.iter().zip(ranges).enumerate() {
                line.tick x1=(x(axis)) x2=(x(axis)) y1=(y(0.0)) y2=(y(1.0)) {}
                text.title x=(x(axis)) y="16" text-anchor="middle" { (objective.title()) }
                text x=(x(axis)) y=(TOP - 10.0) text-anchor="middle" { (number(range.greatest)) }
                text x=(x(axis)) y=(HEIGHT - 12.0) text-anchor="middle" { (number(range.least)) }
            }
        }
        g.paths {
            @for position in order.chain(marked.iter().copied()) {
                @let member = &run.front[position];
                polyline class=[named(position).map(|_| "marked")] points=(line(member)) { title { (describe(run, member)) } }
            }
        }
        g.named {
            @for (index, &position) in marked.iter().enumerate() {
                @let member = &run.front[position];
                @let (last, range) = (axes - 1, ranges[axes - 1]);
                @let place = y(range.share(run.objectives[last].of(member)));
                @let shift = x(last) + 16.0 + 17.0 * index as f64;
                circle.badge cx=(shift) cy=(place) r="8" { title { (describe(run, member)) } }
                text x=(shift) y=(place + 4.0) text-anchor="middle" { @if let Some(letter) = named(position) { (letter) } }
            }
        }
    };
    let caption = "All objectives of the front";
    let spans = run.objectives.iter().zip(ranges).map(|(objective, range)| {
        format!(
            "{} from {} to {}",
            objective.title(),
            number(range.least),
            number(range.greatest)
        )
    });
    let description = format!(
        "Parallel coordinates of {} networks: {}.",
        run.front.len(),
        spans.collect::<Vec<_>>().join("; ")
    );
    let explanation = html! {
        span.legend { "one line a network; every axis runs from the best value of the front, below, to its worst" }
        span.legend { i.dot.mark {} " high trade-off" }
    };
    figure(
        caption,
        drawing("parallel", WIDE, HEIGHT, caption, &description, body),
        explanation,
    )
}

/// A radar for each high-trade-off point: the farther out, the better.
fn radars(run: &Run, ranges: &[Range]) -> Markup {
    html! {
        div.pair {
            @for &position in &run.named { (radar(run, ranges, position)) }
        }
    }
}

fn radar(run: &Run, ranges: &[Range], position: usize) -> Markup {
    let member = &run.front[position];
    let (cx, cy) = (HALF / 2.0, HEIGHT / 2.0);
    let spokes = run.objectives.len();
    let place = |spoke: usize, share: f64| {
        let angle = TAU * spoke as f64 / spokes as f64;
        (
            coordinate(cx + share * RADIUS * angle.sin()),
            coordinate(cy - share * RADIUS * angle.cos()),
        )
    };
    let ring = |share: f64| points((0..spokes).map(|spoke| place(spoke, share)));
    let shape = points(run.objectives.iter().zip(ranges).enumerate().map(
        |(spoke, (objective, range))| {
            place(
                spoke,
                CORE + (1.0 - CORE) * (1.0 - range.share(objective.of(member))),
            )
        },
    ));
    let body = html! {
        g.axes {
            @for share in [CORE, 0.5 * (1.0 + CORE), 1.0] { polygon.ring points=(ring(share)) {} }
            @for spoke in 0..spokes {
                @let (x, y) = place(spoke, 1.0);
                line.grid x1=(cx) y1=(cy) x2=(x) y2=(y) {}
            }
        }
        polygon.shape points=(shape) { title { (describe(run, member)) } }
        g.axes {
            @for (spoke, &objective) in run.objectives.iter().enumerate() {
                @let (x, y) = place(spoke, 1.12);
                @let anchor = if (x - cx).abs() < 1.0 { "middle" } else if x > cx { "start" } else { "end" };
                @let lift = if y < cy - 1.0 { -6.0 } else { 8.0 };
                text.title x=(x) y=(y + lift) text-anchor=(anchor) { (objective.noun()) }
                text x=(x) y=(y + lift + 14.0) text-anchor=(anchor) { (with_unit(objective, member)) }
            }
        }
    };
    let letter = run.letter(position).unwrap_or('?');
    let caption = format!("Network {letter} beside the rest of the front");
    let description = format!(
        "Radar of {spokes} objectives; the outer ring is the best value on the front, the inner one the worst. {}",
        describe(run, member)
    );
    figure(
        &caption,
        drawing(
            &format!("radar-{letter}"),
            HALF,
            HEIGHT,
            &caption,
            &description,
            body,
        ),
        html! { span.legend { "outer ring: best of the front, inner ring: worst" } },
    )
}

/// A network in one line.
fn describe(run: &Run, member: &Member) -> String {
    let values = run.objectives.iter();
    let values: Vec<String> = values
        .map(|&objective| format!("{} {}", objective.noun(), with_unit(objective, member)))
        .collect();
    format!("{}: {}", values.join(", "), member.measured.genes)
}

/// A value with the unit that the objective's title has in parentheses.
fn with_unit(objective: Objective, member: &Member) -> String {
    let title = objective.title();
    let unit = title
        .rsplit_once('(')
        .map_or("", |(_, unit)| unit.trim_end_matches(')'));
    format!("{} {unit}", number(objective.of(member)))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn every_network_has_a_line_over_every_axis_and_marked_ones_a_radar() {
        for objectives in [
            vec!["error", "madds", "params"],
            vec!["error", "madds", "params", "memory"],
        ] {
            let axes = objectives.len();
            let sample = Sample {
                objectives,
                ..Sample::named("run")
            };
            let run = Run::read(&sample.finish()).unwrap();
            let page = plots(&run).into_string();
            let lines: Vec<&str> = page.split("<polyline").skip(1).collect();
            assert_eq!(lines.len(), run.front.len());
            for line in lines {
                let places = line.split("points=\"").nth(1).unwrap();
                let places = places.split('"').next().unwrap();
                assert_eq!(places.split(' ').count(), axes, "{places}");
            }
            assert_eq!(page.matches("class=\"shape\"").count(), run.named.len());
            assert!(page.contains("Parameters (M)"));
        }
        let two = Sample::named("run");
        let run = Run::read(&two.finish()).unwrap();
        assert_eq!(plots(&run).into_string(), "");
    }

    #[test]
    fn the_best_is_0_the_worst_1_and_equals_lie_between() {
        let range = Range {
            least: 2.0,
            greatest: 6.0,
        };
        assert_eq!(
            [2.0, 3.0, 6.0].map(|value| range.share(value)),
            [0.0, 0.25, 1.0]
        );
        let flat = Range {
            least: 2.0,
            greatest: 2.0,
        };
        assert_eq!(flat.share(2.0), 0.5);
        assert_eq!([1234.0, 12.34, 1.234].map(number), ["1234", "12.3", "1.23"]);
    }
}
