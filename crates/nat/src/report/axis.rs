//! Axes with round numbers, and how numbers are written.

use std::ops::RangeInclusive;

/// An axis whose ends and ticks are round numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    /// Distance of two ticks: 1, 2 or 5 times a power of ten. Of no use on a logarithmic axis.
    pub step: f64,
    decimals: usize,
    logarithmic: bool,
}

impl Axis {
    /// The axis that covers finite values with about `ticks` ticks. Equal values get some room
    /// around them; no value at all gives the axis from 0 to 1.
    pub fn covering(values: impl IntoIterator<Item = f64>, ticks: usize) -> Axis {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return Axis::between(0.0, 1.0, ticks);
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            return Axis::between(low - room, high + room, ticks);
        }
        Axis::between(low, high, ticks)
    }

    /// The axis from 0 that covers values which are not negative.
    pub fn from_zero(values: impl IntoIterator<Item = f64>, ticks: usize) -> Axis {
        let high = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        Axis::between(0.0, if high > 0.0 { high } else { 1.0 }, ticks)
    }

    /// The axis of a range of whole numbers, with half a unit of room on either side.
    pub fn counting(range: RangeInclusive<usize>, ticks: usize) -> Axis {
        let (low, high) = (*range.start() as f64, *range.end() as f64);
        let step = round_step(high - low, ticks).max(1.0);
        Axis {
            low: low - 0.5,
            high: high + 0.5,
            step,
            decimals: 0,
            logarithmic: false,
        }
    }

    fn between(low: f64, high: f64, ticks: usize) -> Axis {
        let step = round_step(high - low, ticks);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        Axis {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step,
            decimals,
            logarithmic: false,
        }
    }

    /// The axis over powers of ten that covers values above 0 (a millionth to a billion), from 1, 2 or 5 times a power of ten to
    /// another. No value at all gives the axis from 1 to 10.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>) -> Axis {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let below = round_numbers().take_while(|mark| *mark <= low);
        let below = below.last().unwrap_or(1e-6);
        let mut above = round_numbers();
        Axis {
            low: below,
            high: above
                .find(|mark| *mark >= high && *mark > below)
                .unwrap_or(1e9),
            step: 1.0,
            decimals: 0,
            logarithmic: true,
        }
    }

    /// Where a value lies, 0 at the low end and 1 at the high end.
    pub fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            return (value / self.low).ln() / (self.high / self.low).ln();
        }
        (value - self.low) / (self.high - self.low)
    }

    /// The round numbers on the axis, ascending.
    pub fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let on = |mark: &f64| (self.low..=self.high).contains(mark);
            return round_numbers().filter(on).collect();
        }
        // A little slack, as multiples of a step like 0.1 miss the ends by an ulp.
        let (first, last) = (self.low / self.step - 1e-9, self.high / self.step + 1e-9);
        (first.ceil() as i64..=last.floor() as i64)
            .map(|i| i as f64 * self.step)
            .collect()
    }

    /// A tick as text, with the decimals that the step needs.
    pub fn label(&self, tick: f64) -> String {
        if self.logarithmic {
            return tick.to_string();
        }
        // Adding zero turns a negative zero into a positive one.
        format!("{:.*}", self.decimals, tick + 0.0)
    }
}

/// …, 0.5, 1, 2, 5, 10, 20, … from a millionth to a billion.
fn round_numbers() -> impl Iterator<Item = f64> {
    (-6..=9).flat_map(|power| {
        // A quotient of whole numbers is the double nearest to the mark, a product with 0.1 may not be.
        let scaled = move |factor: f64| match power {
            0.. => factor * 10_f64.powi(power),
            _ => factor / 10_f64.powi(-power),
        };
        [1.0, 2.0, 5.0].map(scaled)
    })
}

/// The least of 1, 2, 5 times a power of ten that divides a span into at most `ticks` parts.
fn round_step(span: f64, ticks: usize) -> f64 {
    let rough = span / ticks as f64;
    if rough <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A coordinate in a drawing, to a tenth of a unit: more would only make the page longer.
pub fn coordinate(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}

/// A duration in its two largest units.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks()
            .into_iter()
            .map(|tick| axis.label(tick))
            .collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::covering([23.4, 61.7], 5);
        assert_eq!(labels(&axis), ["20", "30", "40", "50", "60", "70"]);
        assert_eq!(
            labels(&Axis::covering([0.61, 0.734], 4)),
            ["0.60", "0.65", "0.70", "0.75"]
        );
        assert_eq!(
            labels(&Axis::covering([-0.3, 0.3], 3)),
            ["-0.4", "-0.2", "0.0", "0.2", "0.4"]
        );
        assert_eq!(
            labels(&Axis::from_zero([1234.0, 9.0], 4)),
            ["0", "500", "1000", "1500"]
        );
        assert_eq!(
            labels(&Axis::covering([0.0, 1.0], 5)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
    }

    #[test]
    fn degenerate_values_still_give_an_axis() {
        for values in [
            vec![],
            vec![f64::NAN],
            vec![0.0],
            vec![7.0, 7.0],
            vec![-3.0],
        ] {
            let axis = Axis::covering(values.clone(), 5);
            assert!(
                axis.low < axis.high && axis.ticks().len() >= 2,
                "{values:?}: {axis:?}"
            );
            for value in values.into_iter().filter(|value| value.is_finite()) {
                assert!((0.0..=1.0).contains(&axis.share(value)));
            }
        }
        assert_eq!(labels(&Axis::from_zero([], 2)), ["0.0", "0.5", "1.0"]);
    }

    #[test]
    fn powers_of_ten_are_evenly_spaced() {
        let axis = Axis::logarithmic([350.0, 35_000.0, 100.0]);
        assert_eq!((axis.low, axis.high), (100.0, 50_000.0));
        assert_eq!(labels(&axis)[..4], ["100", "200", "500", "1000"]);
        let step = axis.share(1000.0) - axis.share(100.0);
        assert!((axis.share(10_000.0) - axis.share(1000.0) - step).abs() < 1e-12);
        assert_eq!(axis.share(50_000.0), 1.0);
        let small = Axis::logarithmic([0.17, 3.4]);
        assert_eq!(labels(&small), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        let empty = Axis::logarithmic([]);
        assert!(empty.low < empty.high && empty.ticks().len() >= 2);
        let single = Axis::logarithmic([100.0]);
        assert!(single.low < single.high);
    }

    #[test]
    fn counts_have_whole_ticks() {
        assert_eq!(labels(&Axis::counting(0..=0, 8)), ["0"]);
        assert_eq!(labels(&Axis::counting(0..=3, 8)), ["0", "1", "2", "3"]);
        assert_eq!(
            labels(&Axis::counting(0..=30, 8)),
            ["0", "5", "10", "15", "20", "25", "30"]
        );
        assert_eq!(Axis::counting(2..=4, 8).share(3.0), 0.5);
    }

    #[test]
    fn durations_and_coordinates() {
        let written = [0.04, 59.2, 61.0, 7265.0].map(duration);
        assert_eq!(written, ["0.0 s", "59 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!(coordinate(-0.01).to_string(), "0");
        assert_eq!(coordinate(1.26), 1.3);
    }
}
