//! How good a search was after how many measurements.

use super::Testbed;
use crate::{Limits, Member};

/// The reference point in units of the smallest and largest network.
const REFERENCE: f64 = 1.01;
/// Most objectives whose hypervolume is exact: above, the front of thousands of networks takes too long.
const EXACT: usize = 3;
/// Directions of the estimate for more objectives.
const SAMPLES: usize = 10_000;

/// The measured networks of a search in their order.
pub struct Curve {
    members: Vec<Member>,
    /// Objectives, 0 for the better and 1 for the worse of smallest and largest network.
    rows: Vec<Vec<f64>>,
}

impl Curve {
    /// The curve of a search.
    pub fn new(testbed: &Testbed, members: Vec<Member>) -> Curve {
        Curve {
            rows: members.iter().map(|member| testbed.unit(member)).collect(),
            members,
        }
    }

    /// Networks measured.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Hypervolume of the first `n` networks, in units of the box between smallest and largest network and up to 1.01
    /// of it: exact for up to three objectives, above by quasi-Monte-Carlo over 10,000 directions.
    pub fn hypervolume(&self, n: usize) -> f64 {
        let rows = &self.rows[..n.min(self.rows.len())];
        let Some(m) = rows.first().map(Vec::len) else {
            return 0.0;
        };
        let reference = vec![REFERENCE; m];
        if m <= EXACT {
            nat_moo::hypervolume(rows, &reference)
        } else {
            nat_moo::hypervolume_estimate(rows, &reference, SAMPLES)
        }
    }

    /// The least number of networks whose hypervolume reaches a target.
    pub fn reaches(&self, target: f64) -> Option<usize> {
        if self.hypervolume(self.len()) < target {
            return None;
        }
        let (mut short, mut enough) = (0, self.len());
        while short + 1 < enough {
            let middle = (short + enough) / 2;
            if self.hypervolume(middle) < target {
                short = middle;
            } else {
                enough = middle;
            }
        }
        Some(enough)
    }

    /// The least error in percent of those of the first `n` networks that meet the limits.
    pub fn best_error(&self, n: usize, limits: &Limits) -> Option<f64> {
        self.members[..n.min(self.len())]
            .iter()
            .filter(|member| limits.admit(member))
            .map(|member| member.error)
            .min_by(f64::total_cmp)
    }
}
