"""Static INT8: activation ranges come from calibration data."""

from __future__ import annotations

from pathlib import Path

from imagebuilder.catalog.optimization import Quantize
from imagebuilder.models.data import Array, Split
from imagebuilder.models.steps.quantizer import common_options, silent
from imagebuilder.state import sha256_file

CALIBRATION_SAMPLES = 128


class _Reader:
    """Calibration samples one by one, as ONNX Runtime's quantizer asks for them."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._next = 0

    def get_next(self) -> dict[str, Array] | None:
        """The next sample, None at the end."""
        if self._next == min(len(self._split), CALIBRATION_SAMPLES):
            return None
        self._next += 1
        return self._split.sample(self._next - 1)


def quantize_static(step: Quantize, model: Path, target: Path, calibration: Split) -> None:
    """Signed weights and signed activations, in QDQ form.

    What does not depend on the step's choice of operators is kept beside `target` and taken again.
    """
    from onnxruntime import quantization as q

    methods = {
        "minmax": q.CalibrationMethod.MinMax,
        "entropy": q.CalibrationMethod.Entropy,
        "percentile": q.CalibrationMethod.Percentile,
    }
    prepared = _prepared(model, target.parent, step.per_channel)
    ranges = _ranges(prepared, calibration) if step.calibration == "minmax" else None
    silent(
        q.quantize_static,
        str(prepared),
        str(target),
        None if ranges else _Reader(calibration),
        quant_format=q.QuantFormat.QDQ,
        activation_type=q.QuantType.QInt8,
        weight_type=q.QuantType.QInt8,
        calibrate_method=methods[step.calibration],
        calibration_cache_path=ranges,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        **common_options(step),
    )
    _unshare_weights(target)


def _prepared(model: Path, folder: Path, per_channel: bool) -> Path:
    """The model with shapes inferred and constants folded, kept in `folder`.

    DequantizeLinear has an axis since opset 13, which weights with a scale a channel need.
    """
    import onnx
    from onnxruntime import quantization as q

    opset = 13 if per_channel else 0
    prepared = folder / f"prepared-{sha256_file(model)[:16]}-{opset}.onnx"
    if not prepared.is_file():
        silent(q.quant_pre_process, str(model), str(prepared), skip_symbolic_shape=True)
        loaded = onnx.load(prepared)
        found = next(one.version for one in loaded.opset_import if one.domain in ("", "ai.onnx"))
        if found < opset:
            onnx.save(onnx.version_converter.convert_version(loaded, opset), prepared)
    return prepared


def _ranges(prepared: Path, calibration: Split) -> Path:
    """Least and largest value of every tensor, whichever of them a step quantizes."""
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.quantize import save_tensors_data
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    path = prepared.with_suffix(".ranges.json")
    if not path.is_file():
        augmented = prepared.with_suffix(".augmented.onnx")
        calibrator = create_calibrator(
            prepared, [*{*QDQRegistry, *QLinearOpsRegistry}], str(augmented)
        )
        calibrator.collect_data(_Reader(calibration))
        save_tensors_data(calibrator.compute_data(), path)
    return path


def _unshare_weights(path: Path) -> None:
    """Give each reader of a quantized constant a constant and a DequantizeLinear of its own.

    ONNX Runtime does the latter itself; where `session.x64quantprecision` matters it then makes
    int8 constants unsigned, each under a name derived from the old one, and fails at the second.
    """
    import onnx

    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    for node in nodes:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        output = node.output[0]
        readers = [(n, at) for n in nodes for at, name in enumerate(n.input) if name == output]
        for number, (reader, at) in enumerate(readers[1:], 1):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name, copy.output[0] = f"{node.name}.{number}", f"{output}.{number}"
            for place in range(len(node.input)):
                tensor = model.graph.initializer.add()
                tensor.CopyFrom(constants[node.input[place]])
                tensor.name = copy.input[place] = f"{node.input[place]}.{number}"
            reader.input[at] = copy.output[0]
            model.graph.node.insert(0, copy)
    onnx.save(model, path)
