"""Windows cut out of photographs: data of vision models for which no labelled set ships.

Ten photographs come with scikit-image and two with scikit-learn.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from imagebuilder.models.data import Array

PHOTOGRAPHS = {
    "scikit-image": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png",
                     "rocket.jpg", "camera.png", "coins.png", "grass.png", "ihc.png", "retina.jpg"),
    "scikit-learn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
FOLDERS = {"scikit-image": "skimage/data", "scikit-learn": "sklearn/datasets/images"}
WINDOWS, WIDEST = 50, 400


def windows(sources: Mapping[str, Path], size: int) -> Array:
    """Windows of the photographs in the wheels `sources`, uint8 [600, size, size, 3].

    Each is `size` to 400 pixels wide and high, at a place drawn with a fixed seed, averaged down
    without keeping its proportions; every second one is mirrored.
    """
    chance = np.random.default_rng(0)
    return np.stack([
        _window(photograph, size, chance)[:, :: -1 if number % 2 else 1]
        for photograph in _photographs(sources)
        for number in range(WINDOWS)
    ])  # fmt: skip


def _photographs(sources: Mapping[str, Path]) -> Iterator[Image.Image]:
    for package, names in PHOTOGRAPHS.items():
        with zipfile.ZipFile(sources[package]) as wheel:
            for name in names:
                raw = wheel.read(f"{FOLDERS[package]}/{name}")
                yield Image.open(io.BytesIO(raw)).convert("RGB")


def _window(photograph: Image.Image, size: int, chance: np.random.Generator) -> Array:
    wide, high = photograph.size
    width, height = (int(chance.integers(size, min(side, WIDEST) + 1)) for side in (wide, high))
    left, top = chance.integers(0, wide - width + 1), chance.integers(0, high - height + 1)
    box = (int(left), int(top), int(left) + width, int(top) + height)
    return np.asarray(photograph.resize((size, size), Image.Resampling.BOX, box))
