//! Mean and standard deviation of repeated measurements.

/// Mean and sample standard deviation of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation with n - 1; `None` for fewer than two numbers.
    pub std: Option<f64>,
    /// How many.
    pub n: usize,
}

impl Spread {
    /// Of at least one number.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Spread {
            mean,
            std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            n,
        })
    }

    /// `mean ± std` with so many decimals.
    pub fn text(self, decimals: usize) -> String {
        match self.std {
            Some(std) => format!("{:.decimals$} ± {std:.decimals$}", self.mean),
            None => format!("{:.decimals$}", self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_number_has_no_deviation() {
        let spread = Spread::of(&[1.0, 3.0]).unwrap();
        assert_eq!(spread.text(2), "2.00 ± 1.41");
        assert_eq!(Spread::of(&[1.0]).unwrap().text(1), "1.0");
        assert!(Spread::of(&[]).is_none());
    }
}
