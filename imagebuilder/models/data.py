"""Data of a bundle's recipe, checked before anything is measured with it."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.errors import BuildError, UserError
from imagebuilder.yamlfile import Key

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Split:
    """`inputs` by name, each [samples, ...] with the model's dtype; `labels` int64 [samples]."""

    inputs: Mapping[str, Array]
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


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
    problem = _problem(source, inputs, np.asarray(labels))
    if problem:
        raise UserError(source.file.problem(key, f"the split {split!r} {problem}"))
    return Split(inputs, np.asarray(labels, np.int64))


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


def _problem(source: BundleSource, inputs: Any, labels: Array) -> str:
    """What makes data unfit, empty if nothing does."""
    names = {spec.name for spec in source.inputs}
    if not isinstance(inputs, dict) or set(inputs) != names:
        return f"must give the inputs {', '.join(sorted(names))}"
    if labels.ndim != 1 or len(labels) == 0:
        return "has no samples"
    for spec in source.inputs:
        array = inputs[spec.name]
        if array.shape != (len(labels), *spec.shape[1:]):
            return f"gives {spec.name} with shape {array.shape}, not {('N', *spec.shape[1:])}"
        if str(array.dtype) != spec.dtype:
            return f"gives {spec.name} as {array.dtype}, not {spec.dtype}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"has a value in {spec.name} that is no number"
    return _label_problem(source, labels)


def _label_problem(source: BundleSource, labels: Array) -> str:
    if len(np.unique(labels)) < 2:
        return "has samples of one class only"
    classes = source.outputs[0].shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        return f"has labels outside 0 to {classes - 1}"
    return ""
