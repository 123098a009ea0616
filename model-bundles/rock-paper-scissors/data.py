"""Photographs of faces and of what was behind them, 84 x 84, as the model's camera would give them.

scikit-image ships 200 of 25 x 25; they are enlarged linearly. Every fourth is for calibration, the
others for evaluation, each turned four ways.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

SIZE = 84
EVERY = 4


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], None]:
    """float32 [50 or 600, 84, 84, 1], each of mean 0 and deviation 1; there are no labels."""
    images = np.load(sources["images"])
    calibration = np.arange(len(images)) % EVERY == 0
    if split == "calibration":
        images = images[calibration]
    else:
        turned = [np.rot90(images[~calibration], turns, axes=(1, 2)) for turns in range(4)]
        images = np.concatenate(turned)
    images = enlarge(images)
    images = images - images.mean(axis=(1, 2), keepdims=True)
    images /= images.std(axis=(1, 2), keepdims=True) + 1e-6
    return {"serving_default_conv2d_input:0": images[..., None].astype(np.float32)}, None


def enlarge(images: np.ndarray) -> np.ndarray:
    """Linear interpolation to [N, 84, 84]."""
    last = images.shape[1] - 1
    at = np.linspace(0, last, SIZE)
    low = np.minimum(at.astype(int), last - 1)
    part = at - low
    rows = images[:, low] * (1 - part)[:, None] + images[:, low + 1] * part[:, None]
    return np.asarray(rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part)
