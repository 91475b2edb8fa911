//! Accuracy predictors for neural architectures and their rank metrics.
