//! Environmental selection by reference directions (NSGA-III).

use pulp::{Arch, Simd, WithSimd};

use crate::{Normalizer, TieBreak, non_dominated_sort};

/// Which reference direction every row belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Association {
    /// Index of the nearest direction, the first among equals.
    pub niche: Vec<usize>,
    /// Perpendicular distance to the line through the origin along it, in normalised objectives.
    pub distance: Vec<f64>,
}

/// Assigns each row of `f` to the nearest reference line in the frame of `normalizer`.
///
/// # Panics
/// If there are no directions, one of them is zero, or `normalizer` was never updated.
pub fn associate<R: AsRef<[f64]>>(
    directions: &[Vec<f64>],
    f: &[R],
    normalizer: &Normalizer,
) -> Association {
    ReferenceLines::new(directions, normalizer).associate(f)
}

/// Row numbers, ascending, of the rows nearest to a direction to which any row of `f` belongs.
pub(crate) fn representatives<R: AsRef<[f64]>>(
    directions: &[Vec<f64>],
    f: &[R],
    normalizer: &Normalizer,
) -> Vec<usize> {
    let mut occupied = associate(directions, f, normalizer).niche;
    occupied.sort_unstable();
    occupied.dedup();
    let mut nearest: Vec<usize> = occupied
        .into_iter()
        .map(|niche| {
            let alone = associate(&directions[niche..=niche], f, normalizer).distance;
            (1..f.len()).fold(0, |best, i| if alone[i] < alone[best] { i } else { best })
        })
        .collect();
    nearest.sort_unstable();
    nearest.dedup();
    nearest
}

/// Directions compared at once.
const LANES: usize = 8;

/// The lines from the ideal point along the directions.
struct ReferenceLines<'a> {
    /// The directions at unit length: for each group of [`LANES`], objective by objective. Zeros fill
    /// the last group.
    units: Vec<[f64; LANES]>,
    normalizer: &'a Normalizer,
}

impl<'a> ReferenceLines<'a> {
    fn new(directions: &[Vec<f64>], normalizer: &'a Normalizer) -> Self {
        assert!(!directions.is_empty(), "no reference directions");
        let m = normalizer.ideal().len();
        let mut units = vec![[0.0; LANES]; directions.len().div_ceil(LANES) * m];
        for (d, direction) in directions.iter().enumerate() {
            assert_eq!(direction.len(), m, "length of a reference direction");
            let norm = direction.iter().map(|w| w * w).sum::<f64>().sqrt();
            assert!(norm > 0.0, "a reference direction of length zero");
            for (unit, w) in units[d / LANES * m..].iter_mut().zip(direction) {
                unit[d % LANES] = w / norm;
            }
        }
        Self { units, normalizer }
    }

    fn associate<R: AsRef<[f64]>>(&self, f: &[R]) -> Association {
        Arch::new().dispatch(Associate { lines: self, f })
    }

    /// The direction on which the projection of `x` is longest, the first among equals.
    #[inline(always)]
    fn longest_projection(&self, x: &[f64]) -> usize {
        // A lane keeps its first longest projection. The number of the group that it is in is of the
        // type of what is compared, so that both are chosen in vector registers.
        let (mut longest, mut group_of_longest) = ([0.0; LANES], [0.0; LANES]);
        let mut group = 0.0;
        for units in self.units.chunks_exact(x.len()) {
            let mut along = [0.0; LANES];
            for (x, units) in x.iter().zip(units) {
                for (along, u) in along.iter_mut().zip(units) {
                    *along += x * u;
                }
            }
            let (before, groups_before) = (longest, group_of_longest);
            for lane in 0..LANES {
                let along = along[lane].abs();
                let longer = along > before[lane];
                longest[lane] = if longer { along } else { before[lane] };
                group_of_longest[lane] = if longer { group } else { groups_before[lane] };
            }
            group += 1.0;
        }
        let (mut niche, mut best) = (0, 0.0);
        for lane in 0..LANES {
            let d = group_of_longest[lane] as usize * LANES + lane;
            if longest[lane] > best || longest[lane] == best && best > 0.0 && d < niche {
                (niche, best) = (d, longest[lane]);
            }
        }
        niche
    }
}

/// [`ReferenceLines::associate`].
struct Associate<'a, R> {
    lines: &'a ReferenceLines<'a>,
    f: &'a [R],
}

impl<R: AsRef<[f64]>> WithSimd for Associate<'_, R> {
    type Output = Association;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Association {
        let Self { lines, f } = self;
        let m = lines.normalizer.ideal().len();
        let mut association = Association {
            niche: Vec::with_capacity(f.len()),
            distance: Vec::with_capacity(f.len()),
        };
        let mut x = vec![0.0; m];
        for row in f {
            lines.normalizer.normalize(row.as_ref(), &mut x);
            // The nearest line is the one with the longest projection; the distance itself is not
            // taken from it, for a difference of squares loses half the digits near a line.
            let niche = lines.longest_projection(&x);
            let unit = lines.units[niche / LANES * m..][..m].iter();
            let unit = unit.map(|lanes| lanes[niche % LANES]);
            let along: f64 = x.iter().zip(unit.clone()).map(|(x, u)| x * u).sum();
            let aside = |(x, u): (&f64, f64)| (x - along * u) * (x - along * u);
            association.niche.push(niche);
            association
                .distance
                .push(x.iter().zip(unit).map(aside).sum::<f64>().sqrt());
        }
        association
    }
}

