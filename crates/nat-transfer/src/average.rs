//! Weights averaged over the steps of a training: less noise than the weights of any one step has.

use nat_supernet::{Supernet, SupernetFile};
use rayon::prelude::*;

/// The exponential moving average of a training's weights (Polyak and Juditsky 1992, in the form of `ModelEmaV2` in
/// huggingface/pytorch-image-models): it begins with the first weights, and a step moves it towards the new ones by
/// `1 - decay` of the difference. Tracked batch-norm statistics are averages already and are taken as they are, so that
/// nothing stays of those before the training.
#[derive(Clone, Debug)]
pub struct Average {
    decay: f64,
    supernets: SupernetFile,
}

impl Average {
    /// The average at its beginning, with a decay above 0 and below 1.
    pub fn new(decay: f64, supernets: SupernetFile) -> Average {
        Average { decay, supernets }
    }

    /// The averaged weights.
    pub fn supernets(&self) -> &SupernetFile {
        &self.supernets
    }

    /// Puts back what [`Average::supernets`] gave.
    pub fn restore(&mut self, supernets: SupernetFile) {
        self.supernets = supernets;
    }

    /// Follows a step of one width.
    pub fn follow(&mut self, trained: &Supernet) {
        let part = (1.0 - self.decay) as f32;
        let average = &mut self.supernets.supernets[trained.width()];
        let parameters = average.parameters_mut().par_iter_mut();
        parameters
            .zip(trained.parameters())
            .for_each(|(average, parameter)| {
                let values = parameter.to_vec();
                average.update(|averages| {
                    for (average, value) in averages.iter_mut().zip(&values) {
                        *average += part * (value - *average);
                    }
                });
            });
        for (average, norm) in average
            .statistics_mut()
            .iter_mut()
            .zip(trained.statistics())
        {
            average.mean.copy_from_slice(&norm.mean);
            average.variance.copy_from_slice(&norm.variance);
        }
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use nat_supernet::Provenance;

    use super::*;

    #[test]
    fn it_is_the_geometric_sum_of_the_steps() {
        let space = Space::builtin("tiny").unwrap();
        let mut file = SupernetFile {
            supernets: vec![Supernet::new(&space, 0, 3, 1)],
            provenance: Provenance {
                class_names: ["a", "b", "c"].map(String::from).to_vec(),
                mean: [0.5; 3],
                std: [0.2; 3],
                filter: "bicubic".into(),
            },
        };
        let mut average = Average::new(0.75, file.clone());
        let first = file.supernets[0].parameters()[0].to_vec();
        average.follow(&file.supernets[0]);
        let unmoved = average.supernets().supernets[0].parameters()[0].to_vec();
        assert_eq!(unmoved, first);
        for step in 1..=3 {
            let supernet = &mut file.supernets[0];
            supernet.parameters_mut()[0].update(|values| values.fill(step as f32));
            supernet.statistics_mut()[0].mean.fill(step as f32);
            average.follow(supernet);
        }
        let supernet = &average.supernets().supernets[0];
        let sum = 0.25 * (0.75 * 0.75 * 1.0 + 0.75 * 2.0 + 3.0);
        for (average, first) in supernet.parameters()[0].to_vec().iter().zip(&first) {
            assert!((average - (0.421_875 * first + sum)).abs() < 1e-6);
        }
        assert_eq!(supernet.statistics()[0].mean[0], 3.0);
        let (kept, raw) = (
            &supernet.parameters()[1],
            &file.supernets[0].parameters()[1],
        );
        assert_eq!(kept.to_vec(), raw.to_vec());
    }
}
