#!/usr/bin/env python3
"""EfficientNet-Lite0's weights as `nat` ships them: convolutions and classifier in half precision, batch norms as they are.

    python3 build.py efficientnet_lite0.safetensors lite0-f16.safetensors

Needs numpy. Batch counters are left out. The same input gives the same bytes.
"""

import json
import struct
import sys

import numpy


def main(source, target):
    with open(source, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    entries, blob = {}, b""
    for name in sorted(header):
        entry = header[name]
        if name == "__metadata__" or name.endswith("num_batches_tracked"):
            continue
        assert entry["dtype"] == "F32", name
        start, end = entry["data_offsets"]
        values = numpy.frombuffer(data[start:end], "<f4")
        norm = "_bn" in name.split(".")[-2]
        if not norm:
            values = values.astype("<f2")
            assert numpy.isfinite(values).all(), name
        raw = values.tobytes()
        entries[name] = {
            "dtype": "F32" if norm else "F16",
            "shape": entry["shape"],
            "data_offsets": [len(blob), len(blob) + len(raw)],
        }
        blob += raw
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


main(*sys.argv[1:])
