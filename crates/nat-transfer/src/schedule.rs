//! The learning rate: one cosine over a whole run, after an optional linear warm-up.

use std::f64::consts::PI;

/// A cosine from `peak` to `last` over `total` steps, preceded by `warmup` steps that rise linearly.
///
/// The paper profile has a peak of 0.01, no warm-up and one cosine over all adaptation phases
/// (AwesomeLemon/ENCAS, `configs_nat/cifar10_reproducenat.yml`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Rate at the top of the curve.
    pub peak: f64,
    /// Steps of the linear rise.
    pub warmup: usize,
    /// All steps, the warm-up included.
    pub total: usize,
    /// Rate at the bottom of the curve.
    pub last: f64,
}

impl Schedule {
    /// The rate of a step, counted from 0. Steps at or after `total` have the last rate.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        if step >= self.total {
            return self.last;
        }
        let done = (step - self.warmup) as f64 / (self.total - self.warmup) as f64;
        self.last + 0.5 * (self.peak - self.last) * (1.0 + (PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_peak_halves_in_the_middle_and_ends_at_zero() {
        let schedule = Schedule {
            peak: 0.01,
            warmup: 0,
            total: 200,
            last: 0.0,
        };
        assert_eq!(schedule.rate(0), 0.01);
        assert!((schedule.rate(100) - 0.005).abs() < 1e-12);
        assert!(schedule.rate(199) > 0.0 && schedule.rate(199) < 1e-5);
        assert_eq!(schedule.rate(200), 0.0);
    }

    #[test]
    fn two_stretches_meet_where_one_ends_at_the_rate_the_other_begins_with() {
        let first = Schedule {
            peak: 0.01,
            warmup: 5,
            total: 100,
            last: 0.004,
        };
        let second = Schedule {
            peak: 0.004,
            warmup: 0,
            total: 60,
            last: 0.0,
        };
        assert_eq!(first.rate(5), 0.01);
        assert!(first.rate(99) > 0.004 && first.rate(99) < 0.00401);
        assert_eq!(first.rate(100), second.rate(0));
    }

    #[test]
    fn is_continuous_where_the_warm_up_ends() {
        let schedule = Schedule {
            peak: 0.4,
            warmup: 4,
            total: 100,
            last: 0.0,
        };
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
        assert_eq!(&rates[..4], &[0.1, 0.2, 0.30000000000000004, 0.4]);
        assert_eq!(rates[4], 0.4);
        assert!(rates[5] < 0.4 && rates[5] > 0.399);
    }
}
