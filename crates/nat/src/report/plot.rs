//! The frame that all plots share: axes, grid, caption, and text for those who cannot see it.

use maud::{Markup, html};

use super::axis::{Axis, coordinate};

/// Room around the plotting area for labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Width of a plot over the whole page, in units that are pixels there.
pub const WIDE: f64 = 1040.0;
/// Width of one of two plots side by side.
pub const HALF: f64 = 504.0;

/// A plotting area with its two axes.
pub struct Frame {
    pub width: f64,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
}

impl Frame {
    /// Horizontal place of a value.
    pub fn x(&self, value: f64) -> f64 {
        coordinate(LEFT + self.x.share(value) * (self.width - LEFT - RIGHT))
    }

    /// Vertical place of a value; larger values lie higher.
    pub fn y(&self, value: f64) -> f64 {
        coordinate(self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM))
    }

    pub fn left(&self) -> f64 {
        LEFT
    }

    pub fn right(&self) -> f64 {
        self.width - RIGHT
    }

    pub fn top(&self) -> f64 {
        TOP
    }

    pub fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Grid, ticks and axis titles.
    pub fn axes(&self, x_title: &str, y_title: &str) -> Markup {
        html! {
            g.axes {
                @for tick in self.y.ticks() {
                    line.grid x1=(self.left()) x2=(self.right()) y1=(self.y(tick)) y2=(self.y(tick)) {}
                    text x=(self.left() - 7.0) y=(self.y(tick) + 4.0) text-anchor="end" { (self.y.label(tick)) }
                }
                @for tick in self.x.ticks() {
                    line.tick x1=(self.x(tick)) x2=(self.x(tick)) y1=(self.bottom()) y2=(self.bottom() + 4.0) {}
                    text x=(self.x(tick)) y=(self.bottom() + 18.0) text-anchor="middle" { (self.x.label(tick)) }
                }
                line.base x1=(self.left()) x2=(self.right()) y1=(self.bottom()) y2=(self.bottom()) {}
                text.title x=((self.left() + self.right()) / 2.0) y=(self.height - 6.0) text-anchor="middle" { (x_title) }
                text.title transform={ "translate(13 " ((self.top() + self.bottom()) / 2.0) ") rotate(-90)" } text-anchor="middle" { (y_title) }
            }
        }
    }
}

/// Points as the `points` of a polyline.
pub fn points(places: impl IntoIterator<Item = (f64, f64)>) -> String {
    let places: Vec<String> = places
        .into_iter()
        .map(|(x, y)| format!("{x},{y}"))
        .collect();
    places.join(" ")
}

/// A drawing of the given size. `name` is unique on the page; title and description are what a
/// screen reader says.
pub fn drawing(
    name: &str,
    width: f64,
    height: f64,
    title: &str,
    description: &str,
    body: Markup,
) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } role="img"
            aria-labelledby={ (name) "-title " (name) "-desc" } style={ "min-width:" (coordinate(width * 0.72)) "px" } {
            title id={ (name) "-title" } { (title) }
            desc id={ (name) "-desc" } { (description) }
            (body)
        }
    }
}

/// A plot as a figure with caption, drawing and, below, what explains it.
pub fn figure(caption: &str, drawing: Markup, explanation: Markup) -> Markup {
    html! {
        figure {
            figcaption { (caption) }
            div.plot { (drawing) }
            div.note { (explanation) }
        }
    }
}

/// Where generation `index` of `count` lies on the colour ramp from old to new, as a style.
pub fn ramp(index: usize, count: usize) -> String {
    let share = if count > 1 {
        100 * index / (count - 1)
    } else {
        100
    };
    format!("--new:{share}%")
}

/// The legend of the ramp from the first to the last generation.
pub fn ramp_legend(first: usize, last: usize) -> Markup {
    html! {
        span.legend {
            @if first == last { i.ramp-end {} " generation " (last) }
            @else { "generation " (first) " " i.ramp {} " " (last) }
        }
    }
}
