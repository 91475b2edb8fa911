//! Evenly spread reference directions of any number in any dimension.

use crate::Draws;
use crate::directions::das_dennis;
use crate::dominance::lexicographic;

/// Uniform points of the simplex from which the start is chosen.
const SAMPLES: usize = 10_000;
/// Longest descent, in steps.
const STEPS: usize = 1000;
/// Descents from different starts, of which the lowest counts. Single ones end in local minima: one
/// in twenty misses the quality of the test below, by the best of eight none of 120 does.
const STARTS: usize = 8;
/// First step length of Adam, in units of a coordinate: of 0.005 to 0.05 the one that ended lowest
/// over forty seeds at n = 100 and m = 3, 5, 12.
const RATE: f64 = 0.03;
/// Steps without a new best after which the step length is halved.
const PATIENCE: usize = 30;
/// Mean movement of a coordinate below which the descent has arrived.
const ARRIVED: f64 = 1e-5;

/// `n` well-spaced points of the unit simplex in `m` dimensions, in ascending lexicographic order,
/// by minimising the Riesz s-energy `sum |w_i - w_j|^-s` over all pairs with `s = 2m`.
///
/// Hardin and Saff, Notices of the AMS 51(10), 2004; for reference directions Blank, Deb, Dhebar,
/// Bandaru and Seada, IEEE TEVC 25(1), 2021. The start is the boundary of the largest Das-Dennis set
/// of at most `n` points, filled up with the samples farthest from everything chosen; the descent is
/// Adam on the logarithm of the energy with the gradient kept in the plane of the simplex, both as in
/// anyoptimization/pymoo 0.6.2, `pymoo/util/ref_dirs/energy.py`. Other than there, a step ends with
/// the exact projection onto the simplex (scaling to sum 1 drags points along the boundary and ends
/// at higher energies), and the best of several starts counts.
///
/// For two objectives the result is the even grid, whose energy the descent does not undercut.
///
/// The same arguments give the same directions. One objective has a single direction, repeated.
///
/// # Panics
/// If `m` is zero.
pub fn riesz(m: usize, n: usize, seed: u64) -> Vec<Vec<f64>> {
    assert!(m > 0, "reference directions need at least one objective");
    match (m, n) {
        (_, 0) => return Vec::new(),
        (1, _) => return vec![vec![1.0]; n],
        (_, 1) => return das_dennis(m, 0),
        (2, _) => return das_dennis(2, n - 1),
        _ => {}
    }
    let mut draws = Draws::new(seed);
    let (_, points) = (0..STARTS)
        .map(|_| descend(start(m, n, &mut draws), m))
        .reduce(|best, other| if other.0 < best.0 { other } else { best })
        .expect("at least one start");
    let mut directions: Vec<Vec<f64>> = points.chunks_exact(m).map(<[f64]>::to_vec).collect();
    directions.sort_by(|a, b| lexicographic(a, b));
    directions
}

/// Boundary lattice points and the farthest samples, `n` rows of length `m`.
fn start(m: usize, n: usize, draws: &mut Draws) -> Vec<f64> {
    let mut points: Vec<f64> = boundary_lattice(m, n).concat();
    let samples = uniform_samples(m, SAMPLES.max(10 * n), draws);
    // Squared distance of every sample to the nearest chosen point.
    let mut nearest = vec![f64::INFINITY; samples.len() / m];
    let approach = |nearest: &mut [f64], point: &[f64]| {
        for (least, sample) in nearest.iter_mut().zip(samples.chunks_exact(m)) {
            *least = least.min(squared_distance(sample, point));
        }
    };
    for point in points.chunks_exact(m) {
        approach(&mut nearest, point);
    }
    while points.len() < n * m {
        let farthest = position_of_largest(&nearest);
        let point = &samples[farthest * m..][..m];
        approach(&mut nearest, point);
        points.extend_from_slice(point);
    }
    points
}

/// The first position of the largest value.
fn position_of_largest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// The points with a zero coordinate of the largest Das-Dennis set of at most `n` points.
fn boundary_lattice(m: usize, n: usize) -> Vec<Vec<f64>> {
    let size = |partitions: usize| (1..=partitions).fold(1, |size, i| size * (m - 1 + i) / i);
    let partitions = (1..).take_while(|&p| size(p) <= n).last().unwrap_or(0);
    let mut lattice = das_dennis(m, partitions);
    lattice.retain(|point| point.contains(&0.0));
    lattice
}

/// Uniform points of the simplex: the gaps that `m - 1` sorted uniform numbers leave in `[0, 1]`.
fn uniform_samples(m: usize, n: usize, draws: &mut Draws) -> Vec<f64> {
    let mut samples = Vec::with_capacity(n * m);
    let mut cuts = vec![0.0; m - 1];
    for _ in 0..n {
        cuts.fill_with(|| draws.unit());
        cuts.sort_unstable_by(f64::total_cmp);
        let mut before = 0.0;
        for &cut in &cuts {
            samples.push(cut - before);
            before = cut;
        }
        samples.push(1.0 - before);
    }
    samples
}

