//! Evolutionary many-objective search over integer strings.
