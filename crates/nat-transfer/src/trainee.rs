//! What training changes: the supernets, the velocities of their optimizers, and the average of their weights.

use nat_supernet::SupernetFile;

use crate::{
    average::Average,
    sgd::{Sgd, SgdSettings},
    train::Gradients,
};

/// Supernets in training.
#[derive(Clone, Debug)]
pub struct Trainee {
    /// One supernet a width.
    pub supernets: SupernetFile,
    /// Their optimizers.
    pub(crate) optimizers: Vec<Sgd>,
    /// The average of their weights, where one is kept.
    pub(crate) average: Option<Average>,
}

impl Trainee {
    /// Supernets with optimizers at rest and, with a `decay` above 0, an average that begins with their weights.
    pub fn new(supernets: SupernetFile, settings: SgdSettings, decay: f64) -> Trainee {
        let optimizer = |parameters| Sgd::new(settings, parameters);
        let sizes = supernets.supernets.iter().map(|s| s.parameters().len());
        Trainee {
            optimizers: sizes.map(optimizer).collect(),
            average: (decay > 0.0).then(|| Average::new(decay, supernets.clone())),
            supernets,
        }
    }

    /// Takes up the velocities and the average of a saved state.
    pub(crate) fn restore(
        &mut self,
        velocities: Vec<Vec<Option<Vec<f32>>>>,
        averaged: Option<SupernetFile>,
    ) {
        for (optimizer, velocities) in self.optimizers.iter_mut().zip(velocities) {
            optimizer.restore(velocities);
        }
        if let (Some(average), Some(averaged)) = (&mut self.average, averaged) {
            average.restore(averaged);
        }
    }

    /// A step of one width.
    pub(crate) fn step(&mut self, width: usize, gradients: Gradients, rate: f64) {
        let supernet = &mut self.supernets.supernets[width];
        self.optimizers[width].step(supernet.parameters_mut(), gradients, rate);
        if let Some(average) = &mut self.average {
            average.follow(supernet);
        }
    }

    /// A weight, or a statistic of a batch norm, that is no finite number, if there is one.
    pub(crate) fn overflow(&self) -> Option<f32> {
        let supernets = || self.supernets.supernets.iter();
        let parameters = supernets().flat_map(|supernet| supernet.parameters());
        let statistics = supernets()
            .flat_map(|supernet| supernet.statistics())
            .flat_map(|norm| norm.mean.iter().chain(&norm.variance).copied());
        parameters
            .flat_map(|parameter| parameter.to_vec())
            .chain(statistics)
            .find(|value| !value.is_finite())
    }

    /// What is measured, kept and exported: the averaged weights where there are any.
    pub fn result(&self) -> &SupernetFile {
        match &self.average {
            Some(average) => average.supernets(),
            None => &self.supernets,
        }
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use nat_supernet::{Provenance, Supernet};

    use super::*;

    #[test]
    fn what_is_no_finite_number_is_found_among_weights_and_statistics() {
        let space = Space::builtin("tiny").unwrap();
        let settings = SgdSettings {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decay_all: false,
            body_rate: 1.0,
        };
        let file = SupernetFile {
            provenance: Provenance {
                class_names: vec!["a".into(), "b".into()],
                mean: [0.0; 3],
                std: [1.0; 3],
                filter: "bicubic".into(),
            },
            supernets: vec![Supernet::new(&space, 0, 2, 7)],
        };
        let mut trainee = Trainee::new(file, settings, 0.0);
        assert_eq!(trainee.overflow(), None);
        trainee.supernets.supernets[0].statistics_mut()[1].variance[0] = f32::INFINITY;
        assert_eq!(trainee.overflow(), Some(f32::INFINITY));
    }
}
