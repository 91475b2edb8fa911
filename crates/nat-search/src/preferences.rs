//! Regions of the front that the search attends to most: `madds=20M`, `latency=15ms,params=3M`.

use serde::{Deserialize, Serialize};

use crate::{
    Aims, Member, Objective, SearchError, archive,
    quantity::{quantity, wrong_unit},
};

/// Where a preferred point may lie, in widths of the front from its best value: beyond it the direction is the same to the eye.
const FAR: f64 = 1e6;

/// A region, around a point of which some objectives are given.
#[derive(Clone, Debug, PartialEq)]
struct Region {
    point: Vec<(Objective, f64)>,
    /// As it was written.
    text: String,
}

impl Region {
    /// Checks that no objective is given twice.
    fn check(&self) -> Result<(), SearchError> {
        for (place, (objective, _)) in self.point.iter().enumerate() {
            if self.point[..place]
                .iter()
                .any(|(other, _)| other == objective)
            {
                return Err(SearchError::Config(format!(
                    "the preference '{}' says '{objective}' twice",
                    self.text
                )));
            }
        }
        Ok(())
    }
}

/// Preferred regions; none where the whole front counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Preferences(Vec<Region>);

impl Preferences {
    /// Whether there is no preference.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the points are given by, with the values, in the objectives' own units.
    pub fn coordinates(&self) -> impl Iterator<Item = (Objective, f64)> {
        self.0
            .iter()
            .flat_map(|region| region.point.iter().copied())
    }

    /// What the points are given by.
    pub fn objectives(&self) -> impl Iterator<Item = Objective> {
        self.coordinates().map(|(objective, _)| objective)
    }

    /// Gives objectives other names.
    ///
    /// # Errors
    /// What `rename` says.
    pub fn rename<E>(
        &mut self,
        mut rename: impl FnMut(Objective) -> Result<Objective, E>,
    ) -> Result<(), E> {
        for region in &mut self.0 {
            let parts: Vec<String> = (region.text.split(',').zip(&mut region.point))
                .map(|(part, (objective, _))| {
                    *objective = rename(*objective)?;
                    let quantity = part.split_once('=').map_or("", |(_, quantity)| quantity);
                    Ok(format!("{objective}={}", quantity.trim()))
                })
                .collect::<Result<_, E>>()?;
            region.text = parts.join(",");
        }
        Ok(())
    }

    /// Checks that every point is one of objectives that are searched for, each given once.
    ///
    /// # Errors
    /// The first other one.
    pub(crate) fn check(&self, objectives: &[Objective]) -> Result<(), SearchError> {
        self.0.iter().try_for_each(Region::check)?;
        match self.objectives().find(|o| !objectives.contains(o)) {
            Some(other) => Err(SearchError::Config(format!(
                "a region is preferred by '{other}', which is no objective of the search"
            ))),
            None if !self.is_empty() && objectives.len() == 1 => Err(SearchError::Config(
                "a preferred region needs at least two objectives".into(),
            )),
            None => Ok(()),
        }
    }

    /// The reference direction through each region, in the frame of the front of some members: 0 is its best value of
    /// an objective, 1 its worst. What a point does not say it takes from the network of the front that is nearest in the
    /// rest.
    pub(crate) fn weights(&self, members: &[Member], aims: &Aims) -> Vec<Vec<f64>> {
        let front = archive::rows(&archive::front(members, aims), &aims.objectives);
        if front.is_empty() {
            return Vec::new();
        }
        let column = |j: usize| front.iter().map(move |row| row[j]);
        let frame: Vec<(f64, f64)> = (0..aims.objectives.len())
            .map(|j| {
                let low = column(j).fold(f64::INFINITY, f64::min);
                let high = column(j).fold(f64::NEG_INFINITY, f64::max);
                (low, if high > low { high - low } else { 1.0 })
            })
            .collect();
        let scaled = |j: usize, value: f64| (value - frame[j].0) / frame[j].1;
        let through = |region: &Region| -> Vec<f64> {
            let wanted = |j: usize| {
                let named = region.point.iter().find(|p| p.0 == aims.objectives[j]);
                named.map(|&(_, value)| scaled(j, value))
            };
            let distance = |row: &Vec<f64>| -> f64 {
                let differences = row.iter().enumerate();
                differences
                    .filter_map(|(j, &value)| Some((wanted(j)? - scaled(j, value)).powi(2)))
                    .sum()
            };
            let nearest = (front.iter())
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .expect("the front has a network");
            let point = nearest.iter().enumerate();
            let point: Vec<f64> = point
                .map(|(j, &value)| wanted(j).unwrap_or(scaled(j, value)).clamp(0.0, FAR))
                .collect();
            let sum: f64 = point.iter().sum();
            let even = 1.0 / point.len() as f64;
            let weight = |x: f64| if sum > 0.0 { x / sum } else { even };
            point.into_iter().map(weight).collect()
        };
        self.0.iter().map(through).collect()
    }
}

