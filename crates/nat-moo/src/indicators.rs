//! Distances between an approximation and a reference set.
//!
//! All of them are 0 for an approximation that holds the reference set, and infinite for an empty
//! one. Objectives should be normalised first: distances add up different units otherwise.

/// Inverted generational distance: the mean over the `reference` set of the Euclidean distance to
/// the nearest row of `f`.
///
/// # Panics
/// If `reference` is empty.
pub fn igd<R: AsRef<[f64]>, Z: AsRef<[f64]>>(f: &[R], reference: &[Z]) -> f64 {
    mean_least(f, reference, |a, z| {
        a.iter()
            .zip(z)
            .map(|(a, z)| (a - z) * (a - z))
            .sum::<f64>()
            .sqrt()
    })
}

/// IGD with the distance that counts only objectives in which the row of `f` is worse than the
/// reference; unlike [`igd`] it never gets worse by an improvement (Ishibuchi, Masuda, Tanigaki and
/// Nojima, EMO 2015).
///
/// # Panics
/// If `reference` is empty.
pub fn igd_plus<R: AsRef<[f64]>, Z: AsRef<[f64]>>(f: &[R], reference: &[Z]) -> f64 {
    mean_least(f, reference, |a, z| {
        a.iter()
            .zip(z)
            .map(|(a, z)| (a - z).max(0.0).powi(2))
            .sum::<f64>()
            .sqrt()
    })
}

/// Additive epsilon indicator: the least amount by which `f` must be shifted in every objective so
/// that it weakly dominates the whole `reference` set; negative where it is better (Zitzler et al.,
/// IEEE TEVC 7(2), 2003).
///
/// # Panics
/// If `reference` is empty.
pub fn epsilon<R: AsRef<[f64]>, Z: AsRef<[f64]>>(f: &[R], reference: &[Z]) -> f64 {
    assert!(
        !reference.is_empty(),
        "an indicator against no reference set"
    );
    reference
        .iter()
        .map(|z| {
            least(f, |a| {
                a.iter()
                    .zip(z.as_ref())
                    .map(|(a, z)| a - z)
                    .fold(f64::NEG_INFINITY, f64::max)
            })
        })
        .fold(f64::NEG_INFINITY, f64::max)
}

fn mean_least<R: AsRef<[f64]>, Z: AsRef<[f64]>>(
    f: &[R],
    reference: &[Z],
    distance: impl Fn(&[f64], &[f64]) -> f64,
) -> f64 {
    assert!(
        !reference.is_empty(),
        "an indicator against no reference set"
    );
    let sum: f64 = reference
        .iter()
        .map(|z| least(f, |a| distance(a, z.as_ref())))
        .sum();
    sum / reference.len() as f64
}

/// The least of `value` over the rows of `f`.
fn least<R: AsRef<[f64]>>(f: &[R], value: impl Fn(&[f64]) -> f64) -> f64 {
    f.iter()
        .map(|a| value(a.as_ref()))
        .fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn distances_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        let sets = &golden["dist_ind"];
        let (a, z) = (golden::matrix(&sets["A"]), golden::matrix(&sets["Z"]));
        golden::assert_close(
            &[igd(&a, &z), igd_plus(&a, &z), epsilon(&a, &z)],
            &["igd", "igd_plus", "eps_add"].map(|field| sets[field].as_f64().unwrap()),
            1e-9,
        );
    }

    #[test]
    fn by_hand() {
        let reference = [[0.0, 1.0], [1.0, 0.0]];
        assert_eq!(igd(&reference, &reference), 0.0);
        assert_eq!(igd(&[[0.0, 0.0]], &reference), 1.0);
        assert_eq!(igd_plus(&[[0.0, 0.0]], &reference), 0.0);
        assert_eq!(epsilon(&[[-0.5, 0.0]], &reference), 0.0);
        assert_eq!(epsilon(&[[-0.5, -0.25]], &reference), -0.25);
        assert_eq!(igd::<[f64; 2], _>(&[], &reference), f64::INFINITY);
    }
}
