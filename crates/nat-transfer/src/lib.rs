//! Neural Architecture Transfer: adapt, evaluate, search, archive.
