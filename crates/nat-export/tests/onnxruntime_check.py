#!/usr/bin/env python3
"""Runs an exported model with ONNX Runtime and compares its logits with expected ones.

    python3 onnxruntime_check.py MODEL.onnx IMAGES.bin LOGITS.bin [TOLERANCE]

IMAGES.bin holds the input [n, 3, side, side] and LOGITS.bin the output [n, classes], both little-endian f32.
The whole batch is run, and its first image alone. Needs the packages onnxruntime and numpy; where onnx is
installed, its checker and strict shape inference must accept the model as well. Exits with 1 on a difference
above TOLERANCE (default 1e-4).
"""

import importlib.util
import json
import sys

import numpy
import onnxruntime


def check_model(path):
    if importlib.util.find_spec("onnx") is None:
        return "not installed"
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return f"accepts it ({onnx.__version__})"


def main(path, images_path, logits_path, tolerance=1e-4):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    (output,) = session.get_outputs()
    metadata = session.get_modelmeta().custom_metadata_map
    classes = json.loads(metadata["classes"])
    assert image.name == "image" and output.name == "logits", (image.name, output.name)
    assert image.shape == ["batch", 3, *[int(metadata["resolution"])] * 2], image.shape
    assert output.shape == ["batch", len(classes)], output.shape

    images = numpy.fromfile(images_path, "<f4").reshape(-1, *image.shape[1:])
    expected = numpy.fromfile(logits_path, "<f4").reshape(-1, len(classes))
    (batch,) = session.run(["logits"], {"image": images})
    (single,) = session.run(["logits"], {"image": images[:1]})
    difference = max(abs(batch - expected).max(), abs(single - expected[:1]).max())
    print(
        f"onnxruntime {onnxruntime.__version__}: largest difference {difference:.3g} on {batch.size} logits"
        f" up to {abs(expected).max():.3g}; onnx checker {check_model(path)}"
    )
    # A NaN compares false, so it fails here too.
    return 0 if difference <= float(tolerance) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
