//! Environmental selection by crowding distance (NSGA-II).

use crate::dominance::lexicographic;
use crate::non_dominated_sort;

/// How much room each row of a front has to itself: the mean over the objectives of the gap between
/// its two neighbours, relative to the range of the front. Infinite at both ends of an objective that differs between rows,
/// and for a row that is alone.
///
/// Deb, Pratap, Agarwal and Meyarivan, IEEE TEVC 6(2), 2002, section III-B. Of equal rows only the
/// first is measured, the others have no room of their own: 0.
///
/// # Panics
/// If an objective is NaN.
pub fn crowding_distance<R: AsRef<[f64]>>(front: &[R]) -> Vec<f64> {
    let row = |i: usize| front[i].as_ref();
    let mut order: Vec<usize> = (0..front.len()).collect();
    order.sort_by(|&a, &b| lexicographic(row(a), row(b)));
    order.dedup_by(|&mut later, &mut first| row(later) == row(first));

    let mut distance = vec![0.0; front.len()];
    match order[..] {
        [] => return distance,
        [alone] => {
            distance[alone] = f64::INFINITY;
            return distance;
        }
        _ => {}
    }
    let m = row(0).len();
    for j in 0..m {
        order.sort_by(|&a, &b| row(a)[j].total_cmp(&row(b)[j]).then(a.cmp(&b)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let range = row(last)[j] - row(first)[j];
        if range > 0.0 {
            distance[first] = f64::INFINITY;
            distance[last] = f64::INFINITY;
            for window in order.windows(3) {
                let gap = row(window[2])[j] - row(window[0])[j];
                distance[window[1]] += gap / range / m as f64;
            }
        }
    }
    distance
}

/// Chooses `n` rows of `f`, non-dominated first and with the most room around them second: the
/// survival of NSGA-II. Returns all rows where there are no more than `n`; the order is front by
/// front, within the front that did not fit as a whole by falling distance, lower row first among
/// equals.
///
/// # Panics
/// If an objective is NaN.
pub fn survive_crowding<R: AsRef<[f64]>>(f: &[R], n: usize) -> Vec<usize> {
    let mut survivors = Vec::with_capacity(n.min(f.len()));
    for front in non_dominated_sort(f) {
        let places = n - survivors.len();
        if front.len() <= places {
            survivors.extend(front);
            continue;
        }
        let rows: Vec<&[f64]> = front.iter().map(|&i| f[i].as_ref()).collect();
        let distance = crowding_distance(&rows);
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|&a, &b| distance[b].total_cmp(&distance[a]));
        survivors.extend(
            order
                .into_iter()
                .take(places)
                .map(|position| front[position]),
        );
        break;
    }
    survivors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_a_line() {
        // Ranges 4 and 8; the inner points see (3 - 0)/4 + (8 - 2)/8 and (4 - 1)/4 + (5 - 0)/8.
        let f = [[0.0, 8.0], [1.0, 5.0], [3.0, 2.0], [4.0, 0.0]];
        let distance = crowding_distance(&f);
        assert_eq!(distance, [f64::INFINITY, 0.75, 0.6875, f64::INFINITY]);
    }

    #[test]
    fn copies_have_no_room() {
        let f = [[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0]];
        assert_eq!(
            crowding_distance(&f),
            [f64::INFINITY, 1.0, 0.0, f64::INFINITY]
        );
        assert!(crowding_distance::<[f64; 2]>(&[]).is_empty());
        // What is the same for all says nothing of room, and a row alone has all of it.
        let constant = f.map(|[a, b]| [a, 7.0, b]);
        assert_eq!(
            crowding_distance(&constant),
            [f64::INFINITY, 2.0 / 3.0, 0.0, f64::INFINITY]
        );
        assert_eq!(crowding_distance(&[[1.0, 2.0]; 2]), [f64::INFINITY, 0.0]);
    }

    #[test]
    fn the_crowded_leave_first() {
        // Rows 2 and 3 are close; row 2 has 0.331 of room, row 3 has 0.4375, row 4 has 0.669.
        let f = [
            [0.0, 8.0],
            [9.0, 9.0],
            [1.0, 5.0],
            [1.1, 4.9],
            [3.0, 2.0],
            [4.0, 0.0],
        ];
        assert_eq!(survive_crowding(&f, 4), [0, 5, 4, 3]);
        assert_eq!(survive_crowding(&f, 5), [0, 2, 3, 4, 5]);
        assert_eq!(survive_crowding(&f, 9), [0, 2, 3, 4, 5, 1]);
        assert!(survive_crowding(&f, 0).is_empty());
    }
}
