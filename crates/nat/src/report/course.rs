//! How the run went: hypervolume, training loss and time over the generations.

use maud::{Markup, html};

use super::axis::{Axis, coordinate, duration};
use nat_transfer::{Epoch, Generation, Phase, Seconds};

use super::model::Run;
use super::plot::{Frame, HALF, WIDE, drawing, figure, points};

const HEIGHT: f64 = 280.0;

/// Hypervolume and best error, one point a generation.
pub fn hypervolume(run: &Run) -> Markup {
    let (Some(first), Some(last)) = (run.generations.first(), run.generations.last()) else {
        return html! {};
    };
    let frame = Frame {
        width: HALF,
        height: HEIGHT,
        x: Axis::counting(first.generation..=last.generation, 8),
        y: Axis::covering(run.generations.iter().map(|event| event.hypervolume), 5),
    };
    let places: Vec<(f64, f64)> = run
        .generations
        .iter()
        .map(|event| (frame.x(event.generation as f64), frame.y(event.hypervolume)))
        .collect();
    let body = html! {
        (frame.axes("Generation", "Hypervolume"))
        polyline.line points=(points(places.iter().copied())) {}
        @for (event, (cx, cy)) in run.generations.iter().zip(&places) {
            circle.point cx=(cx) cy=(cy) r="3.5" {
                title { "generation " (event.generation) ": " (format!("{:.4}", event.hypervolume)) }
            }
        }
    };
    let caption = "Hypervolume";
    let description = format!(
        "Line over the generations, from {:.4} in generation {} to {:.4} in generation {}.",
        first.hypervolume, first.generation, last.hypervolume, last.generation
    );
    let explanation = html! {
        span.legend { "share of the box up to a fixed reference point that the front dominates; more is better" }
    };
    figure(
        caption,
        drawing("hypervolume", HALF, HEIGHT, caption, &description, body),
        explanation,
    )
}

/// Mean loss of every pass over the training images, adaptation after what came before the first archive.
pub fn loss(run: &Run) -> Markup {
    if run.epochs.is_empty() {
        return html! {};
    }
    let frame = Frame {
        width: HALF,
        height: HEIGHT,
        x: Axis::counting(1..=run.epochs.len(), 8),
        y: Axis::covering(run.epochs.iter().map(|epoch| epoch.loss), 5),
    };
    // One line a phase, generation and data set: each starts with another mix of subnets.
    let numbered: Vec<(usize, &Epoch)> = (1..).zip(&run.epochs).collect();
    let stretches = numbered.chunk_by(|(_, a), (_, b)| {
        (a.generation, a.phase, &a.set) == (b.generation, b.phase, &b.set)
    });
    let body = html! {
        (frame.axes("Pass over the training images", "Loss"))
        @for stretch in stretches {
            @let places = stretch.iter().map(|(pass, epoch)| (frame.x(*pass as f64), frame.y(epoch.loss)));
            // A warm-up counts as the training that precedes the first archive.
            @let adapts = stretch[0].1.phase == Phase::Adapt;
            g class=(phase_class(if adapts { "adapt" } else { "pretrain" })) {
                polyline.line points=(points(places)) {}
                @for (pass, epoch) in stretch {
                    circle.point cx=(frame.x(*pass as f64)) cy=(frame.y(epoch.loss)) r="2.5" {
                        title { "generation " (epoch.generation) ", " (epoch.phase.name()) @if let Some(set) = &epoch.set { " on " (set) } ": " (format!("{:.3}", epoch.loss)) }
                    }
                }
            }
        }
    };
    let caption = "Training loss";
    let (first, last) = (&run.epochs[0], &run.epochs[run.epochs.len() - 1]);
    let description = format!(
        "{} passes over the training images, loss from {:.3} at first to {:.3} at last.",
        run.epochs.len(),
        first.loss,
        last.loss
    );
    let pretrained = run.epochs.iter().any(|epoch| epoch.phase != Phase::Adapt);
    let adapted = run.epochs.iter().any(|epoch| epoch.phase == Phase::Adapt);
    let explanation = html! {
        @if pretrained { span.legend { i.swatch.phase-pretrain {} " before the first archive, of the largest subnet" } }
        @if adapted { span.legend { i.swatch.phase-adapt {} " adaptation, of the subnets drawn" } }
    };
    figure(
        caption,
        drawing("loss", HALF, HEIGHT, caption, &description, body),
        explanation,
    )
}

