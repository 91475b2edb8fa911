//! Architectures: a network of a space in depths, kernels and expansions, and its JSON form
//! `net.subnet` as published with Neural Architecture Transfer
//! (human-analysis/neural-architecture-transfer, subnets/).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    genotype::{Genotype, RESOLUTION, WIDTH},
    space::{Space, Stage},
};

/// One network of a space. The outer lists run over the elastic stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Architecture {
    /// Side of the square input, in pixels.
    pub resolution: usize,
    /// Index into the space's width multipliers.
    pub width: usize,
    /// Number of layers of each stage.
    pub depths: Vec<usize>,
    /// Side of the depthwise kernel of each layer of each stage; skipped slots have no entry.
    pub kernels: Vec<Vec<usize>>,
    /// Ratio of middle to input width of each layer of each stage; skipped slots have no entry.
    pub expands: Vec<Vec<usize>>,
}

/// Why an architecture is not in a space, or its JSON says nothing.
#[derive(Debug, Error)]
pub enum ArchitectureError {
    /// No JSON, or not an object of the expected keys.
    #[error("expected a JSON object with the lists ks, e, d, the integer r and the number w: {0}")]
    Json(#[from] serde_json::Error),
    /// A list of the wrong length.
    #[error("`{field}` has {found} entries: expected {expected}")]
    Length {
        /// The list.
        field: String,
        /// The length or lengths allowed.
        expected: String,
        /// Its length.
        found: usize,
    },
    /// A value the space does not have.
    #[error("{field} is {found}: the space `{space}` has {choices}")]
    Choice {
        /// Name of the space.
        space: String,
        /// What the value stands for.
        field: String,
        /// The value given.
        found: String,
        /// The values there are.
        choices: String,
    },
    /// Nothing says which width multiplier is meant.
    #[error("`w` is missing: the space `{space}` has the widths {choices}")]
    NoWidth {
        /// Name of the space.
        space: String,
        /// The width multipliers there are.
        choices: String,
    },
}

/// The published form. `ks` and `e` run over all layers, stage after stage.
#[derive(Serialize, Deserialize)]
struct Subnet {
    ks: Vec<usize>,
    e: Vec<usize>,
    d: Vec<usize>,
    r: usize,
    w: Option<f64>,
}

impl Space {
    /// The genotype of an architecture. Everything about it is checked.
    ///
    /// # Errors
    /// A value that the space does not offer; the message names the stage.
    pub fn genotype_of(&self, architecture: &Architecture) -> Result<Genotype, ArchitectureError> {
        let stages = self.elastic_stages().count();
        let lists = [
            ("depths", architecture.depths.len()),
            ("kernels", architecture.kernels.len()),
            ("expands", architecture.expands.len()),
        ];
        for (field, found) in lists {
            check_length(field, found, stages)?;
        }
        let resolution = self.resolutions.index_of(architecture.resolution);
        let resolution = resolution.ok_or_else(|| {
            let sides = self.resolutions;
            self.no_choice(
                "the resolution",
                architecture.resolution,
                format!("{} to {} in steps of {}", sides.from, sides.to, sides.step),
            )
        })?;
        if architecture.width >= self.width_multipliers.len() {
            let last = self.width_multipliers.len() - 1;
            let choices = format!("0 to {last}");
            return Err(self.no_choice("the width index", architecture.width, choices));
        }

        let mut genes = vec![0; self.genes()];
        genes[RESOLUTION] = resolution as u16;
        genes[WIDTH] = architecture.width as u16;
        for (at, (index, stage, slots)) in self.gene_ranges().enumerate() {
            let depth = architecture.depths[at];
            self.check_depth(index, stage, depth)?;
            let (kernels, expands) = (&architecture.kernels[at], &architecture.expands[at]);
            check_length(&format!("kernels[{at}]"), kernels.len(), depth)?;
            check_length(&format!("expands[{at}]"), expands.len(), depth)?;
            for layer in 0..depth {
                let (kernel, expand) = (kernels[layer], expands[layer]);
                genes[slots.start + layer] = stage.gene(kernel, expand).ok_or_else(|| {
                    self.no_choice(
                        &format!("stage {index} layer {}", layer + 1),
                        format!("kernel {kernel} and expansion {expand}"),
                        format!(
                            "kernels {:?}, expansions {:?}",
                            stage.kernels, stage.expands
                        ),
                    )
                })?;
            }
        }
        Ok(self
            .genotype(&genes)
            .expect("genes made from the stages' own choices are within bounds"))
    }