fn region(text: &str) -> Result<Region, SearchError> {
    let bad = |part: &str| {
        SearchError::Config(format!(
            "the preference '{part}' is not of the form madds=20M"
        ))
    };
    let coordinate = |part: &str| {
        let (name, value) = part.split_once('=').ok_or_else(|| bad(part))?;
        let objective: Objective = name.trim().parse()?;
        if let Some(what) = wrong_unit(objective, value) {
            return Err(SearchError::Config(format!(
                "the preference '{part}' {what}"
            )));
        }
        Ok((objective, quantity(value).ok_or_else(|| bad(part))?))
    };
    let point: Vec<(Objective, f64)> = text
        .split(',')
        .map(|part| coordinate(part.trim()))
        .collect::<Result<_, SearchError>>()?;
    let region = Region {
        point,
        text: text.to_owned(),
    };
    region.check()?;
    Ok(region)
}

impl TryFrom<Vec<String>> for Preferences {
    type Error = SearchError;

    fn try_from(texts: Vec<String>) -> Result<Preferences, SearchError> {
        let regions = texts.iter().map(|text| region(text));
        regions.collect::<Result<_, _>>().map(Preferences)
    }
}

impl From<Preferences> for Vec<String> {
    fn from(preferences: Preferences) -> Vec<String> {
        let regions = preferences.0.into_iter();
        regions.map(|region| region.text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, archive::tests::member};

    fn prefer(texts: &[&str]) -> Result<Preferences, SearchError> {
        Preferences::try_from(texts.iter().map(|t| t.to_string()).collect::<Vec<_>>())
    }

    fn aims(preferences: Preferences) -> Aims {
        Aims {
            objectives: vec![Objective::Error, Objective::Madds],
            limits: Limits::default(),
            preferences,
        }
    }

    #[test]
    fn renamed_regions_are_read_back_and_name_nothing_twice() {
        let mut twice = prefer(&["latency:b/phone.json=10ms,latency=12ms"]).unwrap();
        let short = |_| Ok::<_, SearchError>("latency:phone".parse().unwrap());
        twice.rename(short).unwrap();
        let objectives = ["error", "latency:phone"].map(|name| name.parse().unwrap());
        let error = twice.check(&objectives).unwrap_err().to_string();
        assert!(error.contains("'latency:phone' twice"), "{error}");

        let mut once = prefer(&["params=3M, latency:phone.json=15ms"]).unwrap();
        let named = |objective: Objective| match objective {
            Objective::Latency(_) => Ok::<_, SearchError>("latency:phone".parse().unwrap()),
            other => Ok(other),
        };
        once.rename(named).unwrap();
        let texts = Vec::from(once.clone());
        assert_eq!(texts, ["params=3M,latency:phone=15ms"]);
        assert_eq!(Preferences::try_from(texts).unwrap(), once);

        for odd in ["madds=15ms", "error=20K", "latency=15M"] {
            let error = prefer(&[odd]).unwrap_err().to_string();
            assert!(error.contains("a unit of something else"), "{error}");
        }
    }

    #[test]
    fn a_region_is_seen_in_the_frame_of_the_front() {
        let members = [
            member(1, 10.0, 100_000_000),
            member(2, 20.0, 20_000_000),
            member(3, 50.0, 0),
            member(4, 60.0, 90_000_000),
        ];
        let aims = aims(prefer(&["madds=30M", "error=10,madds=100M", "error=0"]).unwrap());
        let weights = aims.preferences.weights(&members, &aims);
        // The nearest network to 30M has a quarter of the front's range of errors.
        let expected = [[0.25 / 0.55, 0.3 / 0.55], [0.0, 1.0], [0.0, 1.0]];
        for (weights, expected) in weights.iter().zip(expected) {
            for (weight, expected) in weights.iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-12, "{weights:?}");
            }
        }
        let ideal = Aims {
            preferences: prefer(&["error=10,madds=0"]).unwrap(),
            ..aims
        };
        let centre = ideal.preferences.weights(&members, &ideal);
        assert_eq!(centre, [[0.5, 0.5]]);
    }

    #[test]
    fn they_are_read_back_as_written_and_nonsense_is_refused() {
        let texts = ["madds=20M, error=12%", "latency:phone=15ms"];
        let read = prefer(&texts).unwrap();
        assert_eq!(Vec::<String>::from(read.clone()), texts);
        let names: Vec<String> = read.objectives().map(|o| o.to_string()).collect();
        assert_eq!(names, ["madds", "error", "latency:phone"]);
        for (text, part) in [
            ("madds", "'madds' is not of the form"),
            ("madds=", "'madds=' is not of the form"),
            ("speed=3", "'speed'"),
            ("madds=1M,madds=2M", "says 'madds' twice"),
            ("", "'' is not of the form"),
        ] {
            let error = prefer(&[text]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let objectives = [Objective::Error, Objective::Madds];
        let error = prefer(&["params=1M"]).unwrap().check(&objectives);
        assert!(error.unwrap_err().to_string().contains("'params'"));
        let alone = prefer(&["error=5"]).unwrap().check(&objectives[..1]);
        assert!(alone.unwrap_err().to_string().contains("two objectives"));
        assert!(prefer(&["madds=1M"]).unwrap().check(&objectives).is_ok());
    }
}