/// Chooses `n` rows of `f` that are non-dominated first and evenly spread over the reference
/// `directions` second: the survival of NSGA-III (Deb and Jain, IEEE TEVC 18(4), 2014, algorithms 1
/// to 4). Returns all rows where there are no more than `n`.
///
/// The order of the result is front by front; within the front that did not fit as a whole, the
/// order of choice. `normalizer` is updated with all rows: pass the same one from generation to
/// generation, and a fresh one wherever earlier objective values have lost their meaning.
///
/// # Panics
/// If an objective is NaN or the directions do not fit the objectives.
pub fn survive<R: AsRef<[f64]>>(
    directions: &[Vec<f64>],
    f: &[R],
    n: usize,
    normalizer: &mut Normalizer,
    ties: &mut impl TieBreak,
) -> Vec<usize> {
    if f.is_empty() {
        return Vec::new();
    }
    let mut fronts = non_dominated_sort(f).into_iter();
    let first = fronts.next().expect("rows have a front");
    normalizer.update(f, &first);

    let mut survivors: Vec<usize> = Vec::with_capacity(n.min(f.len()));
    let mut splitting = first;
    while survivors.len() + splitting.len() <= n {
        survivors.append(&mut splitting);
        match fronts.next() {
            Some(front) => splitting = front,
            None => return survivors,
        }
    }
    let need = n - survivors.len();
    if need == 0 {
        return survivors;
    }

    let rows =
        |indices: &[usize]| -> Vec<&[f64]> { indices.iter().map(|&i| f[i].as_ref()).collect() };
    let mut occupancy = vec![0; directions.len()];
    let lines = ReferenceLines::new(directions, normalizer);
    for niche in lines.associate(&rows(&survivors)).niche {
        occupancy[niche] += 1;
    }
    let candidates = lines.associate(&rows(&splitting));
    let chosen = fill_niches(&candidates, occupancy, need, ties);
    survivors.extend(chosen.into_iter().map(|position| splitting[position]));
    survivors
}

/// Chooses `need` of the candidates so that the occupancy of the directions becomes even.
///
/// A round takes the directions that still have candidates and are occupied least, in random order
/// and no more than there are places; an empty direction receives its nearest candidate, any other
/// a random one. Returns positions among the candidates in the order of choice.
fn fill_niches(
    candidates: &Association,
    mut occupancy: Vec<usize>,
    need: usize,
    ties: &mut impl TieBreak,
) -> Vec<usize> {
    let mut niches = Niches::new(&candidates.niche, occupancy.len());
    let mut chosen = Vec::with_capacity(need);
    let (mut least, mut order) = (Vec::new(), Vec::new());
    while chosen.len() < need {
        let open = || (0..occupancy.len()).filter(|&d| !niches.members(d).is_empty());
        let fewest = open()
            .map(|d| occupancy[d])
            .min()
            .expect("more candidates than places");
        least.clear();
        least.extend(open().filter(|&d| occupancy[d] == fewest));
        let visits = ties.permutation(least.len());
        for &visit in visits.iter().take(need - chosen.len()) {
            let direction = least[visit];
            order.clear();
            order.extend_from_slice(niches.members(direction));
            ties.shuffle(&mut order);
            let choice = if fewest == 0 {
                nearest(&order, &candidates.distance)
            } else {
                order[0]
            };
            niches.remove(direction, choice);
            occupancy[direction] += 1;
            chosen.push(choice);
        }
    }
    chosen
}

/// The candidates of each direction, ascending.
struct Niches {
    /// Candidates by direction.
    candidates: Vec<usize>,
    /// Where a direction's candidates begin and end.
    ranges: Vec<(usize, usize)>,
}

impl Niches {
    fn new(niche: &[usize], directions: usize) -> Self {
        let mut ranges = vec![(0, 0); directions];
        for &d in niche {
            ranges[d].1 += 1;
        }
        let mut begin = 0;
        for range in &mut ranges {
            let count = range.1;
            *range = (begin, begin);
            begin += count;
        }
        let mut candidates = vec![0; niche.len()];
        for (candidate, &d) in niche.iter().enumerate() {
            candidates[ranges[d].1] = candidate;
            ranges[d].1 += 1;
        }
        Self { candidates, ranges }
    }

    fn members(&self, direction: usize) -> &[usize] {
        let (begin, end) = self.ranges[direction];
        &self.candidates[begin..end]
    }

    fn remove(&mut self, direction: usize, candidate: usize) {
        let (begin, end) = &mut self.ranges[direction];
        let members = &mut self.candidates[*begin..*end];
        if let Some(position) = members.iter().position(|&member| member == candidate) {
            members[position..].rotate_left(1);
            *end -= 1;
        }
    }
}

