"""Writes the seeds: a state dictionary of two tensors that share a storage, as torch.save writes it. Needs no PyTorch."""

import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

SEEDS = pathlib.Path(__file__).parent / "seeds"


def module(name, **members):
    made = types.ModuleType(name)
    sys.modules[name] = made
    for key, member in members.items():
        member.__module__, member.__qualname__ = name, key
        setattr(made, key, member)


class FloatStorage:
    pass


class HalfStorage:
    pass


def _rebuild_tensor_v2(*arguments):
    raise NotImplementedError


module("torch", FloatStorage=FloatStorage, HalfStorage=HalfStorage)
module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2)


class Storage:
    def __init__(self, kind, key, count):
        self.id = ("storage", kind, key, "cpu", count)


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class Pickler(pickle._Pickler):
    tail = ()

    def persistent_id(self, value):
        return value.id + self.tail if isinstance(value, Storage) else None


class StreamPickler(Pickler):
    tail = (None,)


def pickled(value, pickler):
    out = io.BytesIO()
    pickler(out, 2).dump(value)
    return out.getvalue()


floats = Storage(FloatStorage, "0", 6)
halves = Storage(HalfStorage, "1", 2)
state = collections.OrderedDict(
    [
        ("a.weight", Tensor(floats, 0, (2, 3), (3, 1))),
        ("a.bias", Tensor(floats, 1, (2,), (3,))),
        ("a.scale", Tensor(halves, 0, (2,), (1,))),
    ]
)
checkpoint = {"epoch": 3, "best": 12.5, "state_dict": state}
data = {"0": struct.pack("<6f", *range(6)), "1": struct.pack("<2e", 0.5, -2)}

with zipfile.ZipFile(SEEDS / "pytorch" / "zip.pth", "w") as archive:
    members = {"data.pkl": pickled(checkpoint, Pickler), "byteorder": b"little"}
    members |= {f"data/{key}": raw for key, raw in data.items()}
    for name, raw in members.items():
        archive.writestr(zipfile.ZipInfo("seed/" + name), raw)

stream = b"".join(
    pickle.dumps(value, 2)
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
)
stream += pickled(checkpoint, StreamPickler) + pickle.dumps(sorted(data), 2)
for key, count in (("0", 6), ("1", 2)):
    stream += struct.pack("<q", count) + data[key]
(SEEDS / "pytorch" / "stream.pth").write_bytes(stream)

header = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "a.bias": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
}
header = json.dumps(header).encode()
raw = struct.pack("<H", len(header)) + header + data["0"] + data["1"]
(SEEDS / "safetensors" / "two.bin").write_bytes(raw)
