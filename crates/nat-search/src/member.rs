//! Networks with what is known of them.

use nat_space::{Genotype, LatencyTable, Space};

use crate::{Limits, Name, Objective, Preferences, SearchError};

/// A network with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its genotype.
    pub genes: Genotype,
    /// Top-1 error in percent, measured or predicted; the mean over the data sets where there are several.
    pub error: f64,
    /// Multiply-adds.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
    /// Bytes of the largest set of activations alive at once, for one image in single precision.
    pub memory: u64,
    /// What else is known, by objective: latencies in milliseconds, the errors on several data sets, what commands say.
    pub measures: Vec<(Objective, f64)>,
}

impl Member {
    /// The value of one objective.
    ///
    /// # Panics
    /// If the member was made by [`Costs`] that do not hold the objective.
    pub fn value(&self, objective: Objective) -> f64 {
        self.get(objective)
            .expect("the costs of a run hold its objectives")
    }

    /// The value of one objective, if it is known.
    pub fn get(&self, objective: Objective) -> Option<f64> {
        match objective {
            Objective::Error => Some(self.error),
            Objective::Madds => Some(self.madds as f64),
            Objective::Params => Some(self.params as f64),
            Objective::Memory => Some(self.memory as f64),
            Objective::Latency(_) | Objective::ErrorOn(_) | Objective::Command(_) => {
                let mut measures = self.measures.iter();
                Some(measures.find(|(known, _)| *known == objective)?.1)
            }
        }
    }

    /// The values of several objectives, in their order.
    pub fn values(&self, objectives: &[Objective]) -> Vec<f64> {
        objectives
            .iter()
            .map(|&objective| self.value(objective))
            .collect()
    }

    /// Everything that is known of it: what every run knows, error first, then the rest by name.
    pub fn known(&self) -> impl Iterator<Item = (Objective, f64)> {
        let mut further = self.measures.clone();
        further.sort_by_cached_key(|(objective, _)| objective.to_string());
        Objective::CLOSED
            .map(|objective| (objective, self.value(objective)))
            .into_iter()
            .chain(further)
    }
}

/// What a search is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Aims {
    /// What networks are judged by; all are minimised.
    pub objectives: Vec<Objective>,
    /// What they must keep to.
    pub limits: Limits,
    /// Regions of the front that count most.
    pub preferences: Preferences,
}

/// What networks of a space cost, in closed form or by tables, and what has to be measured of them.
#[derive(Clone, Debug)]
pub struct Costs {
    space: Space,
    classes: usize,
    tables: Vec<(Name, LatencyTable)>,
    sets: Vec<Name>,
    commands: Vec<Name>,
}

