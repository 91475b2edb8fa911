//! The graph of a network: one ONNX node an operation, named after its layer.

use nat_space::Activation;
use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};

use super::messages::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, DimensionValue, FLOAT,
    Graph, Node, Shape, Tensor, TensorType, Type, ValueInfo,
};
use super::{INPUT, OUTPUT};
use crate::layers::{self, BlockNames};

/// Slope of the h-sigmoid `relu6(x + 3) / 6` as HardSigmoid's `alpha`; its `beta` is 1/2.
const H_SIGMOID_ALPHA: f32 = 1.0 / 6.0;

/// Names of the scalars between which Clip makes a ReLU6.
const RELU6_BOUNDS: [(&str, f32); 2] = [("relu6.min", 0.0), ("relu6.max", 6.0)];

pub(super) fn build(net: &FoldedNet) -> Graph {
    build_with_ends(net).0
}

/// Every timed layer as a graph of its own, whose one output is the one input of the next.
pub(super) fn build_layers(net: &FoldedNet) -> Vec<Graph> {
    let (whole, ends) = build_with_ends(net);
    let mut nodes = whole.node.into_iter();
    let mut input = whole.input;
    let last = ends.len() - 1;
    let layer = |(number, end): (usize, &String)| {
        let mut node = Vec::new();
        for next in nodes.by_ref() {
            let ends_here = next.output.contains(end);
            node.push(next);
            if ends_here {
                break;
            }
        }
        let output = match number == last {
            true => whole.output.clone(),
            false => vec![shapeless(end)],
        };
        let used = |tensor: &&Tensor| node.iter().any(|node| node.input.contains(&tensor.name));
        Graph {
            name: whole.name.clone(),
            initializer: whole.initializer.iter().filter(used).cloned().collect(),
            input: std::mem::replace(&mut input, vec![shapeless(end)]),
            output,
            node,
        }
    };
    ends.iter().enumerate().map(layer).collect()
}

/// The graph, and the value that each of its timed layers ends in, the logits last.
fn build_with_ends(net: &FoldedNet) -> (Graph, Vec<String>) {
    let mut builder = Builder::default();
    let features = builder.features(net);
    builder.classifier(net, features);
    builder.layers.push(OUTPUT.into());
    let side = Some(net.resolution);
    let graph = Graph {
        name: "subnet".into(),
        node: builder.nodes,
        initializer: builder.initializers,
        input: vec![value(INPUT, &[None, Some(3), side, side])],
        output: vec![value(OUTPUT, &[None, Some(net.classes())])],
    };
    (graph, builder.layers)
}

/// A value of unknown shape.
fn shapeless(name: &str) -> ValueInfo {
    ValueInfo {
        name: name.into(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: FLOAT,
                shape: None,
            }),
        }),
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
    /// Where each layer that is timed as a whole ends.
    layers: Vec<String>,
}

/// A square feature map: the value that holds it, and its side in pixels.
struct Map {
    value: String,
    side: usize,
}

impl Builder {
    /// Everything before the classifier; returns the value `[batch, features, 1, 1]`.
    fn features(&mut self, net: &FoldedNet) -> String {
        let image = Map {
            value: INPUT.into(),
            side: net.resolution,
        };
        let mut map = self.convolution(layers::STEM, &net.stem, image);
        self.layers.push(map.value.clone());
        for block in &net.blocks {
            map = self.block(block, map);
            self.layers.push(map.value.clone());
        }
        map = self.convolution(layers::FINAL_EXPAND, &net.final_expand, map);
        let mut pooled = self.global_mean(layers::FINAL_EXPAND, map.value);
        self.layers.push(pooled.value.clone());
        if let Some(mix) = &net.feature_mix {
            pooled = self.convolution(layers::FEATURE_MIX, mix, pooled);
            self.layers.push(pooled.value.clone());
        }
        pooled.value
    }

    fn classifier(&mut self, net: &FoldedNet, features: String) {
        let name = layers::CLASSIFIER;
        let flat = self.node(name, "Flatten", vec![features], vec![int("axis", 1)]);
        let weight = format!("{name}.weight");
        let bias = format!("{name}.bias");
        let shape = [net.classes(), net.features()];
        self.initializer(&weight, &shape, &net.classifier_weight);
        self.initializer(&bias, &[net.classes()], &net.classifier_bias);
        self.node(
            name,
            "Gemm",
            vec![flat, weight, bias],
            vec![int("transB", 1)],
        );
        let last = self.nodes.last_mut().expect("a node was just added");
        last.output = vec![OUTPUT.into()];
    }

