"""Windows out of photographs, 96 x 96, and what the vendor's float model says of each.

Proportions are not kept, as in the training set.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imagebuilder.models.windows import windows


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`input_1` float32 [600, 96, 96, 3] from 0 to 255; labels int64 [600], the float model's."""
    assert split == "test"
    choices = Path(__file__).with_name("float-choices.txt").read_text().split()
    return {"input_1": windows(sources, 96).astype(np.float32)}, np.array(choices, np.int64)
