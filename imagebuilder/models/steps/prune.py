"""Magnitude pruning (Han et al. 2015, arXiv:1506.02626), without training afterwards."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

LEAST_ELEMENTS = 256
"""Smaller tensors are biases and scales, where a zero costs much and saves nothing."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning changed: elements set to zero, and the file's size compressed, in bytes."""

    zeros: int
    compressed_before: int
    compressed_after: int


def prune(model: Path, target: Path, sparsity: float) -> Pruned:
    """Zero the share `sparsity` of each float32 weight matrix, those of least magnitude."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model)
    zeros = 0
    for tensor in loaded.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.ndim < 2 or weights.size < LEAST_ELEMENTS:
            continue
        flat = weights.reshape(-1).copy()
        count = int(sparsity * flat.size)
        flat[np.argsort(np.abs(flat), kind="stable")[:count]] = 0
        zeros += count
        tensor.CopyFrom(numpy_helper.from_array(flat.reshape(weights.shape), tensor.name))
    onnx.save(loaded, target)
    return Pruned(zeros, compressed_bytes(model), compressed_bytes(target))


def compressed_bytes(path: Path) -> int:
    """Size of a file compressed as images compress it, by deflate at its best."""
    return len(zlib.compress(path.read_bytes(), 9))
