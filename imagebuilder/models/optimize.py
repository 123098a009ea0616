"""The optimization steps of `bundle.yaml`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebuilder.catalog.bundle_source import (
    BundleSource,
    FixShapes,
    OptimizeStep,
    OrtFormat,
    Quantize,
)
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import Array, Split
from imagebuilder.models.ort_format import convert
from imagebuilder.models.runner import batches

CALIBRATION_SAMPLES = 128


def optimize(
    source: BundleSource, model: Path, calibration: Split | None, folder: Path
) -> tuple[Path, Path, str]:
    """Apply all steps in order.

    Gives the optimized model as ONNX, the file to be sealed (the same, or that model in the ORT
    format), and what was done, as text. `folder` takes the models in between.
    """
    done = []
    graph = model
    for index, step in enumerate(source.optimize):
        kind = "ort" if isinstance(step, OrtFormat) else "onnx"
        target = folder / f"step-{index}.{kind}"
        try:
            _apply(source, step, model, target, calibration)
        except UserError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:300] if str(error) else repr(error)
            place = source.file.locate("optimize", index)
            raise BuildError(f"{place}: optimize[{index}]: {reason}") from error
        graph = model if isinstance(step, OrtFormat) else target
        model = target
        done.append(describe(step))
    return graph, model, ", ".join(done) or "none"


def describe(step: OptimizeStep) -> str:
    """A step as text, for reports and `bundle.json`."""
    if isinstance(step, FixShapes):
        return "fix-shapes"
    if isinstance(step, OrtFormat):
        return "ort-format"
    operators = "all operators" if step.operators is None else "/".join(step.operators)
    flags = [name for name in ("per_channel", "reduce_range") if getattr(step, name)]
    return " ".join(["int8", step.mode, operators, *flags])


def _apply(
    source: BundleSource, step: OptimizeStep, model: Path, target: Path, calibration: Split | None
) -> None:
    if isinstance(step, FixShapes):
        fix_shapes(source, model, target)
    elif isinstance(step, OrtFormat):
        convert(model, target)
    elif step.mode == "dynamic":
        quantize_dynamic(step, model, target)
    else:
        assert calibration is not None
        quantize_static(step, model, target, calibration)


def fix_shapes(source: BundleSource, model: Path, target: Path) -> None:
    """Give the inputs the shapes of `inputs`; a first axis of -1 there stays free."""
    import onnx

    loaded = onnx.load(model)
    declared = {spec.name: spec for spec in source.inputs}
    for value in loaded.graph.input:
        spec = declared.get(value.name)
        if spec is None:
            continue
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if size > 0:
                dimension.dim_value = size
            else:
                dimension.dim_param = "batch"
    del loaded.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(loaded), target)


class _Reader:
    """Calibration samples one by one, as ONNX Runtime's quantizer asks for them."""

    def __init__(self, split: Split) -> None:
        self._parts = iter(list(batches(split.inputs, 1))[:CALIBRATION_SAMPLES])

    def get_next(self) -> dict[str, Array] | None:
        """The next sample, None at the end."""
        return next(self._parts, None)


def quantize_static(step: Quantize, model: Path, target: Path, calibration: Split) -> None:
    """INT8 with activation ranges from calibration: signed weights and activations, QDQ form."""
    from onnxruntime import quantization as q

    methods = {
        "minmax": q.CalibrationMethod.MinMax,
        "entropy": q.CalibrationMethod.Entropy,
        "percentile": q.CalibrationMethod.Percentile,
    }
    prepared = target.with_suffix(".prepared.onnx")
    _silent(q.quant_pre_process, str(model), str(prepared), skip_symbolic_shape=True)
    _silent(
        q.quantize_static,
        str(prepared),
        str(target),
        _Reader(calibration),
        quant_format=q.QuantFormat.QDQ,
        activation_type=q.QuantType.QInt8,
        weight_type=q.QuantType.QInt8,
        calibrate_method=methods[step.calibration],
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        **_common(step),
    )


def quantize_dynamic(step: Quantize, model: Path, target: Path) -> None:
    """INT8 weights; activations are quantized at run time."""
    from onnxruntime import quantization as q

    _silent(
        q.quantize_dynamic, str(model), str(target), weight_type=q.QuantType.QInt8, **_common(step)
    )


def _common(step: Quantize) -> dict[str, Any]:
    operators: Sequence[str] | None = step.operators
    return {
        "op_types_to_quantize": list(operators) if operators else None,
        "nodes_to_exclude": list(step.exclude_nodes),
        "per_channel": step.per_channel,
        "reduce_range": step.reduce_range,
    }


def _silent(function: Any, *arguments: Any, **options: Any) -> None:
    """Call without the advice that the quantizer logs for interactive users."""
    logging.disable(logging.WARNING)
    try:
        function(*arguments, **options)
    finally:
        logging.disable(logging.NOTSET)
