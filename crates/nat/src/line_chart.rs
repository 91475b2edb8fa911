//! Line charts as files of their own: panels side by side in rows, readable on light and dark paper.

use maud::{Markup, html};

use crate::report::axis::Axis;
use crate::report::plot::{Frame, HALF, points};

const HEIGHT: f64 = 330.0;
/// Room for the title of a panel.
const HEAD: f64 = 26.0;
/// Height of a row of the legend.
const ROW: f64 = 18.0;
/// Most columns of the legend, and the least width of one.
const COLUMNS: usize = 4;
const COLUMN: f64 = 260.0;
/// Most panels in a row; more than these stand in pairs, which a page still shows at a readable size.
const ABREAST: usize = 3;

/// Categorical colours that stay apart on white, on black and for the colour-blind (P. Tol's bright scheme, then two of
/// his vibrant one and a brown).
const COLOURS: [&str; 10] = [
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888", "#ee7733",
    "#009988", "#8c564b",
];

/// One line of a panel.
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// Whether it is drawn dashed.
    pub dashed: bool,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper bound of a band around the points, one pair each; none for no band.
    pub band: Vec<(f64, f64)>,
}

/// How an axis covers its values.
#[derive(Clone, Copy)]
pub enum Scale {
    /// From zero.
    FromZero,
    /// From the least to the greatest.
    Covering,
    /// Over powers of ten.
    Logarithmic,
}

impl Scale {
    fn axis(self, values: impl Iterator<Item = f64>, ticks: usize) -> Axis {
        match self {
            Scale::FromZero => Axis::from_zero(values, ticks),
            Scale::Covering => Axis::covering(values, ticks),
            Scale::Logarithmic => Axis::logarithmic(values),
        }
    }
}

impl Line {
    fn ink(&self) -> &'static str {
        COLOURS[self.colour % COLOURS.len()]
    }

    /// A colour that comes again is dotted.
    fn dashes(&self) -> Option<&'static str> {
        match (self.dashed, self.colour < COLOURS.len()) {
            (false, true) => None,
            (true, true) => Some("5 4"),
            (false, false) => Some("2 3"),
            (true, false) => Some("8 3 2 3"),
        }
    }
}

/// A plotting area.
pub struct Panel {
    pub title: String,
    pub x_title: String,
    pub y_title: String,
    /// Of x and y.
    pub scales: (Scale, Scale),
    pub lines: Vec<Line>,
}

/// The chart as a complete SVG file.
pub fn render(panels: &[Panel]) -> String {
    let mut legend: Vec<&Line> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if legend.iter().all(|known| known.name != line.name) {
            legend.push(line);
        }
    }
    let abreast = match panels.len() {
        count @ ..=ABREAST => count,
        _ => 2,
    };
    let width = HALF * abreast as f64;
    let bottom = (HEAD + HEIGHT) * panels.len().div_ceil(abreast) as f64;
    let columns = ((width / COLUMN) as usize).clamp(1, COLUMNS);
    let height = bottom + ROW * (legend.len().div_ceil(columns) as f64 + 0.5);
    let body = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" {
            style { (STYLE) }
            @for (index, panel) in panels.iter().enumerate() {
                @let (row, column) = (index / abreast, index % abreast);
                @let top = (HEAD + HEIGHT) * row as f64 + HEAD;
                g transform={ "translate(" (column as f64 * HALF) " " (top) ")" } { (draw(panel)) }
            }
            @for (index, line) in legend.into_iter().enumerate() {
                @let x = 54.0 + (index % columns) as f64 * (width - 68.0) / columns as f64;
                @let y = bottom + ROW * ((index / columns) as f64 + 0.6);
                line x1=(x) x2=(x + 24.0) y1=(y - 4.0) y2=(y - 4.0) stroke=(line.ink()) stroke-width="2"
                    stroke-dasharray=[line.dashes()] {}
                text x=(x + 30.0) y=(y) { (line.name) }
            }
        }
    };
    body.into_string()
}

