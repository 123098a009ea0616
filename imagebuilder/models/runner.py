"""Runs a model on the host, by the same library that most devices carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagebuilder.errors import UserError
from imagebuilder.models.data import Array, Split

BATCH = 32
EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""Keeps 8-bit products of x86 processors with AVX2 and without VNNI from saturating at 16 bits."""


class Runner:
    """A session on one thread, so that results do not depend on the number of cores."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry(*EXACT_PRODUCTS)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise UserError(f"{model.name}: ONNX Runtime cannot load it: {reason}") from error
        self.output_names = tuple(value.name for value in self._session.get_outputs())
        shapes = [value.shape for value in self._session.get_inputs()]
        self.free_batch = all(not isinstance(shape[0], int) for shape in shapes if shape)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run; the outputs in the model's order."""
        result: list[Array] = self._session.run(None, dict(inputs))
        return result

    def first_output(self, split: Split) -> Array:
        """The first output for every sample, [samples, ...]."""
        size = BATCH if self.free_batch else 1
        return np.concatenate([self.run(part)[0] for part in batches(split.inputs, size)])


def batches(inputs: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """Slices of `size` samples along the first axis."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in inputs.items()}


def top1(scores: Array, labels: Array) -> float:
    """Percent of samples whose largest score is at their label; `scores` is [samples, classes]."""
    return 100.0 * float((scores.reshape(len(labels), -1).argmax(1) == labels).mean())


def wilson(percent: float, samples: int) -> tuple[float, float]:
    """95 % confidence interval of a percentage (Wilson 1927, z = 1.96)."""
    z, p = 1.96, percent / 100
    middle = (p + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * (p * (1 - p) / samples + z * z / (4 * samples**2)) ** 0.5 / (1 + z * z / samples)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def spread(samples: int, wanted: int) -> Sequence[int]:
    """`wanted` positions evenly spread over `samples`, all of them if there are fewer."""
    count = min(wanted, samples)
    return [index * samples // count for index in range(count)]
