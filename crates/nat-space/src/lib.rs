//! Search spaces, genotypes, architectures and their exact costs.
//!
//! A [`Space`] is data: a TOML file that says which networks exist. A [`Genotype`] is a string of
//! integers that picks one of them, always in canonical form, so that equal networks are equal
//! strings. An [`Architecture`] says the same in the engineer's words (depths, kernels, expansions),
//! and a [`Network`] is the static list of layers it stands for, with multiply-adds, parameters and
//! activation memory in closed form. A [`LatencyTable`] adds the time on a device, layer by layer.
//!
//! ```
//! use nat_space::Space;
//!
//! let space = Space::builtin("nat").unwrap();
//! let genotype = space.parse("8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7").unwrap();
//! let network = space.network(&space.architecture(&genotype), 1000);
//! assert_eq!((network.madds(), network.params()), (222_557_600, 6_067_408));
//! ```

mod architecture;
mod cost;
mod genotype;
mod latency;
pub mod limits;
mod network;
mod sampling;
mod space;
mod validation;

pub use architecture::{Architecture, ArchitectureError};
pub use cost::{Count, LayerCost};
pub use genotype::{Genotype, GenotypeError, parse_genes};
pub use latency::{Correction, Device, LatencyError, LatencyTable, Layer, LayerKind, Timing};
pub use network::{BlockPlan, ConvPlan, MixPlan, Network, make_divisible};
pub use sampling::SampleError;
pub use space::{Activation, BatchNorm, Head, Padding, Resolutions, Space, Stage, Stem};
pub use validation::SpaceError;
