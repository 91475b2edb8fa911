//! How the pixels of a feature map are divided into pieces of work: by shape alone, never by the number of threads.

use std::ops::Range;

/// Values of a slab's widest matrix: what the second-level cache holds beside the weights.
const SLAB_VALUES: usize = 40 * 1024;

/// Sums over slabs are formed in at most so many parts, and small maps are divided by channels into as many items.
const PARTS: usize = 8;

/// Narrowest group of channels, in vectors' multiples.
const GROUP: usize = 64;

/// Consecutive rows (pixels) of a matrix, cut into slabs that fit a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slabs {
    rows: usize,
    height: usize,
}

impl Slabs {
    /// Slabs of `rows` rows, the widest matrix of which has `width` columns.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let height = (SLAB_VALUES / width).clamp(24, 384);
        // Slabs of equal height rather than a small rest.
        let count = rows.div_ceil(height).max(1);
        Self {
            rows,
            height: rows.div_ceil(count).next_multiple_of(12).max(1),
        }
    }

    pub(crate) fn count(self) -> usize {
        self.rows.div_ceil(self.height)
    }

    /// Rows of the largest slab.
    pub(crate) fn height(self) -> usize {
        self.height.min(self.rows)
    }

    /// Rows of slab number `index`.
    pub(crate) fn rows(self, index: usize) -> Range<usize> {
        index * self.height..((index + 1) * self.height).min(self.rows)
    }

    /// Number of parts for a sum over the slabs.
    pub(crate) fn parts(self) -> usize {
        self.count().min(PARTS)
    }

    /// Slabs of part number `index`.
    pub(crate) fn part(self, index: usize) -> Range<usize> {
        share(self.count(), self.parts(), index)
    }

    /// Into how many groups `columns` are divided so that few slabs still make several items.
    pub(crate) fn groups(self, columns: usize) -> usize {
        let wanted = PARTS / self.parts();
        wanted.min(columns / GROUP).max(1)
    }
}

/// Range number `index` of `count` things in `parts` nearly equal ranges.
pub(crate) fn share(count: usize, parts: usize, index: usize) -> Range<usize> {
    index * count / parts..(index + 1) * count / parts
}

/// [`share`] of columns, with borders at multiples of sixteen.
pub(crate) fn columns(count: usize, groups: usize, index: usize) -> Range<usize> {
    let border = |index: usize| (index * count / groups).next_multiple_of(16).min(count);
    border(index)..border(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_parts_and_groups_cover_everything_once() {
        for rows in [1, 11, 24, 32, 383, 385, 5000] {
            for width in [8, 144, 960] {
                let slabs = Slabs::new(rows, width);
                let mut next = 0;
                for part in 0..slabs.parts() {
                    for slab in slabs.part(part) {
                        let range = slabs.rows(slab);
                        assert_eq!(range.start, next);
                        assert!(range.len() <= slabs.height() && !range.is_empty());
                        next = range.end;
                    }
                }
                assert_eq!(next, rows);
                let groups = slabs.groups(width);
                let mut next = 0;
                for group in 0..groups {
                    let range = columns(width, groups, group);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, width);
            }
        }
    }
}
