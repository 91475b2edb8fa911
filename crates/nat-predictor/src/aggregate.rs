//! One answer from many.

/// How the members' answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// The middle answer, as in AwesomeLemon/ENCAS; ranks better than the mean.
    #[default]
    Median,
    /// The average answer, as in human-analysis/moea-nas-framework.
    Mean,
}

impl Aggregate {
    /// One answer of finite ones, whose order is lost; NaN of none.
    pub(crate) fn of(self, answers: &mut [f64]) -> f64 {
        match self {
            Aggregate::Median => median(answers),
            Aggregate::Mean => mean(answers),
        }
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    0.5 * (lower + upper)
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation of the values as a whole population.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let variance =
        values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64;
    variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_even_and_no_answers() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn the_average_and_the_spread() {
        assert_eq!(Aggregate::Mean.of(&mut [4.0, 1.0, 1.0]), 2.0);
        assert_eq!(deviation(&[2.0, 4.0]), 1.0);
    }
}
