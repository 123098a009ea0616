"""The error of every tensor inside an optimized model against the same tensor of the float model.

Tensors are the same by name: the steps of `optimize` keep the names of what they do not remove.
Nothing inside a model can be seen without keeping its runtime from joining operators, so these are
the values of the operators one by one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagebuilder.errors import UserError
from imagebuilder.models.data import Array
from imagebuilder.models.formats import model_format
from imagebuilder.models.runner import Runner


@dataclass(frozen=True, slots=True)
class Layer:
    """One tensor, made by `operator` in the float model, over all samples.

    `sqnr` is the ratio of signal to quantization noise in dB, 10 log10(sum(f^2) / sum((f - q)^2)),
    None where nothing differs and where a value is no number; `max_abs` the largest difference,
    `largest` the largest |f|.
    """

    tensor: str
    operator: str
    sqnr: float | None
    max_abs: float
    largest: float


class NoLayers(UserError):
    """There is nothing inside to compare, and why."""


@dataclass(slots=True)
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0
    largest: float = 0.0

    def add(self, wanted: Array, got: Array) -> None:
        f, q = wanted.astype(np.float64), got.astype(np.float64)
        off = f - q
        self.signal += float(np.square(f).sum())
        self.noise += float(np.square(off).sum())
        self.max_abs = max(self.max_abs, float(np.abs(off).max(initial=0.0)))
        self.largest = max(self.largest, float(np.abs(f).max(initial=0.0)))

    def layer(self, tensor: str, operator: str) -> Layer:
        sqnr = None
        if np.isfinite(self.noise) and np.isfinite(self.signal) and self.noise > 0:
            smallest = np.finfo(np.float64).tiny
            sqnr = 10 * float(np.log10(max(self.signal, smallest) / self.noise))
        return Layer(tensor, operator, sqnr, self.max_abs, self.largest)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Tensors in the float model's order: name → (name in the optimized model, operator)."""

    names: Mapping[str, tuple[str, str]]
    sums: dict[str, _Sums] = field(default_factory=dict)

    def add(self, wanted: Mapping[str, Array], got: Mapping[str, Array]) -> None:
        for name, (other, _) in self.names.items():
            if name not in wanted or other not in got:
                continue
            f, q = wanted[name], got[other]
            if f.dtype.kind == "f" and q.dtype.kind == "f" and f.shape == q.shape and f.size:
                self.sums.setdefault(name, _Sums()).add(f, q)

    def layers(self) -> tuple[Layer, ...]:
        return tuple(
            self.sums[name].layer(name, operator)
            for name, (_, operator) in self.names.items()
            if name in self.sums
        )


def layer_errors(
    source: Path, optimized: Path, samples: Sequence[Mapping[str, Array]]
) -> tuple[Layer, ...]:
    """The layers of both models in order; `NoLayers` where there are none to compare.

    `samples` are inputs by name, as both models take them.
    """
    kinds = (model_format(source), model_format(optimized))
    if kinds == ("tflite", "tflite"):
        layers = _tflite_layers(source, optimized, samples)
    elif kinds == ("onnx", "onnx"):
        layers = _onnx_layers(source, optimized, samples)
    else:
        raise NoLayers(f"a model in the format {kinds[1]} does not show what is inside it")
    if not layers:
        raise NoLayers("no tensor inside the two models has the same name")
    return layers


def _onnx_layers(
    source: Path, optimized: Path, samples: Sequence[Mapping[str, Array]]
) -> tuple[Layer, ...]:
    import onnx

    one, other = (onnx.load(path) for path in (source, optimized))
    found = {node_output for node in other.graph.node for node_output in node.output}
    ends = _after_quantization(other)
    pairs = _Pairs({
        name: (ends.get(name, name), node.op_type)
        for node in one.graph.node for name in node.output if name and name in found
    })  # fmt: skip
    outer = {value.name for value in one.graph.output}
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        runners = [
            _exposed(model, names, Path(folder) / f"{number}.onnx")
            for number, (model, names) in enumerate((
                (one, [n for n in pairs.names if n not in outer]),
                (other, [n for n, _ in pairs.names.values() if n not in outer]),
            ))
        ]  # fmt: skip
        for sample in samples:
            pairs.add(*(runner.named([sample])[0] for runner in runners))
    return pairs.layers()


def _after_quantization(model: Any) -> dict[str, str]:
    """Tensor → what the operators after it get, where it is quantized in between."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input[:1]:
            readers.setdefault(name, []).append(node)
    return {
        name: end.output[0]
        for name, nodes in readers.items()
        for node in nodes if node.op_type == "QuantizeLinear"
        for end in readers.get(node.output[0], ()) if end.op_type == "DequantizeLinear"
    }  # fmt: skip


def _exposed(model: Any, names: Sequence[str], path: Path) -> Runner:
    """A runner of `model` with more outputs."""
    import onnx

    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    onnx.save(model, path)
    return Runner(path)


def _tflite_layers(
    source: Path, optimized: Path, samples: Sequence[Mapping[str, Array]]
) -> tuple[Layer, ...]:
    one, other = _Interpreter(source), _Interpreter(optimized)
    pairs = _Pairs({name: (name, operator) for name, operator in one.made.items()
                    if name in other.made})  # fmt: skip
    for sample in samples:
        pairs.add(dict(one.tensors(sample)), dict(other.tensors(sample)))
    return pairs.layers()


class _Interpreter:
    """LiteRT without delegates, which keeps every tensor; `made` are those that operators make."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter: Any = Interpreter(
            str(model),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        self.made = {
            self._details[index]["name"]: operator["op_name"]
            for operator in self._interpreter._get_ops_details()  # no public call has them
            for index in operator["outputs"] if index in self._details
        }  # fmt: skip

    def tensors(self, sample: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Run a sample; the tensors that operators made, dequantized to float32."""
        for detail in self._interpreter.get_input_details():
            self._interpreter.resize_tensor_input(detail["index"], sample[detail["name"]].shape)
        self._interpreter.allocate_tensors()
        for detail in self._interpreter.get_input_details():
            self._interpreter.set_tensor(detail["index"], sample[detail["name"]])
        self._interpreter.invoke()
        for index, detail in self._details.items():
            if detail["name"] in self.made:
                yield detail["name"], _dequantized(self._interpreter.get_tensor(index), detail)


def _dequantized(values: Array, detail: Mapping[str, Any]) -> Array:
    scales = detail["quantization_parameters"]["scales"]
    if len(scales) != 1 or values.dtype.kind not in "iu":
        return values
    zero = detail["quantization_parameters"]["zero_points"][0]
    found: Array = (values.astype(np.float64) - zero) * scales[0]
    return found.astype(np.float32)
