//! Activations and their slopes.

use pulp::Arch;

/// A function applied value by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HSwish,
    /// `x / (1 + e^-x)`.
    Swish,
    /// `x * tanh(ln(1 + e^x))`.
    Mish,
}

/// An activation known to the compiler, so that a loop over values has no branch on it.
pub(crate) trait Function: Copy + Sync {
    /// The activation of `x`.
    fn value(x: f32) -> f32;
    /// Its derivative at `x`; at a kink, that of one side.
    fn slope(x: f32) -> f32;
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;
#[derive(Clone, Copy)]
pub(crate) struct Relu;
#[derive(Clone, Copy)]
pub(crate) struct Relu6;
#[derive(Clone, Copy)]
pub(crate) struct HSwish;
#[derive(Clone, Copy)]
pub(crate) struct Swish;
#[derive(Clone, Copy)]
pub(crate) struct Mish;

/// `max(x, 0)` as one instruction. Unlike `f32::max` it gives a NaN back: training that has diverged must show in the loss.
#[inline(always)]
fn positive(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn up_to_six(x: f32) -> f32 {
    if x > 6.0 { 6.0 } else { x }
}

impl Function for Identity {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        positive(x)
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }
}

impl Function for Relu6 {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        up_to_six(positive(x))
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }
    }
}

impl Function for HSwish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * (up_to_six(positive(x + 3.0)) * (1.0 / 6.0))
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let inside = if x > -3.0 && x < 3.0 { x } else { 0.0 };
        (up_to_six(positive(x + 3.0)) + inside) * (1.0 / 6.0)
    }
}

impl Function for Swish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x / (1.0 + (-x).exp())
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let gate = 1.0 / (1.0 + (-x).exp());
        gate + x * gate * (1.0 - gate)
    }
}

impl Mish {
    /// `e^x` for [`Mish::gate`], which is 1 to the last bit well before this limit.
    #[inline(always)]
    fn power(x: f32) -> f32 {
        (if x < 20.0 { x } else { 20.0 }).exp()
    }

    /// `tanh(ln(1 + p))` as a quotient: `((1 + p)^2 - 1) / ((1 + p)^2 + 1)`.
    #[inline(always)]
    fn gate(power: f32) -> f32 {
        let n = power * (power + 2.0);
        n / (n + 2.0)
    }
}

impl Function for Mish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * Self::gate(Self::power(x))
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let power = Self::power(x);
        let denominator = power * (power + 2.0) + 2.0;
        let gate_slope = 4.0 * power * (power + 1.0) / (denominator * denominator);
        Self::gate(power) + x * gate_slope
    }
}

/// Runs `$body` with `$name` as the type of the activation.
macro_rules! with_function {
    ($activation:expr, $name:ident => $body:expr) => {
        match $activation {
            $crate::activation::Activation::Identity => {
                type $name = $crate::activation::Identity;
                $body
            }
            $crate::activation::Activation::Relu => {
                type $name = $crate::activation::Relu;
                $body
            }
            $crate::activation::Activation::Relu6 => {
                type $name = $crate::activation::Relu6;
                $body
            }
            $crate::activation::Activation::HSwish => {
                type $name = $crate::activation::HSwish;
                $body
            }
            $crate::activation::Activation::Swish => {
                type $name = $crate::activation::Swish;
                $body
            }
            $crate::activation::Activation::Mish => {
                type $name = $crate::activation::Mish;
                $body
            }
        }
    };
}
pub(crate) use with_function;

impl Activation {
    /// Applies it to all values in place.
    pub fn apply(self, values: &mut [f32]) {
        with_function!(self, F => Arch::new().dispatch(|| {
            for value in values {
                *value = F::value(*value);
            }
        }));
    }

    /// Multiplies `gradient` by the slopes at `x`.
    pub fn scale_by_slope(self, x: &[f32], gradient: &mut [f32]) {
        with_function!(self, F => Arch::new().dispatch(|| {
            for (gradient, &x) in gradient.iter_mut().zip(x) {
                *gradient *= F::slope(x);
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 6] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::HSwish,
        Activation::Swish,
        Activation::Mish,
    ];

    #[test]
    fn slopes_are_differences_of_values() {
        for activation in ALL {
            for step in -50..50 {
                // Never at a kink.
                let x = 0.1573 * step as f32 + 0.0123;
                let mut values = [x - 1e-3, x + 1e-3];
                activation.apply(&mut values);
                let mut slope = [1.0];
                activation.scale_by_slope(&[x], &mut slope);
                let difference = (values[1] - values[0]) / 2e-3;
                assert!(
                    (difference - slope[0]).abs() < 2e-3,
                    "{activation:?} at {x}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for activation in ALL {
            let mut values = [f32::NAN; 3];
            activation.apply(&mut values);
            assert!(values.iter().all(|value| value.is_nan()), "{activation:?}");
        }
    }

    #[test]
    fn values_are_those_of_the_definitions() {
        let x = [-4.0, -3.0, -1.5, 0.0, 2.0, 3.0, 7.0];
        let expected = [
            [-4.0, -3.0, -1.5, 0.0, 2.0, 3.0, 7.0],
            [0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 7.0],
            [0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 6.0],
            [0.0, 0.0, -0.375, 0.0, 5.0 / 3.0, 3.0, 7.0],
            // To seven digits by the definitions in double precision.
            [
                -0.0719448, -0.1422776, -0.2736383, 0.0, 1.7615942, 2.8577224, 6.993623,
            ],
            [
                -0.0725917, -0.1456475, -0.2980997, 0.0, 1.9439589, 2.986535, 6.9999884,
            ],
        ];
        for (activation, expected) in ALL.into_iter().zip(expected) {
            let mut values = x;
            activation.apply(&mut values);
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-6, "{activation:?}");
            }
        }
    }
}
