"""Applies the steps of `optimize` in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import (
    Auto,
    FixShapes,
    HalfWeights,
    OptimizeStep,
    OrtFormat,
    Prune,
    Quantize,
    Requantize,
    Simplify,
)
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import Split
from imagebuilder.models.formats import model_format
from imagebuilder.models.steps.dynamic_int8 import quantize_dynamic
from imagebuilder.models.steps.half import halve_weights
from imagebuilder.models.steps.ort_format import convert
from imagebuilder.models.steps.prune import prune
from imagebuilder.models.steps.shapes import fix_shapes
from imagebuilder.models.steps.simplify import simplify
from imagebuilder.models.steps.static_int8 import quantize_static
from imagebuilder.models.steps.tflite import quantize_tflite


@dataclass(frozen=True, slots=True)
class Steps:
    """The optimized model as ONNX, the file to be sealed, what was done, and details of it.

    Both are the same file unless the last step gave it the ORT format.
    """

    graph: Path
    path: Path
    done: str = "none"
    details: Mapping[str, Any] = field(default_factory=dict)

    def then(self, graph: Path, path: Path, done: str, details: Mapping[str, Any]) -> Steps:
        """These steps and one more."""
        done = done if self.done == "none" else f"{self.done}, {done}"
        return Steps(graph, path, done, {**self.details, **details})


def apply_steps(
    source: BundleSource,
    steps: Sequence[OptimizeStep],
    start: Steps,
    calibration: Split | None,
    folder: Path,
    first: int = 0,
) -> Steps:
    """Apply `steps`, which begin at index `first` of the bundle's; `BuildError` at a failing one.

    `folder` takes the models in between.
    """
    for index, step in enumerate(steps, first):
        kind = "ort" if isinstance(step, OrtFormat) else model_format(start.path)
        target = folder / f"step-{index}.{kind}"
        try:
            details = apply(source, step, start.path, target, calibration)
        except UserError:
            raise
        except Exception as error:
            place = source.file.locate("optimize", index)
            raise BuildError(f"{place}: optimize[{index}]: {reason(error)}") from error
        graph = start.graph if isinstance(step, OrtFormat) else target
        start = start.then(graph, target, describe(step), details)
    return start


def reason(error: Exception) -> str:
    """The first line of what a library said."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)


def describe(step: OptimizeStep) -> str:
    """A step as text, for reports and `bundle.json`."""
    match step:
        case FixShapes():
            return "fix-shapes"
        case Simplify():
            return "simplify"
        case HalfWeights():
            return "fp16 weights"
        case Prune(sparsity=sparsity):
            return f"prune {sparsity:g}"
        case Auto():
            return "auto"
        case OrtFormat():
            return "ort-format"
        case Requantize(kind=kind):
            return f"requantize {kind}"
        case Quantize():
            return _describe_quantize(step)


def _describe_quantize(step: Quantize) -> str:
    operators = "all operators" if step.operators is None else "/".join(step.operators)
    flags = [name for name in ("per_channel", "reduce_range") if getattr(step, name)]
    if step.calibration != "minmax":
        flags.append(step.calibration)
    if step.nodes:
        flags.append(f"of {len(step.nodes)} nodes")
    if step.exclude_nodes:
        flags.append(f"without {len(step.exclude_nodes)} nodes")
    return " ".join(["int8", step.mode, operators, *flags])


def apply(
    source: BundleSource, step: OptimizeStep, model: Path, target: Path, calibration: Split | None
) -> dict[str, Any]:
    """Apply one step to `model`; what it measured, for the report."""
    match step:
        case FixShapes():
            fix_shapes(model, target, source.inputs)
        case Simplify():
            simplify(model, target)
        case HalfWeights() | Quantize() if model_format(model) == "tflite":
            quantize_tflite(step, model, target, calibration)
        case HalfWeights():
            halve_weights(model, target)
        case Prune(sparsity=sparsity):
            pruned = prune(model, target, sparsity)
            return {
                "pruned": {
                    "zeros": pruned.zeros,
                    "compressed_bytes": [pruned.compressed_before, pruned.compressed_after],
                }
            }
        case OrtFormat():
            convert(model, target)
        case Quantize(mode="dynamic"):
            quantize_dynamic(step, model, target)
        case Quantize():
            assert calibration is not None
            quantize_static(step, model, target, calibration)
        case Auto() | Requantize():
            raise AssertionError("resolved before, or not for this kind of model")
    return {}
