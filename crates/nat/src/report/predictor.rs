//! How well the predictor foresaw what was measured.

use maud::{Markup, html};

use super::axis::Axis;
use super::model::{Generation, Run};
use super::plot::{Frame, HALF, drawing, figure, points, ramp, ramp_legend};

const HEIGHT: f64 = 360.0;

/// Scatter of predicted against measured errors, and rank correlations over the generations.
pub fn plots(run: &Run) -> Markup {
    let predicted: Vec<&Generation> = run
        .generations
        .iter()
        .filter(|event| !event.predicted.is_empty())
        .collect();
    let (Some(first), Some(last)) = (predicted.first(), predicted.last()) else {
        return html! {};
    };
    html! {
        (scatter(&predicted, first.generation, last.generation))
        (correlations(&predicted, first.generation, last.generation))
    }
}

fn scatter(predicted: &[&Generation], first: usize, last: usize) -> Markup {
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
    let body = html! {
        (frame.axes("Predicted error (%)", "Measured error (%)"))
        line.diagonal x1=(frame.x(axis.low)) y1=(frame.y(axis.low)) x2=(frame.x(axis.high)) y2=(frame.y(axis.high)) {}
        @for (index, event) in predicted.iter().enumerate() {
            g.generation style=(ramp(index, predicted.len())) {
                @for (predicted, measured) in &event.predicted {
                    circle cx=(frame.x(*predicted)) cy=(frame.y(*measured)) r="3" {
                        title { "generation " (event.generation) ": predicted " (format!("{predicted:.2}")) " %, measured " (format!("{measured:.2}")) " %" }
                    }
                }
            }
        }
    };
    let caption = "Predicted and measured error";
    let description = format!(
        "Scatter of {} networks measured for the first time in generations {first} to {last}; on the diagonal both agree.",
        pairs().count()
    );
    let explanation = html! {
        (ramp_legend(first, last))
        span.legend { "networks measured for the first time; predicted before, measured after the adaptation" }
    };
    figure(
        caption,
        drawing("predicted", HALF, HEIGHT, caption, &description, body),
        explanation,
    )
}

fn correlations(predicted: &[&Generation], first: usize, last: usize) -> Markup {
    type Metric = fn(&Generation) -> Option<f64>;
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
        x: Axis::counting(first..=last, 8),
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
    let caption = "Ranking by the predictor";
    let latest = |metric: Metric| predicted.iter().rev().find_map(|event| metric(event));
    let spoken: Vec<String> = metrics
        .iter()
        .filter_map(|(_, name, metric)| Some(format!("{name} {:.3}", latest(*metric)?)))
        .collect();
    let description = format!(
        "Lines over generations {first} to {last}. At last: {}.",
        spoken.join(", ")
    );
    let explanation = html! {
        @for (class, name, metric) in metrics {
            span.legend {
                i.swatch.(class) {} " " (name)
                @if let Some(value) = latest(metric) { ", at last " (format!("{value:.2}")) }
            }
        }
        @if let Some(rmse) = latest(|event| event.rmse) { span.legend { "RMSE at last " (format!("{rmse:.2}")) " points" } }
    };
    figure(
        caption,
        drawing("correlations", HALF, HEIGHT, caption, &description, body),
        explanation,
    )
}
