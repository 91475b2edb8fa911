//! Static networks as ONNX and safetensors files, and a runtime that checks them.
