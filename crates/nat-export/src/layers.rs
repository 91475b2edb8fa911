//! The names of a network's layers in exported files, and how they lie on the pixels.
//!
//! The names are those of once-for-all checkpoints (mit-han-lab/once-for-all) up to the layer, so that it is called
//! the same in a checkpoint, in ONNX and in safetensors; blocks keep the number of their slot in the supernet.

use nat_space::Padding;
use nat_supernet::{FoldedConv, FoldedNet};

pub(crate) const STEM: &str = "first_conv";
pub(crate) const FINAL_EXPAND: &str = "final_expand_layer";
pub(crate) const FEATURE_MIX: &str = "feature_mix_layer";
pub(crate) const CLASSIFIER: &str = "classifier";

/// Names of the parts of one block.
pub(crate) struct BlockNames {
    pub(crate) block: String,
    pub(crate) expand: String,
    pub(crate) depthwise: String,
    pub(crate) squeeze_excite: String,
    pub(crate) reduce: String,
    pub(crate) excite: String,
    pub(crate) project: String,
}

impl BlockNames {
    /// Names for the block at `slot` of the supernet.
    pub(crate) fn new(slot: usize) -> Self {
        let block = format!("blocks.{slot}");
        Self {
            expand: format!("{block}.inverted_bottleneck"),
            depthwise: format!("{block}.depth_conv"),
            squeeze_excite: format!("{block}.depth_conv.se"),
            reduce: format!("{block}.depth_conv.se.fc.reduce"),
            excite: format!("{block}.depth_conv.se.fc.expand"),
            project: format!("{block}.point_linear"),
            block,
        }
    }
}

/// Every convolution with its name, in the order in which the network applies them.
pub(crate) fn convolutions(net: &FoldedNet) -> Vec<(String, &FoldedConv)> {
    let mut all = vec![(STEM.to_string(), &net.stem)];
    for block in &net.blocks {
        let names = BlockNames::new(block.slot);
        if let Some(expand) = &block.expand {
            all.push((names.expand, expand));
        }
        all.push((names.depthwise, &block.depthwise));
        if let Some(se) = &block.squeeze_excite {
            all.push((names.reduce, &se.reduce));
            all.push((names.excite, &se.expand));
        }
        all.push((names.project, &block.project));
    }
    all.push((FINAL_EXPAND.to_string(), &net.final_expand));
    if let Some(mix) = &net.feature_mix {
        all.push((FEATURE_MIX.to_string(), mix));
    }
    all
}

/// Side of the square output of `conv` on a square input of side `side`; kernels are odd.
pub(crate) fn output_side(conv: &FoldedConv, side: usize) -> usize {
    side.div_ceil(conv.stride)
}

/// Zero rows above and below the input (equally: columns to its left and right).
///
/// TensorFlow's `SAME` puts just as many as the last window needs and the odd one at the end, so the numbers
/// depend on the side; symmetric padding puts half a kernel on both ends.
pub(crate) fn borders(conv: &FoldedConv, side: usize) -> (usize, usize) {
    let kernel = conv.shape[2];
    match conv.padding {
        Padding::Symmetric => (kernel / 2, kernel / 2),
        Padding::Same => {
            let covered = (output_side(conv, side) - 1) * conv.stride + kernel;
            let total = covered.saturating_sub(side);
            (total / 2, total - total / 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nat_space::Activation;

    fn conv(kernel: usize, stride: usize, padding: Padding) -> FoldedConv {
        FoldedConv {
            weight: vec![0.0; kernel * kernel],
            shape: [1, 1, kernel, kernel],
            bias: vec![0.0],
            stride,
            groups: 1,
            padding,
            activation: Activation::Identity,
        }
    }

    #[test]
    fn same_padding_depends_on_the_side() {
        // Hand-counted after TensorFlow's definition: total = max((ceil(n/s) - 1) s + k - n, 0).
        let cases = [
            (3, 2, 224, (0, 1)),
            (3, 2, 225, (1, 1)),
            (5, 2, 112, (1, 2)),
            (5, 2, 113, (2, 2)),
            (3, 1, 7, (1, 1)),
            (1, 2, 8, (0, 0)),
        ];
        for (kernel, stride, side, expected) in cases {
            let found = borders(&conv(kernel, stride, Padding::Same), side);
            assert_eq!(found, expected, "k {kernel} s {stride} side {side}");
        }
    }

    #[test]
    fn both_paddings_cover_the_input_and_give_the_same_side() {
        for padding in [Padding::Symmetric, Padding::Same] {
            for (kernel, stride, side) in [(3, 2, 33), (7, 2, 32), (5, 1, 9), (1, 1, 4), (7, 2, 3)]
            {
                let conv = conv(kernel, stride, padding);
                let (before, after) = borders(&conv, side);
                let windows = (side + before + after - kernel) / stride + 1;
                assert_eq!(windows, output_side(&conv, side));
            }
        }
    }
}
