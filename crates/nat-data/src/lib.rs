//! Labelled image folders and tars as deterministic batches.