impl Costs {
    /// Costs without latencies, for classifiers of so many outputs; the error on the only data set is measured.
    pub fn new(space: Space, classes: usize) -> Costs {
        Costs {
            space,
            classes,
            tables: Vec::new(),
            sets: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Measures the errors on data sets of these names, where the search is for several sets at once.
    pub fn with_sets(self, sets: Vec<Name>) -> Costs {
        Costs { sets, ..self }
    }

    /// Measures what commands of these names say as well.
    pub fn with_commands(self, commands: Vec<Name>) -> Costs {
        Costs { commands, ..self }
    }

    /// Adds the latency on a device.
    ///
    /// # Errors
    /// The table lacks a layer that a network of the space may have.
    pub fn with_table(mut self, name: Name, table: LatencyTable) -> Result<Costs, SearchError> {
        table
            .covers(&self.space, self.classes)
            .map_err(|source| SearchError::Latency {
                name: name.as_str().into(),
                source,
            })?;
        self.tables.push((name, table));
        Ok(self)
    }

    /// Whether these costs hold everything that a search aims at.
    ///
    /// # Errors
    /// The first latency that there is no table for, error on a set that there is not, or command that is not declared; a
    /// preference for something that is not searched for; limits that contradict each other.
    pub fn check(&self, aims: &Aims) -> Result<(), SearchError> {
        aims.preferences.check(&aims.objectives)?;
        aims.limits.check_consistent()?;
        let tables: Vec<Name> = self.tables.iter().map(|(name, _)| *name).collect();
        let wanted = aims.objectives.iter().copied();
        for objective in wanted.chain(aims.limits.objectives()) {
            let (what, name, known, form): (_, _, _, fn(Name) -> Objective) = match objective {
                Objective::Latency(name) => ("latency table", name, &tables, Objective::Latency),
                Objective::ErrorOn(name) => ("data set", name, &self.sets, Objective::ErrorOn),
                Objective::Command(name) => ("command", name, &self.commands, Objective::Command),
                _ => continue,
            };
            if !known.contains(&name) {
                let known: Vec<String> = known.iter().map(|&name| form(name).to_string()).collect();
                return Err(SearchError::Config(match known[..] {
                    [] => format!("there is no {what} for '{objective}'"),
                    _ => format!(
                        "there is no {what} for '{objective}'; there are {}",
                        known.join(", ")
                    ),
                }));
            }
        }
        Ok(())
    }

    /// What has to be measured of a network, in the order of [`Costs::assessed`].
    pub fn measured(&self) -> Vec<Objective> {
        let mut measured: Vec<Objective> = match self.sets[..] {
            [] => vec![Objective::Error],
            _ => self.sets.iter().copied().map(Objective::ErrorOn).collect(),
        };
        measured.extend(self.commands.iter().copied().map(Objective::Command));
        measured
    }

    /// The space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Outputs of the classifier.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// A network with its exact costs and an error from elsewhere; what else has to be measured of it is left out.
    pub fn member(&self, genes: Genotype, error: f64) -> Member {
        let network = self
            .space
            .network(&self.space.architecture(&genes), self.classes);
        let latency = |(name, table): &(Name, LatencyTable)| {
            let ms = table.network_ms(&network);
            let ms = ms.expect("the table covers the space");
            (Objective::Latency(*name), ms)
        };
        Member {
            error,
            madds: network.madds(),
            params: network.params(),
            memory: size_of::<f32>() as u64 * network.peak_activations(),
            measures: self.tables.iter().map(latency).collect(),
            genes,
        }
    }

    /// A network with its exact costs and all that has to be measured of it, in the order of [`Costs::measured`].
    ///
    /// # Panics
    /// There are more or fewer values than have to be measured.
    pub fn assessed(&self, genes: Genotype, values: &[f64]) -> Member {
        let measured = self.measured();
        assert_eq!(
            values.len(),
            measured.len(),
            "one value a measured objective"
        );
        let errors = &values[..self.sets.len().max(1)];
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let mut member = self.member(genes, mean);
        let known = measured.into_iter().zip(values.iter().copied());
        (member.measures).extend(known.filter(|(objective, _)| *objective != Objective::Error));
        member
    }
}

#[cfg(test)]
mod tests {
    use nat_space::{Device, Timing};

    use super::*;

    #[test]
    fn costs_are_those_of_the_network() {
        let space = Space::builtin("tiny").unwrap();
        let genes = space.largest();
        let network = space.network(&space.architecture(&genes), 10);
        let rows = space.timed_layers(10).into_iter().map(|layer| {
            let ms = 0.5;
            (layer, Timing { ms, spread: None })
        });
        let table = LatencyTable::new(Device::default(), rows);
        let name = Name::new("phone");
        let costs = Costs::new(space.clone(), 10)
            .with_table(name, table.clone())
            .unwrap();
        let member = costs.member(genes, 20.0);
        assert_eq!(member.madds, network.madds());
        assert_eq!(member.memory, 4 * network.peak_activations());
        assert_eq!(
            member.value(Objective::Latency(name)),
            0.5 * network.timed_layers().len() as f64
        );
        assert_eq!(member.known().count(), 5);
        let larger = space.with_resolutions(64, 128, 64).unwrap();
        let error = Costs::new(larger, 10).with_table(name, table).unwrap_err();
        assert!(error.to_string().contains("'phone'"), "{error}");
    }

    #[test]
    fn several_sets_and_commands_are_measured_beside_each_other() {
        let space = Space::builtin("tiny").unwrap();
        let genes = space.largest();
        let names = |text: &str| text.split(',').map(Name::new).collect::<Vec<_>>();
        let costs = Costs::new(space, 10);
        assert_eq!(costs.measured(), [Objective::Error]);
        assert_eq!(
            costs.assessed(genes.clone(), &[20.0]),
            costs.member(genes.clone(), 20.0)
        );
        let costs = costs
            .with_sets(names("trash,tiles"))
            .with_commands(names("energy"));
        let member = costs.assessed(genes, &[20.0, 30.0, 1.5]);
        let values = Objective::parse_list("error,error:trash,error:tiles,command:energy").unwrap();
        assert_eq!(member.values(&values), [25.0, 20.0, 30.0, 1.5]);
        let check = |objectives: &str| {
            costs.check(&Aims {
                objectives: Objective::parse_list(objectives).unwrap(),
                limits: Limits::default(),
                preferences: Preferences::default(),
            })
        };
        check("error:tiles,command:energy").unwrap();
        for (wrong, part) in [
            ("error:tile", "there are error:trash, error:tiles"),
            (
                "command:noise",
                "no command for 'command:noise'; there are command:energy",
            ),
            ("latency:phone", "no latency table"),
        ] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }
}
