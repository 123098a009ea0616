"""Reference histograms for drift, taken of the evaluation data by the optimized model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from imagebuilder.bundle.drift import Drift, Histogram
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.models.data import Array, Split
from imagebuilder.models.runner import Runner

LEAST = 200
"""Fewer samples would make the index of the same population exceed what an alert asks."""

MOST = 2000
BINS = 10
"""Bins of as many samples each, as for a score card; two more hold what is outside of all."""

ELEMENTS = 1024
"""Of a larger tensor as many elements are looked at, evenly spread, as inferd does."""

NOISE = 1e-5
"""Share of a tensor's scale below which a difference is one of rounding."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""No difference is below it: a processor may take such numbers for 0."""

Key = tuple[str, str, str]


def drift_reference(source: BundleSource, runner: Runner, evaluation: Split) -> Drift | None:
    """Histograms of every input and output with numbers; none of too few samples."""
    if len(evaluation) < LEAST:
        return None
    split = evaluation.first(MOST)
    parts: dict[Key, list[Array]] = defaultdict(list)
    scales: dict[tuple[str, str], float] = defaultdict(float)
    for inputs, outputs in runner.outputs(split):
        samples = 1 if split.whole else len(next(iter(inputs.values())))
        named = dict(zip(runner.output_names, outputs, strict=True))
        for key, values in _statistics(source, inputs, named, samples):
            parts[key].append(values)
        for side, tensors in (("input", inputs), ("output", named)):
            for name, array in tensors.items():
                scales[side, name] = max(scales[side, name], _largest(array))
    histograms = tuple(
        histogram(key, np.concatenate(values).astype(np.float64), scales[key[:2]])
        for key, values in parts.items()
    )
    return Drift(len(split), histograms) if histograms else None


def _statistics(
    source: BundleSource, inputs: dict[str, Array], outputs: dict[str, Array], samples: int
) -> Iterator[tuple[Key, Array]]:
    for spec in source.inputs:
        rows = _rows(inputs[spec.name], samples)
        if rows is not None:
            yield ("input", spec.name, "values"), _spread(rows).reshape(-1)
            yield from _moments("input", spec.name, rows)
    for index, spec in enumerate(source.outputs):
        rows = _rows(outputs[spec.name], samples)
        classes = spec.shape[-1] if spec.shape else 1
        if rows is not None and index == 0 and source.task == "classification" and classes > 1:
            yield from _decisions(spec.name, rows, classes)
        elif rows is not None:
            yield from _moments("output", spec.name, rows)


def _rows(array: Array, samples: int) -> Array | None:
    """Float64 [samples, elements of one]; none for text, and for what is not divided evenly."""
    if array.dtype.kind not in "biuf" or array.size == 0 or array.size % samples:
        return None
    return array.astype(np.float64).reshape(samples, -1)


def _spread(rows: Array) -> Array:
    return rows[:, :: -(-rows.shape[1] // ELEMENTS)]


def _moments(side: str, tensor: str, rows: Array) -> Iterator[tuple[Key, Array]]:
    looked_at = _spread(rows)
    yield (side, tensor, "mean"), looked_at.mean(axis=1)
    if rows.shape[1] > 1:
        yield (side, tensor, "deviation"), looked_at.std(axis=1)


def _decisions(tensor: str, rows: Array, classes: int) -> Iterator[tuple[Key, Array]]:
    comparable = np.where(np.isnan(rows), -np.inf, rows)
    yield ("output", tensor, "top"), comparable.max(axis=1)
    yield ("output", tensor, "choice"), comparable.argmax(axis=1) % classes


def _largest(array: Array) -> float:
    """The largest absolute value; 0 for text."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        return 0.0
    found = np.abs(array[np.isfinite(array)], dtype=np.float64)
    return float(found.max()) if found.size else 0.0


def histogram(key: Key, values: Array, scale: float) -> Histogram:
    """Bins of about as many of `values`, float64 [n], each, and one at either side of all.

    `scale` is the largest absolute value of the tensor, and `values` are within it: what varies by
    less than its 100,000th part varies by rounding only, as the mean of an input that is brought to
    mean 0, and has one bin.

    A bound lies between two values that occur, so that a value that occurs often stays in its bin
    when another processor rounds it otherwise.
    """
    bounds = _bounds(values[np.isfinite(values)], scale)
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    return Histogram(*key, tuple(float(b) for b in bounds), tuple(int(c) for c in counts))


def _bounds(values: Array, scale: float) -> Array:
    if len(values) == 0:
        return np.array([0.0])
    ordered = np.unique(values)
    if ordered[-1] - ordered[0] <= max(scale * NOISE, SMALLEST):
        middle, margin = (ordered[0] + ordered[-1]) / 2, max(scale / 1000, SMALLEST)
        return np.array([float(f"{bound:.9g}") for bound in (middle - margin, middle + margin)])
    quantiles = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    at = np.unique(np.searchsorted(ordered, quantiles))
    at = at[at < len(ordered) - 1]
    margin = (ordered[-1] - ordered[0]) / 1000
    inner = (ordered[at] + ordered[at + 1]) / 2
    bounds = np.concatenate([[ordered[0] - margin], inner, [ordered[-1] + margin]])
    return np.unique([float(f"{bound:.9g}") for bound in bounds])