/// Seconds per generation, stacked by phase.
pub fn time(run: &Run) -> Markup {
    let (Some(first), Some(last)) = (run.generations.first(), run.generations.last()) else {
        return html! {};
    };
    let longest = run
        .generations
        .iter()
        .map(|event| event.seconds.total())
        .fold(0.0, f64::max);
    let (unit, per_unit) = if longest > 600.0 {
        ("Minutes", 60.0)
    } else {
        ("Seconds", 1.0)
    };
    let frame = Frame {
        width: WIDE,
        height: HEIGHT,
        x: Axis::counting(first.generation..=last.generation, 16),
        y: Axis::from_zero([longest / per_unit], 5),
    };
    let slot = frame.x(1.0) - frame.x(0.0);
    let bar = (slot * 0.7).min(56.0);
    let body = html! {
        (frame.axes("Generation", unit))
        @for event in &run.generations {
            @for part in stacked(&event.seconds) {
                @let (low, high) = (frame.y(part.from / per_unit), frame.y(part.to / per_unit));
                rect class=(phase_class(part.name)) x=(coordinate(frame.x(event.generation as f64) - bar / 2.0))
                    width=(coordinate(bar)) y=(high) height=(coordinate(low - high)) {
                    title { "generation " (event.generation) ", " (part.name) ": " (duration(part.to - part.from)) }
                }
            }
        }
    };
    let caption = "Time per generation";
    let mut sums = [0.0; 5];
    for event in &run.generations {
        for (sum, seconds) in sums.iter_mut().zip(parts(&event.seconds)) {
            *sum += seconds;
        }
    }
    let spent: Vec<(&str, f64)> = PARTS
        .into_iter()
        .zip(sums)
        .filter(|(_, seconds)| *seconds > 0.0)
        .collect();
    let parts: Vec<String> = spent
        .iter()
        .map(|(name, seconds)| format!("{name} {}", duration(*seconds)))
        .collect();
    let description = format!(
        "Stacked bars, one a generation. In all: {}.",
        parts.join(", ")
    );
    let explanation = html! {
        @for (name, seconds) in &spent {
            span.legend { i.swatch.{ "phase-" (name) } {} " " (name) " " (duration(*seconds)) }
        }
    };
    figure(
        caption,
        drawing("time", WIDE, HEIGHT, caption, &description, body),
        explanation,
    )
}

/// Names of the [`parts`] of an iteration.
const PARTS: [&str; 5] = ["pretrain", "adapt", "evaluate", "fit", "search"];

fn parts(seconds: &Seconds) -> [f64; 5] {
    [
        seconds.pretrain,
        seconds.adapt,
        seconds.evaluate + seconds.commands,
        seconds.fit,
        seconds.search,
    ]
}

/// A part of a bar, in seconds from its foot.
struct Part {
    name: &'static str,
    from: f64,
    to: f64,
}

fn stacked(seconds: &Seconds) -> Vec<Part> {
    let mut from = 0.0;
    let mut stacked = Vec::new();
    for (name, length) in PARTS.into_iter().zip(parts(seconds)) {
        if length > 0.0 {
            stacked.push(Part {
                name,
                from,
                to: from + length,
            });
            from += length;
        }
    }
    stacked
}

/// The colour class of a phase.
fn phase_class(name: &'static str) -> String {
    format!("phase-{name}")
}

/// Every generation in numbers: the text beside the plots.
pub fn table(run: &Run) -> Markup {
    if run.generations.is_empty() {
        return html! {};
    }
    let number = |value: Option<f64>, decimals: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let models = |event: &Generation| -> String {
        let mut names: Vec<&str> = event.predictors.iter().map(|kind| kind.name()).collect();
        names.dedup();
        if names.is_empty() {
            "–".into()
        } else {
            names.join(", ")
        }
    };
    html! {
        section {
            h2 { "Every generation in numbers" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "Generation" } th { "Archive" } th { "Front" } th { "Hypervolume" } th { "Best error (%)" }
                            th { "New" } th { "Predictor" } th { "τ" } th { "ρ" } th { "RMSE (points)" } th { "Time" }
                        }
                    }
                    tbody {
                        @for event in &run.generations {
                            tr {
                                td { (event.generation) } td { (event.archive) } td { (event.front) }
                                td { (format!("{:.4}", event.hypervolume)) } td { (format!("{:.2}", event.best_error)) }
                                td { (event.predicted.len()) } td { (models(event)) }
                                td { (number(event.tau, 3)) } td { (number(event.rho, 3)) } td { (number(event.rmse, 2)) }
                                td { (duration(event.seconds.total())) }
                            }
                        }
                    }
                }
            }
            p.note { "New: networks measured for the first time. τ (Kendall), ρ (Spearman) and RMSE compare their predicted with their measured error."
                @if run.draws_to_trend() { " Errors, fronts and hypervolumes are as measured, as the search knows them; the networks above are chosen by errors drawn to their trend." }
            }
        }
    }
}
