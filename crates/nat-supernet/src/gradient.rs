//! Gradients of parameters of which a subnet used the leading part.

use burn::tensor::Tensor;

/// Gradient of one parameter: values for the leading part of its leading rows, zero everywhere else.
///
/// Smaller subnets use a fraction of every tensor; the zeros behind it need not be written, added and read.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    values: Vec<f32>,
    /// Values of a row that are there.
    active: usize,
    /// Values of a row of the parameter.
    row: usize,
    /// Values of the parameter.
    length: usize,
}

impl Gradient {
    /// A gradient of every value.
    pub fn whole(values: Vec<f32>) -> Self {
        let length = values.len();
        Self {
            values,
            active: length,
            row: length,
            length,
        }
    }

    /// The gradient of a parameter of `rows` rows of `row` values each, as the automatic differentiation left it: flat and
    /// whole, or `[leading rows, leading values]`.
    pub(crate) fn of_parameter(gradient: Tensor<1>, rows: usize, row: usize) -> Self {
        let data = gradient.into_data();
        let part = match data.shape().as_slice() {
            [_, active] => Some(*active),
            _ => None,
        };
        let values: Vec<f32> = data.try_into_vec().expect("gradients are 32-bit floats");
        match part {
            Some(active) if active < row => Self {
                values,
                active,
                row,
                length: rows * row,
            },
            // Whole rows lie one after the other.
            _ => Self {
                active: values.len(),
                values,
                row: rows * row,
                length: rows * row,
            },
        }
    }

    /// Number of values of the parameter.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the parameter holds no value.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The rows of the parameter in order, as positions of the first and behind the last value, with the gradient of the
    /// values from the first on; the rest of a row has gradient zero.
    pub fn rows(&self) -> impl Iterator<Item = (std::ops::Range<usize>, &[f32])> {
        let mut values = self.values.chunks(self.active.max(1));
        (0..self.length)
            .step_by(self.row.max(1))
            .map(move |start| (start..start + self.row, values.next().unwrap_or_default()))
    }

    /// All values, zeros included, in memory order.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut whole = vec![0.0; self.length];
        self.add_to(&mut whole);
        whole
    }

    /// The sum with another gradient of the same parameter.
    ///
    /// # Panics
    /// If the parameters differ in length.
    pub fn plus(mut self, other: &Gradient) -> Gradient {
        assert_eq!(self.length, other.length, "gradients of one parameter");
        if (self.active, self.row, self.values.len())
            != (other.active, other.row, other.values.len())
        {
            self = Gradient::whole(self.to_vec());
        }
        if self.active == self.length {
            other.add_to(&mut self.values);
        } else {
            for (sum, value) in self.values.iter_mut().zip(&other.values) {
                *sum += value;
            }
        }
        self
    }

    fn add_to(&self, whole: &mut [f32]) {
        for (row, values) in self.rows() {
            for (sum, value) in whole[row].iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn part(values: &[f32], shape: [usize; 2]) -> Gradient {
        let data = TensorData::new(values.to_vec(), shape);
        let tensor = Tensor::<2>::from_data(data, &Device::flex());
        Gradient::of_parameter(tensor.reshape([values.len()]), 3, 4)
    }

    #[test]
    fn parts_are_leading_values_of_leading_rows() {
        let left = Gradient {
            values: vec![1.0, 2.0, 3.0, 4.0],
            active: 2,
            row: 4,
            length: 12,
        };
        let whole = [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(left.to_vec(), whole);
        // A flat gradient begins with the first row.
        let flat = part(&[1.0; 12], [3, 4]);
        assert_eq!(flat.to_vec(), [1.0; 12]);
        let sum = left.clone().plus(&flat).to_vec();
        let expected: Vec<f32> = whole.iter().map(|value| value + 1.0).collect();
        assert_eq!(sum, expected);
        assert_eq!(flat.plus(&left).to_vec(), expected);
        let twice: Vec<f32> = whole.iter().map(|value| value * 2.0).collect();
        assert_eq!(left.clone().plus(&left).to_vec(), twice);
    }

    #[test]
    fn rows_cover_the_parameter() {
        let gradient = Gradient {
            values: vec![1.0, 2.0],
            active: 2,
            row: 4,
            length: 8,
        };
        let rows: Vec<_> = gradient.rows().collect();
        assert_eq!(rows, [(0..4, &[1.0, 2.0][..]), (4..8, &[][..])]);
    }
}