/// Text and grid in greys that can be read on white and on black.
const STYLE: &str = "svg{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
text{fill:#777}.grid{stroke:#7773}.base,.tick{stroke:#777}polyline{fill:none;stroke-width:2;stroke-linejoin:round}";

fn draw(panel: &Panel) -> Markup {
    let all = || panel.lines.iter().flat_map(|line| &line.points);
    let bands = panel.lines.iter().flat_map(|line| &line.band);
    let bands = bands.flat_map(|&(low, high)| [low, high]);
    let frame = Frame {
        width: HALF,
        height: HEIGHT,
        x: panel.scales.0.axis(all().map(|point| point.0), 7),
        y: (panel.scales.1).axis(all().map(|point| point.1).chain(bands), 6),
    };
    html! {
        text x=(frame.left()) y="-8" font-weight="600" { (panel.title) }
        (frame.axes(&panel.x_title, &panel.y_title))
        @for line in &panel.lines {
            @let edge = |upper: bool| line.points.iter().zip(&line.band).map(move |(point, band)| (point.0, if upper { band.1 } else { band.0 }));
            @if !line.band.is_empty() {
                polygon points=(points(edge(false).chain(edge(true).collect::<Vec<_>>().into_iter().rev()).map(|(x, y)| (frame.x(x), frame.y(y)))))
                    fill=(line.ink()) fill-opacity="0.15" {}
            }
            @let places: Vec<(f64, f64)> = line.points.iter().map(|&(x, y)| (frame.x(x), frame.y(y))).collect();
            polyline points=(points(places.iter().copied())) stroke=(line.ink())
                stroke-dasharray=[line.dashes()] {}
            @for (x, y) in places { circle cx=(x) cy=(y) r="3" fill=(line.ink()) {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named_once() {
        let line = |name: &str, colour| Line {
            name: name.into(),
            colour,
            dashed: colour > 0,
            points: vec![(0.0, 1.0), (2.0, 5.0)],
            band: if colour > 0 {
                vec![(0.5, 1.5), (4.0, 6.0)]
            } else {
                Vec::new()
            },
        };
        let panel = |title: &str| Panel {
            title: title.into(),
            x_title: "batch".into(),
            y_title: "ms <per step>".into(),
            scales: (Scale::FromZero, Scale::Covering),
            lines: vec![line("largest", 0), line("smallest", 1)],
        };
        let svg = render(&[panel("left"), panel("right")]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert_eq!(svg.matches("<polygon").count(), 2);
        assert_eq!(svg.matches(">largest<").count(), 1);
        assert_eq!(svg.matches(">smallest<").count(), 1);
        assert!(svg.contains("ms &lt;per step&gt;"));
    }

    #[test]
    fn four_panels_stand_in_pairs() {
        let panels: Vec<Panel> = (0..4)
            .map(|index| Panel {
                title: index.to_string(),
                x_title: "x".into(),
                y_title: "y".into(),
                scales: (Scale::FromZero, Scale::FromZero),
                lines: Vec::new(),
            })
            .collect();
        let places = |panels: &[Panel]| -> Vec<String> {
            let svg = render(panels);
            let parts = svg.split("<g transform=\"translate(").skip(1);
            parts
                .filter_map(|part| Some(part.split_once(')')?.0.to_owned()))
                .collect()
        };
        let right = HALF.to_string();
        let lower = (2.0 * HEAD + HEIGHT).to_string();
        assert_eq!(
            places(&panels),
            [
                format!("0 {HEAD}"),
                format!("{right} {HEAD}"),
                format!("0 {lower}"),
                format!("{right} {lower}"),
            ]
        );
        let beside = places(&panels[..3]);
        assert!(
            beside
                .iter()
                .all(|place| place.ends_with(&format!(" {HEAD}")))
        );
    }
}
