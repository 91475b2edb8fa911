//! The names of a network's layers in exported files, and how they lie on the pixels.
//!
//! The names are those of once-for-all checkpoints (mit-han-lab/once-for-all) up to the layer, so that it is called
//! the same in a checkpoint, in ONNX and in safetensors; blocks keep the number of their slot in the supernet.

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