    fn block(&mut self, block: &FoldedBlock, input: Map) -> Map {
        let names = BlockNames::new(block.slot);
        let shortcut = input.value.clone();
        let mut map = input;
        if let Some(expand) = &block.expand {
            map = self.convolution(&names.expand, expand, map);
        }
        map = self.convolution(&names.depthwise, &block.depthwise, map);
        if let Some(se) = &block.squeeze_excite {
            map = self.squeeze_excite(&names, se, map);
        }
        map = self.convolution(&names.project, &block.project, map);
        if block.residual {
            map.value = self.node(&names.block, "Add", vec![shortcut, map.value], vec![]);
        }
        map
    }

    fn squeeze_excite(&mut self, names: &BlockNames, se: &FoldedSqueezeExcite, input: Map) -> Map {
        let pooled = self.global_mean(&names.squeeze_excite, input.value.clone());
        let squeezed = self.convolution(&names.reduce, &se.reduce, pooled);
        let excited = self.convolution(&names.excite, &se.expand, squeezed);
        let slope = vec![float("alpha", H_SIGMOID_ALPHA), float("beta", 0.5)];
        let name = &names.squeeze_excite;
        let gate = self.node(name, "HardSigmoid", vec![excited.value], slope);
        Map {
            value: self.node(name, "Mul", vec![input.value, gate], vec![]),
            side: input.side,
        }
    }

    fn global_mean(&mut self, name: &str, value: String) -> Map {
        Map {
            value: self.node(name, "GlobalAveragePool", vec![value], vec![]),
            side: 1,
        }
    }

    fn convolution(&mut self, name: &str, conv: &FoldedConv, input: Map) -> Map {
        let weight = format!("{name}.weight");
        let bias = format!("{name}.bias");
        self.initializer(&weight, &conv.shape, &conv.weight);
        self.initializer(&bias, &conv.shape[..1], &conv.bias);
        let (before, after) = conv.padding.border(conv.shape[2], conv.stride, input.side);
        let attributes = vec![
            ints("dilations", &[1, 1]),
            int("group", conv.groups),
            ints("kernel_shape", &conv.shape[2..]),
            ints("pads", &[before, before, after, after]),
            ints("strides", &[conv.stride, conv.stride]),
        ];
        let value = self.node(name, "Conv", vec![input.value, weight, bias], attributes);
        Map {
            value: self.activation(name, conv.activation, value),
            side: input.side.div_ceil(conv.stride),
        }
    }

    fn activation(&mut self, name: &str, activation: Activation, value: String) -> String {
        match activation {
            Activation::Identity => value,
            Activation::Relu => self.node(name, "Relu", vec![value], vec![]),
            Activation::HSwish => self.node(name, "HardSwish", vec![value], vec![]),
            Activation::Swish => {
                let gate = self.node(name, "Sigmoid", vec![value.clone()], vec![]);
                self.node(name, "Mul", vec![value, gate], vec![])
            }
            // The operator of that name is younger than the set that the file asks for.
            Activation::Mish => {
                let softplus = self.node(name, "Softplus", vec![value.clone()], vec![]);
                let gate = self.node(name, "Tanh", vec![softplus], vec![]);
                self.node(name, "Mul", vec![value, gate], vec![])
            }
            Activation::Relu6 => {
                let mut inputs = vec![value];
                for (bound, number) in RELU6_BOUNDS {
                    if !self.initializers.iter().any(|tensor| tensor.name == bound) {
                        self.initializer(bound, &[], &[number]);
                    }
                    inputs.push(bound.into());
                }
                self.node(name, "Clip", inputs, vec![])
            }
        }
    }

    /// Adds an operation of `layer` and returns the name of its output.
    fn node(
        &mut self,
        layer: &str,
        operator: &str,
        input: Vec<String>,
        attribute: Vec<Attribute>,
    ) -> String {
        let name = format!("{layer}/{operator}");
        let output = format!("{name}_output_0");
        self.nodes.push(Node {
            input,
            output: vec![output.clone()],
            name,
            op_type: operator.into(),
            attribute,
        });
        output
    }

    fn initializer(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.initializers.push(Tensor {
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: FLOAT,
            name: name.into(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
    }
}

/// A graph's input or output; `None` is the symbolic batch.
fn value(name: &str, shape: &[Option<usize>]) -> ValueInfo {
    let dim = shape
        .iter()
        .map(|side| Dimension {
            value: Some(match side {
                Some(side) => DimensionValue::Fixed(*side as i64),
                None => DimensionValue::Symbol("batch".into()),
            }),
        })
        .collect();
    ValueInfo {
        name: name.into(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: FLOAT,
                shape: Some(Shape { dim }),
            }),
        }),
    }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute {
        name: name.into(),
        f: Some(f),
        r#type: ATTRIBUTE_FLOAT,
        ..Attribute::default()
    }
}

fn int(name: &str, i: usize) -> Attribute {
    Attribute {
        name: name.into(),
        i: Some(i as i64),
        r#type: ATTRIBUTE_INT,
        ..Attribute::default()
    }
}

