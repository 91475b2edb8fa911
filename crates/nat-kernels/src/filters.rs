//! Weights of 1x1 convolutions inside a wider tensor.

use crate::matmul::Matrix;

/// The leading `[outputs, inputs]` of a row-major weight, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    /// The weight from its first value on.
    pub values: &'a [f32],
    /// Distance of two outputs: the inputs of the whole weight.
    pub row: usize,
    /// Active outputs.
    pub outputs: usize,
    /// Active inputs.
    pub inputs: usize,
}

impl<'a> Filters<'a> {
    /// Outputs by inputs.
    pub(crate) fn matrix(self) -> Matrix<'a> {
        Matrix::rows(self.values, self.row)
    }
}
