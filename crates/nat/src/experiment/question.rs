//! What a cell is asked, by which results are told apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a cell is asked. It is kept with what was found, since an answer to another question is of no use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The arguments, without those that the experiment gives.
    pub arguments: String,
    /// Hash of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Hashes of the files that the arguments name: settings, spaces, supernets, tables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The arguments of the searches that it builds on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Fingerprints of the networks that these have found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fronts: Vec<String>,
    /// Time and machine of the search of which it gets a share of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Question {
    /// What sets it apart from another one; what one of them does not tell is taken to be the same.
    pub(super) fn differs(&self, other: &Question) -> Option<String> {
        let told =
            |ours: &str, other: &str| Some(format!("`{ours}`, the experiment says `{other}`"));
        if self.arguments != other.arguments {
            return told(&self.arguments, &other.arguments);
        }
        let known = !(self.on.is_empty() || other.on.is_empty());
        if known && self.on != other.on {
            return told(&self.on.join("` and `"), &other.on.join("` and `"))
                .map(|text| format!("the networks of {text}"));
        }
        if let (Some(ours), Some(other)) = (&self.data, &other.data)
            && ours != other
        {
            return Some(format!(
                "a data set with the hash {ours}, the experiment's has {other}"
            ));
        }
        let changed = |(name, ours): &(&String, &String)| {
            other.files.get(*name).is_some_and(|other| other != *ours)
        };
        if let Some((name, _)) = self.files.iter().find(changed) {
            return Some(format!("{name} as it was, which has changed since"));
        }
        if let (Some(ours), Some(other)) = (&self.time, &other.time)
            && ours != other
        {
            return Some(format!(
                "a share of {ours}, the search has now taken {other}"
            ));
        }
        let known = !(self.fronts.is_empty() || other.fronts.is_empty());
        (known && self.fronts != other.fronts).then(|| {
            let searches = self.on.join("` and `");
            format!("other networks of `{searches}`, which has been run again since")
        })
    }
}
