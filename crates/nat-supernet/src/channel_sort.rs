//! Moves the important channels to the front before elastic width is trained.
//!
//! A narrower block uses the first channels of a wider one, so these should be the ones that matter
//! (mit-han-lab/once-for-all, `re_organize_middle_weights` in `elastic_nn/modules/dynamic_layers.py`).

use crate::layout::{BlockSlot, LayerSlot};
use crate::parameters::{Parameter, RunningStatistics, from_vec};
use crate::supernet::Supernet;

/// How the channels of one block were reordered: entry `i` is the old index of new channel `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOrder {
    /// Position of the block in the supernet.
    pub slot: usize,
    /// Order of the middle channels.
    pub middle: Vec<usize>,
    /// Order of the squeeze channels, if the block has any.
    pub squeeze: Option<Vec<usize>>,
}

impl Supernet {
    /// Sorts the middle channels of every block with several expansions by falling importance, which is the sum of
    /// absolute projection weights, and the squeeze channels by that of their expanding weights.
    ///
    /// `groups` counts borders that channels may not cross: with expansions `e1 > e2 > e3` the middle channels are
    /// sorted all together for 0, inside `[0, e2)` and `[e2, e1)` for 1, and inside three groups for 2, each border
    /// times the input width. The function of the full network does not change. Once-for-all sorts with 0 before it
    /// trains its first smaller expansion and with 1 before its second.
    pub fn sort_channels(&mut self, groups: usize) -> Vec<ChannelOrder> {
        let slots = self.layout().blocks.clone();
        let space = self.space().clone();
        slots
            .iter()
            .filter(|slot| space.stages[slot.plan.stage].expands.len() > 1)
            .map(|slot| {
                let expands = &space.stages[slot.plan.stage].expands;
                let borders = borders(expands, groups, slot.plan.in_channels);
                self.sort_block(slot, &borders)
            })
            .collect()
    }

    fn sort_block(&mut self, slot: &BlockSlot, borders: &[usize]) -> ChannelOrder {
        let project = &self.parameters()[slot.project.weight];
        let middle = descending_within(&column_sums(project), borders);

        self.reorder_columns(slot.project.weight, &middle);
        self.reorder_layer(slot.depthwise, &middle);
        if let Some(expand) = slot.expand {
            self.reorder_layer(expand, &middle);
        }
        let squeeze = slot.squeeze_excite.map(|se| {
            self.reorder_rows(se.expand_weight, &middle);
            self.reorder_rows(se.expand_bias, &middle);
            self.reorder_columns(se.reduce_weight, &middle);

            let importance = column_sums(&self.parameters()[se.expand_weight]);
            let squeeze = descending_within(&importance, &[0, importance.len()]);
            self.reorder_columns(se.expand_weight, &squeeze);
            self.reorder_rows(se.reduce_weight, &squeeze);
            self.reorder_rows(se.reduce_bias, &squeeze);
            squeeze
        });
        ChannelOrder {
            slot: slot.plan.slot,
            middle,
            squeeze,
        }
    }

    fn reorder_layer(&mut self, layer: LayerSlot, order: &[usize]) {
        self.reorder_rows(layer.weight, order);
        self.reorder_rows(layer.norm.scale, order);
        self.reorder_rows(layer.norm.shift, order);
        let RunningStatistics { mean, variance, .. } =
            &mut self.statistics_mut()[layer.norm.statistics];
        *mean = rows(mean, order);
        *variance = rows(variance, order);
    }

    /// Reorders the first dimension.
    fn reorder_rows(&mut self, index: usize, order: &[usize]) {
        let values = rows(&self.parameters()[index].to_vec(), order);
        self.put(index, values);
    }

    /// Reorders the second dimension of a 1x1 weight.
    fn reorder_columns(&mut self, index: usize, order: &[usize]) {
        let values = self.parameters()[index].to_vec();
        let values = values
            .chunks_exact(order.len())
            .flat_map(|row| order.iter().map(|&old| row[old]))
            .collect();
        self.put(index, values);
    }

    fn put(&mut self, index: usize, values: Vec<f32>) {
        let device = self.device().clone();
        self.parameters_mut()[index].set(from_vec(values, &device));
    }
}

/// The first dimension of `values`, of length `order.len()`, in a new order.
fn rows(values: &[f32], order: &[usize]) -> Vec<f32> {
    let length = values.len() / order.len();
    order
        .iter()
        .flat_map(|&old| values[old * length..][..length].iter().copied())
        .collect()
}

/// Sum of absolute values of every column of a 1x1 weight, in 64 bits.
fn column_sums(weight: &Parameter) -> Vec<f64> {
    let columns = weight.shape()[1];
    let mut sums = vec![0.0; columns];
    for row in weight.to_vec().chunks_exact(columns) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value.abs());
        }
    }
    sums
}

/// Start of every group and the end of the last, in channels.
fn borders(expands: &[usize], groups: usize, inputs: usize) -> Vec<usize> {
    let largest = expands.len() - 1;
    let inner = expands[largest.saturating_sub(groups)..largest].iter();
    let mut borders = vec![0];
    borders.extend(inner.map(|expand| expand * inputs));
    borders.push(expands[largest] * inputs);
    borders
}

/// Indices by falling importance inside each group; equal ones keep their order.
fn descending_within(importance: &[f64], borders: &[usize]) -> Vec<usize> {
    borders
        .windows(2)
        .flat_map(|group| {
            let mut indices: Vec<usize> = (group[0]..group[1]).collect();
            indices.sort_by(|&a, &b| importance[b].total_cmp(&importance[a]));
            indices
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_expansions() {
        assert_eq!(borders(&[3, 4, 6], 0, 10), [0, 60]);
        assert_eq!(borders(&[3, 4, 6], 1, 10), [0, 40, 60]);
        assert_eq!(borders(&[3, 4, 6], 2, 10), [0, 30, 40, 60]);
        assert_eq!(borders(&[3, 4, 6], 9, 10), [0, 30, 40, 60]);
    }

    #[test]
    fn sorting_stays_inside_the_groups() {
        let importance = [1.0, 3.0, 2.0, 9.0, 10.0];
        assert_eq!(descending_within(&importance, &[0, 5]), [4, 3, 1, 2, 0]);
        assert_eq!(descending_within(&importance, &[0, 3, 5]), [1, 2, 0, 4, 3]);
    }
}