/// Minimises the energy of the points; returns the least logarithm of it met, and where.
fn descend(mut points: Vec<f64>, m: usize) -> (f64, Vec<f64>) {
    let mut best = points.clone();
    let mut least = f64::INFINITY;
    let mut since_best = 0;
    let mut rate = RATE;
    let mut energy = Energy::new(points.len() / m, m);
    let mut adam = Adam::new(points.len());
    for _ in 0..STEPS {
        let value = energy.at(&points);
        if value < least {
            least = value;
            best.copy_from_slice(&points);
            since_best = 0;
        } else {
            since_best += 1;
            if since_best > PATIENCE {
                points.copy_from_slice(&best);
                energy.at(&points);
                adam = Adam::new(points.len());
                rate /= 2.0;
                since_best = 0;
            }
        }
        energy.project_gradient();
        let moved = adam.step(&mut points, &energy.gradient, rate, m);
        if moved / points.len() as f64 <= ARRIVED {
            break;
        }
    }
    (least, best)
}

/// The logarithm of the Riesz energy and its gradient, up to a positive factor.
struct Energy {
    m: usize,
    /// Squared distance of every pair, first point before second.
    squared: Vec<f64>,
    gradient: Vec<f64>,
}

impl Energy {
    fn new(n: usize, m: usize) -> Self {
        Self {
            m,
            squared: Vec::with_capacity(n * (n - 1) / 2),
            gradient: vec![0.0; n * m],
        }
    }

    /// The value at `points`; leaves the unscaled gradient behind.
    ///
    /// Energies are taken relative to the closest pair: `d^-2m` alone leaves the range of f64 for
    /// many objectives.
    fn at(&mut self, points: &[f64]) -> f64 {
        let m = self.m;
        let mut closest = f64::INFINITY;
        self.squared.clear();
        for (i, a) in points.chunks_exact(m).enumerate() {
            for b in points[(i + 1) * m..].chunks_exact(m) {
                let squared = squared_distance(a, b).max(f64::MIN_POSITIVE);
                closest = closest.min(squared);
                self.squared.push(squared);
            }
        }

        self.gradient.fill(0.0);
        let mut sum = 0.0;
        let mut squared = self.squared.iter();
        for (i, a) in points.chunks_exact(m).enumerate() {
            let (upto_a, after_a) = self.gradient.split_at_mut((i + 1) * m);
            let gradient_a = &mut upto_a[i * m..];
            let others = points[(i + 1) * m..]
                .chunks_exact(m)
                .zip(after_a.chunks_exact_mut(m));
            for ((b, gradient_b), squared) in others.zip(&mut squared) {
                let relative = closest / squared;
                let energy = power(relative, m);
                sum += energy;
                let force = energy * relative;
                for k in 0..m {
                    let component = force * (a[k] - b[k]);
                    gradient_a[k] -= component;
                    gradient_b[k] += component;
                }
            }
        }
        sum.ln() - m as f64 * closest.ln()
    }

    /// Takes out what leaves the plane of the simplex and scales the longest row to length 1.
    fn project_gradient(&mut self) {
        let mut longest: f64 = 0.0;
        for row in self.gradient.chunks_exact_mut(self.m) {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter_mut().for_each(|g| *g -= mean);
            longest = longest.max(row.iter().map(|g| g * g).sum());
        }
        if longest > 0.0 {
            let scale = 1.0 / longest.sqrt();
            self.gradient.iter_mut().for_each(|g| *g *= scale);
        }
    }
}

/// Adam (Kingma and Ba, ICLR 2015) with its standard decays.
struct Adam {
    mean: Vec<f64>,
    square: Vec<f64>,
    mean_decay: f64,
    square_decay: f64,
}

impl Adam {
    fn new(n: usize) -> Self {
        Self {
            mean: vec![0.0; n],
            square: vec![0.0; n],
            mean_decay: 1.0,
            square_decay: 1.0,
        }
    }

    /// Moves the points down the gradient and back onto the simplex; returns the summed movement.
    fn step(&mut self, points: &mut [f64], gradient: &[f64], rate: f64, m: usize) -> f64 {
        const MEAN: f64 = 0.9;
        const SQUARE: f64 = 0.999;
        self.mean_decay *= MEAN;
        self.square_decay *= SQUARE;
        let mut moved = 0.0;
        let mut before = vec![0.0; m];
        for (r, point) in points.chunks_exact_mut(m).enumerate() {
            before.copy_from_slice(point);
            for (k, coordinate) in point.iter_mut().enumerate() {
                let (i, g) = (r * m + k, gradient[r * m + k]);
                self.mean[i] = MEAN * self.mean[i] + (1.0 - MEAN) * g;
                self.square[i] = SQUARE * self.square[i] + (1.0 - SQUARE) * g * g;
                let mean = self.mean[i] / (1.0 - self.mean_decay);
                let square = self.square[i] / (1.0 - self.square_decay);
                *coordinate -= rate * mean / (square.sqrt() + 1e-8);
            }
            project_onto_simplex(point);
            moved += point
                .iter()
                .zip(&before)
                .map(|(a, b)| (a - b).abs())
                .sum::<f64>();
        }
        moved
    }
}