/// The member of least distance, the first in order among equals.
fn nearest(order: &[usize], distance: &[f64]) -> usize {
    order
        .iter()
        .copied()
        .reduce(|a, b| if distance[b] < distance[a] { b } else { a })
        .expect("an open direction has members")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{Draws, das_dennis, golden, non_dominated};

    /// Hands out recorded draws, and panics if they are asked for in another order or size.
    struct Replay(std::vec::IntoIter<(String, Vec<usize>)>);

    impl Replay {
        fn new(draws: &Value) -> Self {
            let draws: Vec<(String, Vec<usize>)> = serde_json::from_value(draws.clone()).unwrap();
            Self(draws.into_iter())
        }

        fn next(&mut self, kind: &str, n: usize) -> Vec<usize> {
            let (recorded, order) = self.0.next().expect("one more draw than recorded");
            assert_eq!((recorded.as_str(), order.len()), (kind, n));
            order
        }
    }

    impl TieBreak for Replay {
        fn permutation(&mut self, n: usize) -> Vec<usize> {
            self.next("permutation", n)
        }

        fn shuffle(&mut self, items: &mut [usize]) {
            let before = items.to_vec();
            for (item, source) in items.iter_mut().zip(self.next("shuffle", before.len())) {
                *item = before[source];
            }
        }
    }

    #[test]
    fn association_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        let stage = &golden["stage"];
        let f = golden::matrix(&stage["F"]);
        let directions = das_dennis(3, 6);
        for (ours, theirs) in directions.iter().zip(golden::matrix(&stage["ref_dirs_p6"])) {
            golden::assert_close(ours, &theirs, 1e-9);
        }
        let mut normalizer = Normalizer::default();
        normalizer.update(&f, &non_dominated(&f));
        let association = associate(&directions, &f, &normalizer);
        assert_eq!(association.niche, golden::indices(&stage["niche"]));
        golden::assert_close(&association.distance, &golden::vector(&stage["dist"]), 1e-9);
        let mut counts = vec![0; directions.len()];
        for niche in association.niche {
            counts[niche] += 1;
        }
        assert_eq!(counts, golden::indices(&stage["niche_count"]));
    }

    #[test]
    fn replayed_survivals_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_niching_trace.json") else {
            return;
        };
        for case in golden.as_array().unwrap() {
            let size = |field: &str| case[field].as_u64().unwrap() as usize;
            let f = golden::matrix(&case["F"]);
            let directions = das_dennis(size("m"), size("partitions"));
            let mut normalizer = Normalizer::default();
            let mut replay = Replay::new(&case["draws"]);
            let survivors = survive(
                &directions,
                &f,
                size("n_survive"),
                &mut normalizer,
                &mut replay,
            );
            assert_eq!(survivors, golden::indices(&case["survivor_ids"]));
            assert!(replay.0.next().is_none(), "recorded draws are left over");

            golden::assert_close(normalizer.ideal(), &golden::vector(&case["ideal"]), 1e-9);
            golden::assert_close(normalizer.nadir(), &golden::vector(&case["nadir"]), 1e-9);
            let order = golden::indices(&case["order"]);
            let rows: Vec<&Vec<f64>> = order.iter().map(|&i| &f[i]).collect();
            let association = associate(&directions, &rows, &normalizer);
            assert_eq!(association.niche, golden::indices(&case["niche"]));
            golden::assert_close(&association.distance, &golden::vector(&case["dist"]), 1e-9);
        }
    }

    #[test]
    fn whole_fronts_survive_in_front_order() {
        let f = [[2.0, 2.0], [0.0, 1.0], [3.0, 3.0], [1.0, 0.0]];
        let keep = |n| {
            survive(
                &das_dennis(2, 3),
                &f,
                n,
                &mut Normalizer::default(),
                &mut Draws::new(0),
            )
        };
        assert_eq!(keep(3), [1, 3, 0]);
        assert_eq!(keep(9), [1, 3, 0, 2]);
        assert!(keep(0).is_empty());
    }

    #[test]
    fn survivors_spread_over_the_directions() {
        // 400 points of the simplex, crowded towards one corner: one survivor for each direction.
        let mut draws = Draws::new(5);
        let f: Vec<Vec<f64>> = (0..400)
            .map(|_| {
                let (a, b) = (draws.unit(), draws.unit().powi(3));
                vec![a, (1.0 - a) * b, (1.0 - a) * (1.0 - b)]
            })
            .collect();
        let directions = das_dennis(3, 4);
        let mut normalizer = Normalizer::default();
        let survivors = survive(&directions, &f, 15, &mut normalizer, &mut draws);
        let rows: Vec<&Vec<f64>> = survivors.iter().map(|&i| &f[i]).collect();
        let mut niches = associate(&directions, &rows, &normalizer).niche;
        niches.sort_unstable();
        assert_eq!(niches, (0..15).collect::<Vec<_>>());
    }
}
