//! What errors on a few hundred images leave open.

use crate::{Limits, Member};

/// Larger networks that may be as good as the one with the least error, for all that the images tell.
///
/// The rule of one standard error (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10),
/// turned round: there it excuses a simpler model, here a network that costs more, since what costs more in a trained supernet
/// is rarely worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecided<'a> {
    /// Standard error of the least error, in points.
    pub standard_error: f64,
    /// Members within it of the least error and with more multiply-adds than the one that has it, the largest first.
    pub larger: Vec<&'a Member>,
}

impl<'a> Undecided<'a> {
    /// Among the admitted ones of an archive whose errors are shares of `images` images. Of the least error e, in percent,
    /// the standard error is that of a share, √(e (100 - e) / n), where e is at least half an image.
    ///
    /// # Panics
    /// No images.
    pub fn of(archive: &'a [Member], limits: &Limits, images: usize) -> Undecided<'a> {
        assert!(images > 0, "errors are of images");
        let admitted = archive.iter().filter(|member| limits.admit(member));
        let best = (admitted.clone())
            .min_by(|a, b| a.error.total_cmp(&b.error).then(a.madds.cmp(&b.madds)));
        let Some(best) = best else {
            return Undecided {
                standard_error: 0.0,
                larger: Vec::new(),
            };
        };
        let least = 50.0 / images as f64;
        let error = best.error.clamp(least, 100.0 - least);
        let standard_error = (error * (100.0 - error) / images as f64).sqrt();
        let mut larger: Vec<&Member> = admitted
            .filter(|member| {
                member.madds > best.madds && member.error <= best.error + standard_error
            })
            .collect();
        larger.sort_by(|a, b| b.madds.cmp(&a.madds).then(a.error.total_cmp(&b.error)));
        Undecided {
            standard_error,
            larger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::member;

    fn sizes(undecided: &Undecided<'_>) -> Vec<u64> {
        undecided.larger.iter().map(|member| member.madds).collect()
    }

    #[test]
    fn larger_networks_within_a_standard_error_are_named() {
        // 10 % of 225 images: a standard error of 2 points.
        let archive = [
            member(1, 10.0, 200),
            member(2, 12.1, 900),
            member(3, 11.9, 400),
            member(4, 10.5, 800),
            member(5, 10.0, 100),
            member(6, 11.0, 50),
        ];
        let open = Undecided::of(&archive, &Limits::default(), 225);
        assert!((open.standard_error - 2.0).abs() < 1e-12);
        assert_eq!(sizes(&open), [800, 400, 200]);
        let many = Undecided::of(&archive, &Limits::default(), 22_500);
        assert_eq!(sizes(&many), [200]);
        let limited = Undecided::of(&archive, &Limits::parse("madds<=400").unwrap(), 225);
        assert_eq!(sizes(&limited), [400, 200]);
    }

    #[test]
    fn no_error_at_all_is_not_certain() {
        let archive = [member(1, 0.0, 100), member(2, 0.6, 200)];
        let open = Undecided::of(&archive, &Limits::default(), 50);
        assert!((open.standard_error - (99.0f64 / 50.0).sqrt()).abs() < 1e-12);
        assert_eq!(sizes(&open), [200]);
    }

    #[test]
    fn nothing_is_undecided_where_nothing_is_admitted() {
        let archive = [member(1, 10.0, 100)];
        let open = Undecided::of(&archive, &Limits::parse("madds<50").unwrap(), 50);
        assert!(open.larger.is_empty());
    }
}
