//! Where the letters of the named points go, so that none hides another or a point.

use super::axis::coordinate;

/// Radius of a letter's disc.
pub const RADIUS: f64 = 9.0;

/// The centre of a letter's disc.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    pub x: f64,
    pub y: f64,
}

/// Finds a place near each of `anchors` in turn, inside the box `(left, top, right, bottom)`, clear
/// of the `obstacles` and of the letters placed before.
///
/// Tried are eight directions at growing distances, up and right first, where a front of minimised
/// objectives has nothing but dominated networks. Where everything is taken the least crowded place
/// wins.
pub fn place(
    anchors: &[(f64, f64)],
    obstacles: &[(f64, f64)],
    bounds: (f64, f64, f64, f64),
) -> Vec<Label> {
    const DIRECTIONS: [(f64, f64); 8] = [
        (0.7, -0.7),
        (-0.7, 0.7),
        (1.0, 0.0),
        (0.0, -1.0),
        (0.7, 0.7),
        (-0.7, -0.7),
        (-1.0, 0.0),
        (0.0, 1.0),
    ];
    const DISTANCES: [f64; 4] = [22.0, 32.0, 44.0, 60.0];
    let (left, top, right, bottom) = bounds;
    let mut labels: Vec<Label> = Vec::new();
    for (x, y) in anchors {
        let candidates = DISTANCES.iter().flat_map(|distance| {
            DIRECTIONS.iter().map(move |(dx, dy)| Label {
                x: x + dx * distance,
                y: y + dy * distance,
            })
        });
        let inside = |label: &Label| {
            (left + RADIUS..=right - RADIUS).contains(&label.x)
                && (top + RADIUS..=bottom - RADIUS).contains(&label.y)
        };
        let clearance = |label: &Label| {
            let to = |(x, y): (f64, f64), radius: f64| {
                (label.x - x).hypot(label.y - y) - RADIUS - radius
            };
            let points = obstacles.iter().map(|&obstacle| to(obstacle, 6.0));
            let others = labels.iter().map(|other| to((other.x, other.y), RADIUS));
            points.chain(others).fold(f64::INFINITY, f64::min)
        };
        let mut best: Option<(f64, Label)> = None;
        for candidate in candidates.filter(inside) {
            let room = clearance(&candidate).min(1.0);
            if best.is_none_or(|(most, _)| room > most) {
                best = Some((room, candidate));
            }
        }
        let Label { x, y } = best.map_or(Label { x: *x, y: *y }, |(_, label)| label);
        labels.push(Label {
            x: coordinate(x),
            y: coordinate(y),
        });
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (f64, f64, f64, f64) = (0.0, 0.0, 400.0, 300.0);

    fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
        (a.0 - b.0).hypot(a.1 - b.1)
    }

    #[test]
    fn close_points_get_letters_apart() {
        let anchors = [
            (100.0, 100.0),
            (104.0, 106.0),
            (109.0, 111.0),
            (112.0, 118.0),
        ];
        let labels = place(&anchors, &anchors, BOUNDS);
        for (i, a) in labels.iter().enumerate() {
            for b in &labels[..i] {
                assert!(distance((a.x, a.y), (b.x, b.y)) >= 2.0 * RADIUS);
            }
            for &anchor in &anchors {
                assert!(distance((a.x, a.y), anchor) >= RADIUS + 5.9);
            }
        }
    }

    #[test]
    fn letters_stay_inside() {
        for anchor in [(0.0, 0.0), (400.0, 0.0), (0.0, 300.0), (400.0, 300.0)] {
            let label = place(&[anchor], &[anchor], BOUNDS)[0];
            assert!((RADIUS..=400.0 - RADIUS).contains(&label.x), "{label:?}");
            assert!((RADIUS..=300.0 - RADIUS).contains(&label.y), "{label:?}");
        }
    }
}
