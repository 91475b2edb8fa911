//! A network in the runtime of exported models, layer by layer: how long each takes where it is deployed.

use std::time::Instant;

use nat_supernet::FoldedNet;
use rten::{ModelOptions, NodeId, RunOptions, Value, ValueView};

use crate::{ExportError, check, model::on_threads, onnx};

/// A network whose timed layers (stem, blocks, final convolution with the pooling, feature mix where there is one,
/// classifier) run one after the other in RTen.
pub struct Layerwise {
    model: rten::Model,
    input: NodeId,
    /// Where each layer ends.
    ends: Vec<NodeId>,
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
        let (bytes, ends) = onnx::encode_in_layers(net);
        let model = ModelOptions::with_all_ops().load(bytes).map_err(failed)?;
        let node = |name: &str| model.node_id(name).map_err(failed);
        Ok(Layerwise {
            input: node(onnx::INPUT)?,
            ends: ends.iter().map(|end| node(end)).collect::<Result<_, _>>()?,
            side: net.resolution,
            options: on_threads(threads),
            model,
        })
    }

    /// Runs one image `[3, side, side]` as a whole; returns its logits.
    ///
    /// # Errors
    ///
    /// [`ExportError::Length`] for a wrong number of pixels, [`ExportError::Runtime`] where the runtime fails.
    pub fn run(&self, image: &[f32]) -> Result<Vec<f32>, ExportError> {
        let image = self.view(image)?;
        let logits = *self.ends.last().expect("a network has a classifier");
        let output = self.part((self.input, image.into()), logits)?;
        let (_, logits) = output.into_shape_vec::<f32, 2>().map_err(failed)?;
        Ok(logits)
    }

    /// Milliseconds of each layer on one image `[3, side, side]`.
    ///
    /// # Errors
    ///
    /// As [`Layerwise::run`].
    pub fn layer_ms(&self, image: &[f32]) -> Result<Vec<f64>, ExportError> {
        let mut begin = self.input;
        let mut value: Option<Value> = None;
        let mut times = Vec::with_capacity(self.ends.len());
        for &end in &self.ends {
            let input = match value.take() {
                Some(value) => value.into(),
                None => self.view(image)?.into(),
            };
            let begun = Instant::now();
            value = Some(self.part((begin, input), end)?);
            times.push(1e3 * begun.elapsed().as_secs_f64());
            begin = end;
        }
        Ok(times)
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

    fn part(
        &self,
        input: (NodeId, rten::ValueOrView<'_>),
        end: NodeId,
    ) -> Result<Value, ExportError> {
        let options = Some(self.options.clone());
        let [output] = (self.model.run_n(vec![input], [end], options)).map_err(failed)?;
        Ok(output)
    }
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
            let times = layers.layer_ms(&pixels).unwrap();
            let timed = space.network(&architecture, 7).timed_layers();
            let timed = timed
                .iter()
                .filter(|l| l.kind != nat_space::LayerKind::Pool);
            assert_eq!(times.len(), timed.count(), "{name}");
            assert!(times.iter().all(|&ms| ms > 0.0));
            let found = layers.run(&pixels).unwrap();
            let expected: Vec<f32> = expected.into_data().try_to_vec().unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{name}: {found} {expected}"
                );
            }
            let short = layers.run(&pixels[1..]).unwrap_err().to_string();
            assert!(short.contains("the image"), "{short}");
        }
    }
}
