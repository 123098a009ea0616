"""Data of a bundle's recipe, checked before anything is measured with it."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagebuilder.catalog.bundle_source import BundleSource, TensorSpec
from imagebuilder.catalog.optimization import METRICS
from imagebuilder.errors import BuildError, UserError
from imagebuilder.yamlfile import Key

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Split:
    """`inputs` by name, each [samples, ...] with the model's dtype; one label for each sample.

    Labels are int64 [samples, ...], float32 for the metric r2, or texts. `whole` are the
    inputs without an axis for samples: their arrays are [samples, *shape].
    """

    inputs: Mapping[str, Array]
    labels: Array | tuple[str, ...]
    whole: frozenset[str] = field(default=frozenset())

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, index: int) -> dict[str, Array]:
        """One sample as the model takes it."""
        return self._part(index, index + 1)

    def batches(self, size: int) -> Iterator[tuple[dict[str, Array], Any]]:
        """Inputs and labels of at most `size` samples at once."""
        size = 1 if self.whole else size
        for start in range(0, len(self), size):
            yield self._part(start, start + size), self.labels[start : start + size]

    def first(self, count: int) -> Split:
        """`count` samples evenly spread over all, or all."""
        wanted = min(count, len(self))
        return self.take([index * len(self) // wanted for index in range(wanted)])

    def take(self, positions: Iterable[int]) -> Split:
        """The samples at these positions."""
        at, labels = list(positions), self.labels
        chosen = labels[at] if isinstance(labels, np.ndarray) else tuple(labels[i] for i in at)
        return replace(self, inputs={n: a[at] for n, a in self.inputs.items()}, labels=chosen)

    def _part(self, start: int, end: int) -> dict[str, Array]:
        return {n: a[start] if n in self.whole else a[start:end] for n, a in self.inputs.items()}


def whole_inputs(specs: Sequence[TensorSpec]) -> frozenset[str]:
    """The inputs whose first axis counts something else than samples."""
    return frozenset(spec.name for spec in specs if spec.shape[0] > 1)


def load_split(source: BundleSource, split: str, key: Key, files: Mapping[str, Path]) -> Split:
    """Run `load(split, sources)` of the recipe; `UserError` located at `key` for unfit data."""
    assert source.data is not None
    module = _import(source.data.recipe)
    try:
        inputs, labels = module.load(split, files)
    except Exception as error:
        raise BuildError(
            f"{source.data.recipe}: load({split!r}) failed: {error}",
            details=traceback.format_exc().splitlines()[-4:],
        ) from error
    problem = _input_problem(source, inputs) or _label_problem(source, inputs, labels)
    if problem:
        raise UserError(source.file.problem(key, f"the split {split!r} {problem}"))
    return Split(inputs, _labels(source, inputs, labels), whole_inputs(source.inputs))


def _import(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise BuildError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BuildError(f"{path}: cannot be imported: {error}") from error
    return module


def _labels(source: BundleSource, inputs: Any, labels: Any) -> Array | tuple[str, ...]:
    kind = METRICS[source.floor.metric].labels
    if kind == "none":
        return np.zeros(_count(inputs), np.int64)
    if kind == "text":
        return tuple(labels)
    return np.asarray(labels, np.float32 if kind == "values" else np.int64)


def _count(inputs: Mapping[str, Array]) -> int:
    return min((len(array) for array in inputs.values()), default=0)


def _input_problem(source: BundleSource, inputs: Any) -> str:
    """What makes the inputs unfit, empty if nothing does."""
    names = {spec.name for spec in source.inputs}
    if not isinstance(inputs, dict) or set(inputs) != names:
        return f"must give the inputs {', '.join(sorted(names))}"
    whole = whole_inputs(source.inputs)
    for spec in source.inputs:
        array = inputs[spec.name]
        wanted = spec.shape if spec.name in whole else spec.shape[1:]
        if array.ndim == 0 or len(array) == 0:
            return "has no samples"
        if array.shape != (_count(inputs), *wanted):
            return f"gives {spec.name} with shape {array.shape}, not {('N', *wanted)}"
        if str(array.dtype) != spec.dtype:
            return f"gives {spec.name} as {array.dtype}, not {spec.dtype}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"has a value in {spec.name} that is no number"
    return ""


def _label_problem(source: BundleSource, inputs: Mapping[str, Array], labels: Any) -> str:
    """What makes the labels unfit for the metric, empty if nothing does."""
    metric = source.floor.metric
    kind = METRICS[metric].labels
    if kind == "none":
        return ""
    count = _count(inputs)
    if labels is None or len(labels) == 0:
        return "has no labels"
    if len(labels) != count:
        return f"has {len(labels)} labels for {count} samples"
    if kind == "text":
        if not all(isinstance(text, str) and text for text in labels):
            return f"must have a text as each label, for {metric}"
        return ""
    array = np.asarray(labels)
    if kind == "values":
        return _value_problem(source, array)
    if array.dtype.kind not in "iub":
        return f"must have whole numbers as labels, for {metric}"
    return _class_problem(source, array)


def _value_problem(source: BundleSource, labels: Array) -> str:
    wanted = source.outputs[0].shape[1:]
    if labels.dtype.kind not in "iuf" or labels.shape[1:] != wanted:
        return f"must have numbers of the output's shape {('N', *wanted)} as labels, for r2"
    if not np.isfinite(labels).all():
        return "has a label that is no number"
    return "has labels that are all equal" if labels.min() == labels.max() else ""


def _class_problem(source: BundleSource, labels: Array) -> str:
    metric, last = source.floor.metric, source.outputs[0].shape[-1]
    if metric == "top1" and labels.ndim != 1:
        return "must have one label a sample, for top1"
    if metric == "perplexity":
        return f"has tokens above {last - 1}" if labels.max() >= last else ""
    if len(np.unique(labels)) < 2:
        return "has samples of one class only"
    classes = 2 if metric == "auc" or labels.ndim > 1 or last < 2 else last
    if labels.min() < 0 or labels.max() >= classes:
        return f"has labels outside 0 to {classes - 1}"
    return ""
