//! What a data set holds, in numbers.

use serde::Serialize;

use crate::entry::Warning;
use crate::split::Split;

/// Summary of an opened data set, as `nat data --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Folder, archive or name of the set.
    pub name: String,
    /// [`ImageSet::hash`](crate::ImageSet::hash).
    pub hash: String,
    /// Images used, by split.
    pub images: SplitCounts,
    /// Images used, by class and split, in label order.
    pub classes: Vec<ClassCounts>,
    /// Splits for which the set had no usable images, drawn from its training images.
    pub drawn: Vec<Split>,
    /// Widths of the images used, upright, pixels.
    pub width: Spread,
    /// Heights of the images used, upright, pixels.
    pub height: Spread,
    /// Image files found, used or not.
    pub files: usize,
    /// Image files not used; each has a warning, or its folder has.
    pub skipped: usize,
    /// Other files (texts, lists), passed over without a warning.
    pub ignored: usize,
    /// Everything that was passed over or looks wrong, by path.
    pub warnings: Vec<Warning>,
}

/// A number for each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SplitCounts {
    /// Training split.
    pub train: usize,
    /// Search split.
    pub val: usize,
    /// Test split.
    pub test: usize,
}

impl SplitCounts {
    /// The number of one split.
    pub fn get(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Val => self.val,
            Split::Test => self.test,
        }
    }

    pub(crate) fn get_mut(&mut self, split: Split) -> &mut usize {
        match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
            Split::Test => &mut self.test,
        }
    }
}

/// Images of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Class name.
    pub name: String,
    /// Images by split.
    #[serde(flatten)]
    pub images: SplitCounts,
}

/// Smallest, middle and largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: usize,
    /// Median, the lower of two.
    pub median: usize,
    /// Largest.
    pub max: usize,
}

impl Spread {
    /// Spread of `values`; all zero if there are none.
    pub(crate) fn of(mut values: Vec<usize>) -> Spread {
        values.sort_unstable();
        match values[..] {
            [] => Spread::default(),
            [min, ..] => Spread {
                min,
                median: values[(values.len() - 1) / 2],
                max: values[values.len() - 1],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_few() {
        assert_eq!(Spread::of(vec![]), Spread::default());
        assert_eq!(
            Spread::of(vec![9, 1]),
            Spread {
                min: 1,
                median: 1,
                max: 9
            }
        );
        assert_eq!(
            Spread::of(vec![5, 9, 1]),
            Spread {
                min: 1,
                median: 5,
                max: 9
            }
        );
    }
}
