"""The ways of quantization that `quantize: auto` tries, for each format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from imagebuilder.catalog.optimization import HalfWeights, OptimizeStep, Quantize
from imagebuilder.models.formats import model_format

Nodes = Mapping[str, Sequence[str]]
"""Type of operator → names of its nodes."""


class Ways(Protocol):
    """What can be tried for models of one format.

    `halves_the_rest` if weights that a quantization left alone can be stored in half precision.
    """

    @property
    def halves_the_rest(self) -> bool: ...

    def nodes(self, model: Path) -> dict[str, tuple[str, ...]]:
        """Type of operator → names of its nodes, as a step's keys name both."""
        ...

    def first_tries(self, nodes: Nodes) -> Iterator[OptimizeStep]:
        """What is tried for every model, from the simplest."""
        ...

    def quantizable(self, nodes: Nodes) -> list[str]:
        """The types of operators that can be static INT8; those without weights come first."""
        ...


def ways_of(model: Path) -> Ways:
    """The ways for the format of `model`."""
    return TfliteWays() if model_format(model) == "tflite" else OnnxWays()


class OnnxWays:
    """ONNX Runtime's quantizer, and weights in half precision."""

    HEAVY = ("Conv", "ConvTranspose", "MatMul", "Gemm")
    """What nearly all work and weights are in, and integer kernels are made for."""
    halves_the_rest = True
    DYNAMIC = ("MatMul", "Gemm", "LSTM", "GRU", "Gather", "Attention")

    def nodes(self, model: Path) -> dict[str, tuple[str, ...]]:
        """By the names of the nodes."""
        import onnx

        graph = onnx.load(model, load_external_data=False).graph
        return _grouped((node.op_type, node.name) for node in graph.node)

    def first_tries(self, nodes: Nodes) -> Iterator[OptimizeStep]:
        """Half precision, dynamic and static, each of all operators and of those that gain."""
        heavy = tuple(kind for kind in self.HEAVY if kind in nodes)
        dynamic = tuple(kind for kind in self.DYNAMIC if kind in nodes)
        yield HalfWeights()
        yield Quantize("dynamic")
        if dynamic and "Conv" in nodes:
            yield Quantize("dynamic", operators=dynamic)
        yield Quantize("static")
        if heavy:
            yield Quantize("static", operators=heavy)
            yield Quantize("static", operators=heavy, per_channel=True)

    def quantizable(self, nodes: Nodes) -> list[str]:
        """What ONNX Runtime has a static quantizer for."""
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        return _light_first(set(nodes) & {*QDQRegistry, *QLinearOpsRegistry}, self.HEAVY)


class TfliteWays:
    """ai-edge-quantizer."""

    HEAVY = (
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D_TRANSPOSE",
        "FULLY_CONNECTED",
        "BATCH_MATMUL",
    )
    halves_the_rest = False

    def nodes(self, model: Path) -> dict[str, tuple[str, ...]]:
        """By the names of the outputs, since nodes have none; operators as the quantizer does."""
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flat

        read = schema.ModelT.InitFromPackedBuf(model.read_bytes(), 0)
        graph = read.subgraphs[0]
        kinds = {number: str(name.value) for number, name in flat.TFL_OP_CODE_TO_NAME.items()}
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in read.operatorCodes]
        return _grouped(
            (kinds[codes[op.opcodeIndex]], flat.get_op_scope(op, graph.tensors).rstrip(";"))
            for op in graph.operators
            if codes[op.opcodeIndex] in kinds
        )

    def first_tries(self, nodes: Nodes) -> Iterator[OptimizeStep]:
        """Weights alone, then activations too, at run time or by calibration."""
        heavy = tuple(kind for kind in self.HEAVY if kind in nodes)
        yield HalfWeights()
        yield Quantize("weights")
        yield Quantize("dynamic")
        yield Quantize("static")
        yield Quantize("static", calibration="average")
        if heavy:
            yield Quantize("static", operators=heavy)
            yield Quantize("static", operators=heavy, calibration="average")

    def quantizable(self, nodes: Nodes) -> list[str]:
        """All that the quantizer has a name for."""
        return _light_first(set(nodes), self.HEAVY)


def _grouped(pairs: Iterator[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for kind, name in pairs:
        found.setdefault(kind, []).append(name)
    return {kind: tuple(names) for kind, names in found.items()}


def _light_first(kinds: set[str], heavy: Sequence[str]) -> list[str]:
    return sorted(kinds, key=lambda kind: (kind in heavy, kind))