/// Moves `point` to the nearest point of the unit simplex (Held, Wolfe and Crowder, Mathematical
/// Programming 6, 1974): all coordinates fall by one amount, those that would be negative to zero.
fn project_onto_simplex(point: &mut [f64]) {
    let mut falling = point.to_vec();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut sum = 0.0;
    let mut drop = 0.0;
    for (i, &coordinate) in falling.iter().enumerate() {
        sum += coordinate;
        let candidate = (sum - 1.0) / (i + 1) as f64;
        if coordinate <= candidate {
            break;
        }
        drop = candidate;
    }
    point
        .iter_mut()
        .for_each(|coordinate| *coordinate = (*coordinate - drop).max(0.0));
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// `x^n` by multiplication: `powi` may round differently from one platform to the next.
fn power(x: f64, n: usize) -> f64 {
    (0..n).fold(1.0, |product, _| product * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    /// Smallest nearest-neighbour distance, and the logarithm of the mean of `d^-exponent`.
    fn quality(directions: &[Vec<f64>], exponent: i32) -> (f64, f64) {
        let mut nearest = f64::INFINITY;
        let mut logs = Vec::new();
        for (i, a) in directions.iter().enumerate() {
            for b in &directions[i + 1..] {
                let distance = squared_distance(a, b).sqrt();
                nearest = nearest.min(distance);
                logs.push(-f64::from(exponent) * distance.ln());
            }
        }
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        (nearest, largest + (sum / logs.len() as f64).ln())
    }

    fn assert_on_the_simplex(directions: &[Vec<f64>], m: usize) {
        for direction in directions {
            assert_eq!(direction.len(), m);
            assert!(direction.iter().all(|&w| w >= 0.0), "{direction:?}");
            assert!(
                (direction.iter().sum::<f64>() - 1.0).abs() < 1e-12,
                "{direction:?}"
            );
        }
        assert!(directions.is_sorted());
    }

    #[test]
    fn as_even_as_the_fixture() {
        let Some(golden) = golden::load("pymoo_riesz_golden.json") else {
            return;
        };
        for m in [2, 3, 5, 12] {
            let set = &golden[format!("energy_m{m}_n100_s42")];
            let exponent = 2 * m as i32;
            let (nearest, energy) = quality(&golden::matrix(&set["dirs"]), exponent);
            for seed in [1, 42, 2021] {
                let directions = riesz(m, 100, seed);
                assert_eq!(directions.len(), 100);
                assert_on_the_simplex(&directions, m);
                let (our_nearest, our_energy) = quality(&directions, exponent);
                assert!(
                    our_nearest >= 0.95 * nearest,
                    "m {m}: {our_nearest} of {nearest}"
                );
                assert!(
                    our_energy <= energy + 0.05,
                    "m {m}: {our_energy} of {energy}"
                );
            }
        }
    }

    #[test]
    fn any_number_in_any_dimension() {
        for (m, n) in [
            (1, 3),
            (2, 1),
            (2, 7),
            (3, 1),
            (3, 2),
            (3, 5),
            (4, 3),
            (4, 37),
            (20, 30),
        ] {
            let directions = riesz(m, n, 9);
            assert_eq!(directions.len(), n, "m {m}");
            assert_on_the_simplex(&directions, m);
        }
        assert!(riesz(3, 0, 9).is_empty());
    }

    #[test]
    fn a_seed_fixes_the_directions() {
        assert_eq!(riesz(3, 20, 5), riesz(3, 20, 5));
        assert_ne!(riesz(3, 20, 5), riesz(3, 20, 6));
    }

    #[test]
    fn the_projection_is_the_nearest_point() {
        let mut outside = [0.9, 0.5, -0.2];
        project_onto_simplex(&mut outside);
        golden::assert_close(&outside, &[0.7, 0.3, 0.0], 1e-15);
        let mut far = [3.0, 0.0, 0.0, -8.0];
        project_onto_simplex(&mut far);
        assert_eq!(far, [1.0, 0.0, 0.0, 0.0]);
        let mut inside = [0.25, 0.25, 0.5];
        project_onto_simplex(&mut inside);
        assert_eq!(inside, [0.25, 0.25, 0.5]);
    }
}