    /// Reads a `net.subnet` object. `ks` and `e` may be compact (active layers only) or padded (every
    /// slot of every elastic stage, with anything in skipped ones); their lengths tell which.
    ///
    /// Some published files lack `w`; then `width`, an index into the width multipliers, says which
    /// supernet is meant. It is not needed where the space has one width.
    ///
    /// # Errors
    /// No JSON of that form, lists of another length, or a value that the space does not offer.
    pub fn architecture_from_json(
        &self,
        json: &str,
        width: Option<usize>,
    ) -> Result<Architecture, ArchitectureError> {
        let subnet: Subnet = serde_json::from_str(json)?;
        let width = self.width_of(&subnet, width)?;

        check_length("d", subnet.d.len(), self.elastic_stages().count())?;
        for ((index, stage, _), &depth) in self.gene_ranges().zip(&subnet.d) {
            self.check_depth(index, stage, depth)?;
        }
        let slots: Vec<usize> = self.elastic_stages().map(Stage::max_depth).collect();
        let kernels = by_stage("ks", &subnet.ks, &subnet.d, &slots)?;
        let expands = by_stage("e", &subnet.e, &subnet.d, &slots)?;

        let architecture = Architecture {
            resolution: subnet.r,
            width,
            depths: subnet.d,
            kernels,
            expands,
        };
        self.genotype_of(&architecture)?;
        Ok(architecture)
    }

    /// Writes the compact `net.subnet` object.
    ///
    /// # Panics
    /// If the space has no such width.
    pub fn architecture_to_json(&self, architecture: &Architecture) -> String {
        let subnet = Subnet {
            ks: architecture.kernels.concat(),
            e: architecture.expands.concat(),
            d: architecture.depths.clone(),
            r: architecture.resolution,
            w: Some(self.width_multipliers[architecture.width]),
        };
        serde_json::to_string(&subnet).expect("numbers and lists of numbers are JSON")
    }

    fn width_of(
        &self,
        subnet: &Subnet,
        default: Option<usize>,
    ) -> Result<usize, ArchitectureError> {
        let choices = || format!("{:?}", self.width_multipliers);
        match (subnet.w, default) {
            (Some(w), _) => self
                .width_multipliers
                .iter()
                .position(|&multiplier| multiplier == w)
                .ok_or_else(|| self.no_choice("the width multiplier", w, choices())),
            (None, Some(width)) => Ok(width),
            (None, None) if self.width_multipliers.len() == 1 => Ok(0),
            (None, None) => Err(ArchitectureError::NoWidth {
                space: self.name.clone(),
                choices: choices(),
            }),
        }
    }

    fn check_depth(
        &self,
        index: usize,
        stage: &Stage,
        depth: usize,
    ) -> Result<(), ArchitectureError> {
        if stage.depths.contains(&depth) {
            return Ok(());
        }
        Err(self.no_choice(
            &format!("the depth of stage {index}"),
            depth,
            format!("{:?}", stage.depths),
        ))
    }

