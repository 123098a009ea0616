"""Handwritten digits of 8x8 pixels: the UCI test set that scikit-learn carries.

The samples are shuffled once with a fixed seed and cut: 60 % for training and calibration, 40 %
that only evaluation sees.
"""

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np

TRAINING = 1078
"""Samples for training; the other 719 of 1,797 are for evaluation."""


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`pixels` float32 [N, 64] from 0 to 1, labels int64 [N]; splits `train` and `test`."""
    with gzip.open(sources["digits"], "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    table = table[np.random.RandomState(0).permutation(len(table))]
    part = {"train": table[:TRAINING], "test": table[TRAINING:]}[split]
    return {"pixels": (part[:, :64] / 16).astype(np.float32)}, part[:, 64]
