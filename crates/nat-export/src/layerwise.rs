//! A network in the runtime of exported models, layer by layer: how long each takes where it is deployed.

use std::time::Instant;

use nat_supernet::FoldedNet;
use rten::{Model, ModelOptions, RunOptions, Value, ValueOrView, ValueView};

use crate::{ExportError, check, model::on_threads, onnx};

/// A network in RTen, as a whole and as its timed layers (stem, blocks, final convolution with the pooling, feature mix where
/// there is one, classifier), which run one after the other.
pub struct Layerwise {
    /// The model as it is exported, which the runtime may fuse across layers.
    whole: Model,
    /// A model each: the runtime keeps the plan of one model's last run, and making plans is no part of a layer's time.
    layers: Vec<Model>,
    side: usize,
    options: RunOptions,
}

impl Layerwise {
    /// Makes a network ready to run on `threads` threads.
    ///
    /// # Errors
    ///
    /// [`ExportError::Layer`] where the network contradicts itself, [`ExportError::Runtime`] where the runtime refuses it.
    pub fn new(net: &FoldedNet, threads: usize) -> Result<Layerwise, ExportError> {
        check::check(net)?;
        let load = |bytes| (ModelOptions::with_all_ops().load(bytes)).map_err(failed);
        let layers = onnx::encode_layers(net).into_iter();
        Ok(Layerwise {
            whole: load(onnx::encode_bare(net))?,
            layers: layers.map(load).collect::<Result<_, _>>()?,
            side: net.resolution,
            options: on_threads(threads),
        })
    }

    /// Runs one image `[3, side, side]` through the whole network; returns its logits.
    ///
    /// # Errors
    ///
    /// [`ExportError::Length`] for a wrong number of pixels, [`ExportError::Runtime`] where the runtime fails.
    pub fn run(&self, image: &[f32]) -> Result<Vec<f32>, ExportError> {
        let logits = self.through(&self.whole, self.view(image)?.into())?;
        values(logits)
    }

    /// Milliseconds of each layer on one image `[3, side, side]`, with the logits. A layer's first run also plans it.
    ///
    /// # Errors
    ///
    /// As [`Layerwise::run`].
    pub fn layer_ms(&self, image: &[f32]) -> Result<(Vec<f64>, Vec<f32>), ExportError> {
        let mut input: ValueOrView = self.view(image)?.into();
        let mut times = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let begun = Instant::now();
            let output = self.through(layer, input)?;
            times.push(1e3 * begun.elapsed().as_secs_f64());
            input = output.into();
        }
        let ValueOrView::Value(logits) = input else {
            unreachable!("a network has layers")
        };
        Ok((times, values(logits)?))
    }

    fn view<'a>(&self, image: &'a [f32]) -> Result<ValueView<'a>, ExportError> {
        let shape = [1, 3, self.side, self.side];
        let expected = shape.iter().product();
        if image.len() != expected {
            return Err(ExportError::Length {
                what: "the image",
                expected,
                found: image.len(),
            });
        }
        ValueView::from_shape(shape, image).map_err(failed)
    }

    /// The output of a model of one input and one output.
    fn through(&self, model: &Model, input: ValueOrView<'_>) -> Result<Value, ExportError> {
        let ([begin], [end]) = (model.input_ids(), model.output_ids()) else {
            unreachable!("a layer has one input and one output")
        };
        let options = Some(self.options.clone());
        let [output] = model
            .run_n(vec![(*begin, input)], [*end], options)
            .map_err(failed)?;
        Ok(output)
    }
}

fn values(logits: Value) -> Result<Vec<f32>, ExportError> {
    let (_, logits) = logits.into_shape_vec::<f32, 2>().map_err(failed)?;
    Ok(logits)
}

fn failed(error: impl ToString) -> ExportError {
    ExportError::Runtime(error.to_string())
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use nat_supernet::{BnMode, Supernet, images};

    use super::*;

    #[test]
    fn layers_in_turn_give_what_the_whole_gives() {
        for (name, side) in [("tiny", 24), ("ofa-mbv3-w1.0", 64)] {
            let space = Space::builtin(name).unwrap();
            let supernet = Supernet::new(&space, 0, 7, 3);
            let mut architecture = space.architecture(&space.smallest());
            architecture.resolution = side;
            let mut subnet = supernet.extract(&architecture);
            let pixels: Vec<f32> = (0..3 * side * side)
                .map(|i| ((i * 31 % 97) as f32 - 48.0) / 30.0)
                .collect();
            let shape = [1, 3, side, side];
            let input = || images(pixels.clone(), shape, supernet.device());
            let batches = std::iter::once(Ok::<_, ExportError>(input()));
            subnet.recalibrate(batches).unwrap();
            let expected = subnet.forward(input(), &mut BnMode::Fixed);
            let layers = Layerwise::new(&subnet.fold(), 1).unwrap();
            let (times, in_turn) = layers.layer_ms(&pixels).unwrap();
            let timed = space.network(&architecture, 7).timed_layers();
            let timed = timed
                .iter()
                .filter(|l| l.kind != nat_space::LayerKind::Pool);
            assert_eq!(times.len(), timed.count(), "{name}");
            assert!(times.iter().all(|&ms| ms > 0.0));
            let expected: Vec<f32> = expected.into_data().try_to_vec().unwrap();
            for found in [in_turn, layers.run(&pixels).unwrap()] {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 1e-3,
                        "{name}: {found} {expected}"
                    );
                }
            }
            let short = layers.run(&pixels[1..]).unwrap_err().to_string();
            assert!(short.contains("the image"), "{short}");
        }
    }
}
