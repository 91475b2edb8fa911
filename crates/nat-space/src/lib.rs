//! Search spaces, genotypes, architectures and their exact costs.
