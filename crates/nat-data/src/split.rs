//! Training, search and test split.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// The three parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Adapts weights.
    Train,
    /// The search split: measures candidates while searching.
    Val,
    /// Read once, at the end.
    Test,
}

impl Split {
    /// All splits, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

/// Which names of folders that lie beside each other stand for splits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitNames {
    /// What `eval` and `evaluation` stand for. Published sets call either measured split so: it is the one that no
    /// other folder names, the test split where that leaves both.
    evaluation: Option<Split>,
}

impl SplitNames {
    /// The names among those of all folders in one place.
    pub fn among<'a>(folders: impl IntoIterator<Item = &'a str>) -> SplitNames {
        let named: Vec<Split> = folders.into_iter().filter_map(unambiguous).collect();
        let evaluation = [Split::Test, Split::Val]
            .into_iter()
            .find(|split| !named.contains(split));
        SplitNames { evaluation }
    }

    /// The split that a folder's name stands for; case is ignored.
    pub fn split(self, folder: &str) -> Option<Split> {
        unambiguous(folder).or_else(|| match folder.to_ascii_lowercase().as_str() {
            "eval" | "evaluation" => self.evaluation,
            _ => None,
        })
    }
}

fn unambiguous(folder: &str) -> Option<Split> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "val" | "valid" | "validation" | "dev" => Some(Split::Val),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

/// Divides the images of one class among `train` and the splits in `shares`.
///
/// `groups` are lists of image numbers that must stay together. A split gets its share of the
/// images rounded to the nearest, at least one group; larger groups go to `train`. Returns one list of
/// image numbers per entry of `shares`, then the list of `train`; `None` where there are
/// fewer groups than splits.
pub(crate) fn stratify(
    mut groups: Vec<Vec<usize>>,
    shares: &[f64],
    rng: &mut ChaCha8Rng,
) -> Option<Vec<Vec<usize>>> {
    if groups.len() <= shares.len() {
        return None;
    }
    let images: usize = groups.iter().map(Vec::len).sum();
    groups.shuffle(rng);
    groups.sort_by_key(Vec::len);
    let mut remaining = groups.into_iter();
    let mut parts = Vec::with_capacity(shares.len() + 1);
    for (done, share) in shares.iter().enumerate() {
        let wanted = ((images as f64 * share).round() as usize).max(1);
        let still_to_serve = shares.len() - done;
        let mut part = Vec::new();
        while part.len() < wanted && remaining.len() > still_to_serve {
            part.extend(remaining.next().unwrap_or_default());
        }
        parts.push(part);
    }
    parts.push(remaining.flatten().collect());
    Some(parts)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn singles(n: usize) -> Vec<Vec<usize>> {
        (0..n).map(|i| vec![i]).collect()
    }

    fn sizes(parts: &[Vec<usize>]) -> Vec<usize> {
        parts.iter().map(Vec::len).collect()
    }

    #[test]
    fn splits_have_several_names() {
        let names = SplitNames::among(["Training", "cat"]);
        for (split, folders) in [
            (Split::Train, &["train", "Training", "TRAIN"][..]),
            (Split::Val, &["val", "Valid", "validation", "dev"]),
            (Split::Test, &["test", "Testing"]),
        ] {
            for folder in folders {
                assert_eq!(names.split(folder), Some(split), "{folder}");
            }
        }
        for folder in ["cat", "trains", "tests", ""] {
            assert_eq!(names.split(folder), None, "{folder}");
        }
    }

    #[test]
    fn evaluation_is_the_split_that_the_other_folders_leave() {
        let evaluation = |folders: &[&str]| {
            let names = SplitNames::among(folders.iter().copied());
            assert_eq!(names.split("eval"), names.split("Evaluation"));
            names.split("eval")
        };
        assert_eq!(evaluation(&["train", "eval"]), Some(Split::Test));
        assert_eq!(evaluation(&["train", "val", "eval"]), Some(Split::Test));
        assert_eq!(evaluation(&["train", "eval", "test"]), Some(Split::Val));
        assert_eq!(evaluation(&["train", "dev", "eval", "test"]), None);
    }

    #[test]
    fn shares_are_kept_and_nothing_is_lost() {
        for n in 3..60 {
            let parts = stratify(singles(n), &[0.15, 0.15], &mut rng(7)).unwrap();
            let wanted = ((n as f64 * 0.15).round() as usize).max(1);
            assert_eq!(sizes(&parts), [wanted, wanted, n - 2 * wanted]);
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_seed_decides() {
        let parts = |seed| stratify(singles(40), &[0.25], &mut rng(seed)).unwrap();
        assert_eq!(parts(1), parts(1));
        assert_ne!(parts(1), parts(2));
    }

    #[test]
    fn groups_stay_together() {
        let mut groups = singles(20);
        groups.push((20..35).collect());
        let parts = stratify(groups, &[0.2, 0.2], &mut rng(7)).unwrap();
        assert_eq!(sizes(&parts), [7, 7, 21]);
        assert!((20..35).all(|image| parts[2].contains(&image)));
    }

    #[test]
    fn every_split_gets_one_of_few() {
        let parts = |groups, shares: &[f64]| stratify(groups, shares, &mut rng(7));
        assert_eq!(parts(singles(2), &[0.15, 0.15]), None);
        assert_eq!(sizes(&parts(singles(3), &[0.9, 0.05]).unwrap()), [1, 1, 1]);
        let one_large = vec![vec![0], vec![1], (2..9).collect()];
        assert_eq!(sizes(&parts(one_large, &[0.5, 0.4]).unwrap()), [1, 1, 7]);
    }
}
