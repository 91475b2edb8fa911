//! Depthwise convolution of one block of channels.
