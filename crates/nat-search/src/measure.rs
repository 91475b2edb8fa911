//! Own objectives: what this program cannot know of a network, somebody else measures.

use std::{error::Error, path::Path};

use nat_space::{Architecture, Genotype, Network};

/// Something that is measured of a network beside its errors: energy on a meter, milliseconds on a telephone, the answer of
/// a simulator. Its objective is written `command:NAME`, is minimised, and may stand in limits.
///
/// A run asks once for each network and keeps the answer, so that it must not depend on the weights; the search predicts
/// it for networks that were not measured yet.
///
/// ```
/// use std::error::Error;
/// use nat_search::{Measure, Subject};
/// use nat_space::Space;
///
/// /// Layers of a network: every one costs a call on a device that runs them one by one.
/// struct Calls;
///
/// impl Measure for Calls {
///     fn name(&self) -> &str {
///         "calls"
///     }
///
///     fn measure(&self, subject: &Subject<'_>) -> Result<f64, Box<dyn Error + Send + Sync>> {
///         Ok(subject.network.timed_layers().len() as f64)
///     }
/// }
///
/// let space = Space::builtin("tiny").expect("a built-in space");
/// let calls = |genes| {
///     let architecture = space.architecture(genes);
///     let network = space.network(&architecture, 10);
///     let subject = Subject { genes, architecture: &architecture, network: &network, model: None, stop: &|| false };
///     Calls.measure(&subject)
/// };
/// assert!(calls(&space.smallest())? < calls(&space.largest())?);
/// # Ok::<(), Box<dyn Error + Send + Sync>>(())
/// ```
pub trait Measure: Send + Sync {
    /// The name behind `command:`: letters, digits, `-` and `_`, as files and limits have it too.
    fn name(&self) -> &str;

    /// Whether [`Subject::model`] is needed: writing it takes a moment for each network.
    fn needs_model(&self) -> bool {
        false
    }

    /// How many networks may be measured at the same time.
    fn parallel(&self) -> usize {
        1
    }

    /// The value of a network: finite, not below 0, less is better.
    ///
    /// # Errors
    /// It could not be measured; the run stops with the message and can be resumed.
    fn measure(&self, subject: &Subject<'_>) -> Result<f64, Box<dyn Error + Send + Sync>>;
}

/// A network that is measured.
pub struct Subject<'a> {
    /// Its genotype.
    pub genes: &'a Genotype,
    /// What the genotype stands for.
    pub architecture: &'a Architecture,
    /// Its layers, with their costs.
    pub network: &'a Network,
    /// The network as an ONNX file, where [`Measure::needs_model`] asks for it.
    pub model: Option<&'a Path>,
    /// Says whether the answer is still wanted, as it is not when the run is asked to stop or another measurement has failed.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl Subject<'_> {
    /// Whether nobody waits for the answer any more; whoever takes long asks, and gives up with any error.
    pub fn is_stopped(&self) -> bool {
        (self.stop)()
    }
}
