"""Runs a model on the host, by the library that devices carry."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from imagebuilder.models.data import Array, Split
from imagebuilder.models.metrics import Metric, choices
from imagebuilder.models.sessions import open_session

BATCH = 32
MEASURED_SECONDS = 0.5


class Runner:
    """A session with one thread a run, so that results do not depend on the number of cores.

    Where the library allows, as many runs go side by side as there are processors.
    """

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        self.output_names = self._session.output_names
        self._threads = len(os.sched_getaffinity(0)) if self._session.shared else 1

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run; the outputs in the model's order."""
        return self._session.run(inputs)

    def named(self, samples: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """The outputs of every sample by name."""
        return [dict(zip(self.output_names, self.run(one), strict=True)) for one in samples]

    def evidence(self, split: Split, metric: Metric) -> Array:
        """What `metric` keeps of the first output for every sample, float64 [samples, k]."""

        def judged(batch: tuple[dict[str, Array], Any]) -> Array:
            inputs, labels = batch
            return metric.evidence(self._first(inputs, split), labels)

        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(judged, split.batches(self._size(split)))))

    def choices(self, split: Split) -> Array:
        """What the model chooses for every sample, as labels for the metric `agreement`."""
        batches = split.batches(self._size(split))
        return np.concatenate([choices(self._first(inputs, split)) for inputs, _ in batches])

    def first_outputs(self, split: Split) -> Array:
        """The first output for every sample."""
        batches = split.batches(self._size(split))
        return np.concatenate([self._first(inputs, split) for inputs, _ in batches])

    def outputs(self, split: Split) -> Iterator[tuple[dict[str, Array], list[Array]]]:
        """Inputs and outputs of every sample, some samples at once where the model takes them."""
        for inputs, _ in split.batches(self._size(split)):
            yield inputs, self.run(inputs)

    def seconds(self, split: Split) -> float:
        """Least time of one sample of a split."""
        return self.least_seconds([split.sample(i) for i in spread(len(split), 8)])

    def least_seconds(self, samples: Sequence[Mapping[str, Array]]) -> float:
        """Least time of one sample: what else runs on this host only makes it slower."""
        best = float("inf")
        end = time.perf_counter() + MEASURED_SECONDS
        while time.perf_counter() < end:
            for inputs in samples:
                begin = time.perf_counter()
                self.run(inputs)
                best = min(best, time.perf_counter() - begin)
        return best

    def _size(self, split: Split) -> int:
        return BATCH if self._session.free_batch and not split.whole else 1

    def _first(self, inputs: Mapping[str, Array], split: Split) -> Array:
        output = self.run(inputs)[0]
        return output[None] if split.whole else output


def spread(samples: int, wanted: int) -> Sequence[int]:
    """`wanted` positions evenly spread over `samples`, all of them if there are fewer."""
    count = min(wanted, samples)
    return [index * samples // count for index in range(count)]
