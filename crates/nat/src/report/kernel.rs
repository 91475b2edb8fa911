//! The colours of depthwise kernels: one ramp for histograms and drawings.

use maud::{Markup, html};
use nat_space::Space;

/// Shades of the ramp in the style sheet.
const SHADES: usize = 4;

/// The kernels of a space, ascending.
pub struct Kernels(Vec<usize>);

impl Kernels {
    pub fn of(space: &Space) -> Kernels {
        let mut kernels: Vec<usize> = space
            .stages
            .iter()
            .flat_map(|stage| stage.kernels.iter().copied())
            .collect();
        kernels.sort_unstable();
        kernels.dedup();
        Kernels(kernels)
    }

    /// The colour class of a kernel of the space: light for the smallest, dark for the largest.
    pub fn class(&self, kernel: usize) -> String {
        let index = self
            .0
            .iter()
            .position(|&other| other == kernel)
            .unwrap_or(0);
        let shade = match self.0.len() {
            0 | 1 => 1,
            count => index * (SHADES - 1) / (count - 1),
        };
        format!("k{shade}")
    }
}

pub fn legend(kernels: &Kernels) -> Markup {
    html! {
        @for &kernel in &kernels.0 {
            span.legend { i.swatch.(kernels.class(kernel)) {} " kernel " (kernel) "×" (kernel) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_span_the_ramp() {
        let classes = |kernels: &[usize]| -> Vec<String> {
            let kernels = Kernels(kernels.to_vec());
            kernels
                .0
                .iter()
                .map(|&kernel| kernels.class(kernel))
                .collect()
        };
        assert_eq!(classes(&[3]), ["k1"]);
        assert_eq!(classes(&[3, 5]), ["k0", "k3"]);
        assert_eq!(classes(&[3, 5, 7]), ["k0", "k1", "k3"]);
        assert_eq!(classes(&[3, 5, 7, 9]), ["k0", "k1", "k2", "k3"]);
        assert_eq!(Kernels::of(&Space::builtin("nat").unwrap()).0, [3, 5, 7]);
    }
}