    fn no_choice(&self, field: &str, found: impl ToString, choices: String) -> ArchitectureError {
        ArchitectureError::Choice {
            space: self.name.clone(),
            field: field.to_owned(),
            found: found.to_string(),
            choices,
        }
    }
}

fn check_length(field: &str, found: usize, expected: usize) -> Result<(), ArchitectureError> {
    if found == expected {
        return Ok(());
    }
    Err(ArchitectureError::Length {
        field: field.to_owned(),
        expected: expected.to_string(),
        found,
    })
}

/// Cuts a list into stages, and keeps the active layers of a padded one.
fn by_stage(
    field: &str,
    list: &[usize],
    depths: &[usize],
    slots: &[usize],
) -> Result<Vec<Vec<usize>>, ArchitectureError> {
    let active: usize = depths.iter().sum();
    let all: usize = slots.iter().sum();
    let lengths = if list.len() == active {
        depths
    } else if list.len() == all {
        slots
    } else {
        return Err(ArchitectureError::Length {
            field: field.to_owned(),
            expected: format!("{active} (active layers) or {all} (all slots)"),
            found: list.len(),
        });
    };
    let mut rest = list;
    let stages = lengths.iter().zip(depths).map(|(&length, &depth)| {
        let (stage, after) = rest.split_at(length);
        rest = after;
        stage[..depth].to_vec()
    });
    Ok(stages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat() -> Space {
        Space::builtin("nat").unwrap()
    }

    const CARS_GENES: &str = "16,0,1,2,0,0,6,4,0,0,3,5,1,0,2,3,0,0,2,4,0,0";
    const CARS_JSON: &str = r#"{"ks":[3,5,7,3,7,5,3,5,7,5,3],"e":[3,3,4,4,3,4,3,3,3,3,4],"d":[2,2,3,2,2],"r":256,"w":1.0}"#;

    #[test]
    fn the_published_json_leads_to_the_genes_and_back() {
        let space = nat();
        let cars = space.architecture_from_json(CARS_JSON, None).unwrap();
        assert_eq!(space.genotype_of(&cars).unwrap().to_string(), CARS_GENES);
        assert_eq!(space.architecture_to_json(&cars), CARS_JSON);
    }

    #[test]
    fn padded_lists_give_the_same_architecture() {
        let space = nat();
        let padded = r#"{"ks":[3,5,0,0, 7,3,9,9, 7,5,3,0, 5,7,7,7, 5,3,3,3],
                         "e":[3,3,6,6, 4,4,6,6, 3,4,3,6, 3,3,0,0, 3,4,9,9],
                         "d":[2,2,3,2,2],"r":256,"w":1}"#;
        assert_eq!(
            space.architecture_from_json(padded, None).unwrap(),
            space.architecture_from_json(CARS_JSON, None).unwrap()
        );
    }

    #[test]
    fn a_missing_width_comes_from_the_caller_or_the_space() {
        let json = CARS_JSON.replace(",\"w\":1.0", "");
        let given = nat().architecture_from_json(&json, Some(1)).unwrap();
        assert_eq!(given.width, 1);
        let error = nat().architecture_from_json(&json, None).unwrap_err();
        assert!(
            matches!(error, ArchitectureError::NoWidth { .. }),
            "{error}"
        );
        let single = Space::builtin("ofa-mbv3-w1.2").unwrap();
        let only = single.architecture_from_json(&json, None).unwrap();
        assert!(single.architecture_to_json(&only).ends_with("\"w\":1.2}"));
    }

    #[test]
    fn errors_name_what_does_not_fit() {
        let cases = [
            ("\"r\":256", "\"r\":230", "the resolution is 230"),
            ("\"w\":1.0", "\"w\":1.1", "the width multiplier is 1.1"),
            ("\"d\":[2,", "\"d\":[5,", "the depth of stage 1 is 5"),
            ("\"d\":[2,", "\"d\":[2,2,", "`d` has 6 entries: expected 5"),
            (
                "\"ks\":[3,",
                "\"ks\":[3,3,",
                "`ks` has 12 entries: expected 11 (active layers) or 20 (all slots)",
            ),
            (
                "\"ks\":[3,5,7,3,",
                "\"ks\":[3,5,7,9,",
                "stage 2 layer 2 is kernel 9 and expansion 4",
            ),
            (
                "\"e\":[3,",
                "\"e\":[5,",
                "stage 1 layer 1 is kernel 3 and expansion 5",
            ),
            ("\"d\":", "\"depth\":", "missing field `d`"),
            ("{", "[", "expected a JSON object"),
        ];
        for (old, new, part) in cases {
            assert!(CARS_JSON.contains(old));
            let json = CARS_JSON.replacen(old, new, 1);
            let message = nat()
                .architecture_from_json(&json, None)
                .unwrap_err()
                .to_string();
            assert!(message.contains(part), "{old} -> {new}: {message}");
        }
        let given = nat().architecture_from_json(&CARS_JSON.replace(",\"w\":1.0", ""), Some(2));
        assert!(
            given
                .unwrap_err()
                .to_string()
                .contains("the width index is 2")
        );
    }

    #[test]
    fn lists_that_contradict_the_depths_are_refused() {
        let space = nat();
        let mut architecture = space.architecture_from_json(CARS_JSON, None).unwrap();
        architecture.kernels[3].push(3);
        let message = space.genotype_of(&architecture).unwrap_err().to_string();
        assert_eq!(message, "`kernels[3]` has 3 entries: expected 2");
        architecture.kernels.pop();
        let message = space.genotype_of(&architecture).unwrap_err().to_string();
        assert_eq!(message, "`kernels` has 4 entries: expected 5");
    }
}
