//! How well the predictor foresaw what was measured.

use maud::{Markup, html};
use nat_transfer::Objective;

use super::axis::Axis;
use super::model::{Run, number};
use super::plot::{Frame, HALF, drawing, figure, points, ramp, ramp_legend};

const HEIGHT: f64 = 360.0;

/// What was predicted of one measured objective for the newcomers of a generation.
struct Judged<'a> {
    generation: usize,
    tau: Option<f64>,
    rho: Option<f64>,
    rmse: Option<f64>,
    predicted: &'a [(f64, f64)],
}

/// Of what, and over which generations, a pair of plots is; `number` tells it from the others of the page.
#[derive(Clone, Copy)]
struct Shown<'a> {
    first: usize,
    last: usize,
    name: &'a str,
    unit: &'a str,
    number: usize,
}

impl Shown<'_> {
    fn generations(&self) -> String {
        format!("generations {} to {}", self.first, self.last)
    }

    /// An identifier that is the page's only one of its kind.
    fn id(&self, kind: &str) -> String {
        match self.number {
            0 => kind.to_owned(),
            number => format!("{kind}-{number}"),
        }
    }
}

/// Scatter of predicted against measured values, and rank correlations over the generations: of the error, then of whatever
/// else was measured.
pub fn plots(run: &Run) -> Markup {
    let errors = run.generations.iter().map(|event| Judged {
        generation: event.generation,
        tau: event.tau,
        rho: event.rho,
        rmse: event.rmse,
        predicted: &event.predicted,
    });
    let last = run.generations.last();
    let further: Vec<Objective> = last.map_or_else(Vec::new, |event| {
        event.further.iter().map(|f| f.objective).collect()
    });
    html! {
        (pair(errors.collect(), "error", "%", 0))
        @for (number, &wanted) in further.iter().enumerate() {
            (pair(of(run, wanted), &wanted.to_string(), unit(wanted), number + 1))
        }
    }
}

/// The judgements on an objective other than the error.
fn of(run: &Run, wanted: Objective) -> Vec<Judged<'_>> {
    let all = run.generations.iter().flat_map(|event| {
        let same = event.further.iter().filter(move |f| f.objective == wanted);
        same.map(|found| Judged {
            generation: event.generation,
            tau: found.tau,
            rho: found.rho,
            rmse: found.rmse,
            predicted: &found.predicted,
        })
    });
    all.collect()
}

fn unit(objective: Objective) -> &'static str {
    match objective {
        Objective::Error | Objective::ErrorOn(_) => "%",
        _ => "",
    }
}

fn pair(mut judged: Vec<Judged<'_>>, name: &str, unit: &str, number: usize) -> Markup {
    judged.retain(|event| !event.predicted.is_empty());
    let (Some(first), Some(last)) = (judged.first(), judged.last()) else {
        return html! {};
    };
    let shown = Shown {
        first: first.generation,
        last: last.generation,
        name,
        unit,
        number,
    };
    html! {
        (scatter(&judged, shown))
        (correlations(&judged, shown))
    }
}

fn scatter(predicted: &[Judged<'_>], shown: Shown<'_>) -> Markup {
    let pairs = || {
        predicted
            .iter()
            .flat_map(|event| event.predicted.iter().copied())
    };
    // One scale for both axes, so that the diagonal is one.
    let axis = Axis::covering(
        pairs().flat_map(|(predicted, measured)| [predicted, measured]),
        6,
    );
    let frame = Frame {
        width: HALF,
        height: HEIGHT,
        x: axis.clone(),
        y: axis.clone(),
    };
    let label = |what: &str| match shown.unit {
        "" => format!("{what} {}", shown.name),
        unit => format!("{what} {} ({unit})", shown.name),
    };
    let body = html! {
        (frame.axes(&label("Predicted"), &label("Measured")))
        line.diagonal x1=(frame.x(axis.low)) y1=(frame.y(axis.low)) x2=(frame.x(axis.high)) y2=(frame.y(axis.high)) {}
        @for (index, event) in predicted.iter().enumerate() {
            g.generation style=(ramp(index, predicted.len())) {
                @for (predicted, measured) in event.predicted {
                    circle cx=(frame.x(*predicted)) cy=(frame.y(*measured)) r="3" {
                        title { "generation " (event.generation) ": predicted " (format!("{predicted:.2}")) ", measured " (format!("{measured:.2}")) }
                    }
                }
            }
        }
    };
    let caption = &format!("Predicted and measured {}", shown.name);
    let description = format!(
        "Scatter of {} networks measured for the first time in {}; on the diagonal both agree.",
        pairs().count(),
        shown.generations()
    );
    let explanation = html! {
        (ramp_legend(shown.first, shown.last))
        span.legend { "networks measured for the first time; predicted before the adaptation, if there was one" }
    };
    figure(
        caption,
        drawing(
            &shown.id("predicted"),
            HALF,
            HEIGHT,
            caption,
            &description,
            body,
        ),
        explanation,
    )
}

fn correlations(predicted: &[Judged<'_>], shown: Shown<'_>) -> Markup {
    type Metric = fn(&Judged<'_>) -> Option<f64>;
    let metrics: [(&str, &str, Metric); 2] = [
        ("tau", "Kendall's τ", |event| event.tau),
        ("rho", "Spearman's ρ", |event| event.rho),
    ];
    let values = metrics
        .iter()
        .flat_map(|(_, _, metric)| predicted.iter().filter_map(|event| metric(event)));
    let frame = Frame {
        width: HALF,
        height: HEIGHT,
        x: Axis::counting(shown.first..=shown.last, 8),
        y: Axis::covering(values.chain([0.0, 1.0]), 6),
    };
    let body = html! {
        (frame.axes("Generation", "Rank correlation"))
        @for (class, name, metric) in metrics {
            @let known: Vec<(usize, f64)> =
                predicted.iter().filter_map(|event| Some((event.generation, metric(event)?))).collect();
            g class=(class) {
                polyline.line points=(points(known.iter().map(|&(x, y)| (frame.x(x as f64), frame.y(y))))) {}
                @for (generation, value) in &known {
                    circle.point cx=(frame.x(*generation as f64)) cy=(frame.y(*value)) r="3.5" {
                        title { "generation " (generation) ", " (name) ": " (format!("{value:.3}")) }
                    }
                }
            }
        }
    };
    let caption = &match shown.number {
        0 => "Ranking by the predictor".to_owned(),
        _ => format!("Ranking by the predictor of {}", shown.name),
    };
    let latest = |metric: Metric| predicted.iter().rev().find_map(|event| metric(event));
    let spoken: Vec<String> = metrics
        .iter()
        .filter_map(|(_, name, metric)| Some(format!("{name} {:.3}", latest(*metric)?)))
        .collect();
    let description = format!(
        "Lines over {}. At last: {}.",
        shown.generations(),
        spoken.join(", ")
    );
    let explanation = html! {
        @for (class, name, metric) in metrics {
            span.legend {
                i.swatch.(class) {} " " (name)
                @if let Some(value) = latest(metric) { ", at last " (format!("{value:.2}")) }
            }
        }
        @if let Some(rmse) = latest(|event| event.rmse) { span.legend { "RMSE at last " (number(rmse)) @if shown.unit == "%" { " points" } } }
    };
    figure(
        caption,
        drawing(
            &shown.id("correlations"),
            HALF,
            HEIGHT,
            caption,
            &description,
            body,
        ),
        explanation,
    )
}