fn ints(name: &str, ints: &[usize]) -> Attribute {
    Attribute {
        name: name.into(),
        ints: ints.iter().map(|&i| i as i64).collect(),
        r#type: ATTRIBUTE_INTS,
        ..Attribute::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use nat_space::Padding;

    fn conv(input: usize, output: usize, groups: usize, activation: Activation) -> FoldedConv {
        let kernel = if groups > 1 { 5 } else { 1 };
        let shape = [output, input / groups, kernel, kernel];
        FoldedConv {
            weight: vec![0.5; shape.iter().product()],
            shape,
            bias: vec![0.25; output],
            stride: groups.min(2),
            groups,
            padding: Padding::Same,
            activation,
        }
    }

    fn net() -> FoldedNet {
        FoldedNet {
            resolution: 10,
            stem: conv(3, 8, 1, Activation::Relu6),
            blocks: vec![
                FoldedBlock {
                    slot: 0,
                    expand: None,
                    depthwise: conv(8, 8, 8, Activation::Relu6),
                    squeeze_excite: None,
                    project: conv(8, 4, 1, Activation::Identity),
                    residual: false,
                },
                FoldedBlock {
                    slot: 3,
                    expand: Some(conv(4, 8, 1, Activation::HSwish)),
                    depthwise: FoldedConv {
                        stride: 1,
                        ..conv(8, 8, 8, Activation::HSwish)
                    },
                    squeeze_excite: Some(FoldedSqueezeExcite {
                        reduce: conv(8, 2, 1, Activation::Relu),
                        expand: conv(2, 8, 1, Activation::Identity),
                    }),
                    project: conv(8, 4, 1, Activation::Identity),
                    residual: true,
                },
            ],
            final_expand: conv(4, 16, 1, Activation::HSwish),
            feature_mix: Some(conv(16, 6, 1, Activation::HSwish)),
            classifier_weight: vec![0.125; 12],
            classifier_bias: vec![0.0; 2],
        }
    }

    #[test]
    fn every_operation_is_its_own_operator_named_after_its_layer() {
        let graph = build(&net());
        let names: Vec<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
        let expected = [
            "first_conv/Conv",
            "first_conv/Clip",
            "blocks.0.depth_conv/Conv",
            "blocks.0.depth_conv/Clip",
            "blocks.0.point_linear/Conv",
            "blocks.3.inverted_bottleneck/Conv",
            "blocks.3.inverted_bottleneck/HardSwish",
            "blocks.3.depth_conv/Conv",
            "blocks.3.depth_conv/HardSwish",
            "blocks.3.depth_conv.se/GlobalAveragePool",
            "blocks.3.depth_conv.se.fc.reduce/Conv",
            "blocks.3.depth_conv.se.fc.reduce/Relu",
            "blocks.3.depth_conv.se.fc.expand/Conv",
            "blocks.3.depth_conv.se/HardSigmoid",
            "blocks.3.depth_conv.se/Mul",
            "blocks.3.point_linear/Conv",
            "blocks.3/Add",
            "final_expand_layer/Conv",
            "final_expand_layer/HardSwish",
            "final_expand_layer/GlobalAveragePool",
            "feature_mix_layer/Conv",
            "feature_mix_layer/HardSwish",
            "classifier/Flatten",
            "classifier/Gemm",
        ];
        assert_eq!(names, expected);
        for node in &graph.node {
            assert!(node.name.ends_with(&format!("/{}", node.op_type)));
        }
    }

    #[test]
    fn every_value_has_one_origin_and_is_used() {
        let graph = build(&net());
        let mut known = BTreeSet::from([INPUT]);
        let initializers = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        for name in initializers {
            assert!(known.insert(name), "{name} is stored twice");
        }
        let mut unused = known.clone();
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{input} comes from nowhere");
                unused.remove(input.as_str());
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} is computed twice");
                unused.insert(output);
            }
        }
        assert_eq!(Vec::from_iter(unused), [OUTPUT]);
    }

    #[test]
    fn borders_are_written_out_for_the_side_at_hand() {
        let graph = build(&net());
        let pads = |name: &str| {
            let mut nodes = graph.node.iter();
            let node = nodes.find(|node| node.name == name).unwrap();
            let mut attributes = node.attribute.iter();
            attributes.find(|a| a.name == "pads").unwrap().ints.clone()
        };
        // 5x5 windows: stride 2 over 10 pixels needs 3 rows more, stride 1 over 5 pixels needs 4.
        assert_eq!(pads("blocks.0.depth_conv/Conv"), [1, 1, 2, 2]);
        assert_eq!(pads("blocks.3.depth_conv/Conv"), [2, 2, 2, 2]);
        assert_eq!(pads("first_conv/Conv"), [0, 0, 0, 0]);
    }
}
