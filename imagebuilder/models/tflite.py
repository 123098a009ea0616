"""What a TensorFlow Lite model is made of, from its flat buffer (schema version 3)."""

from __future__ import annotations

import collections
import math
from typing import Any

from imagebuilder.models import macs
from imagebuilder.models.peak import peak

TYPES = {
    "FLOAT32": ("float32", 4), "FLOAT16": ("float16", 2), "INT32": ("int32", 4),
    "UINT8": ("uint8", 1), "INT64": ("int64", 8), "STRING": ("string", 1), "BOOL": ("bool", 1),
    "INT16": ("int16", 2), "INT8": ("int8", 1), "FLOAT64": ("float64", 8), "UINT64": ("uint64", 8),
    "UINT32": ("uint32", 4), "UINT16": ("uint16", 2), "INT4": ("int4", 1),
}  # fmt: skip
"""tflite.TensorType → name, bytes of an element."""


def describe(raw: bytes) -> dict[str, Any]:
    """The fields of `ModelInfo`; any exception for a damaged buffer."""
    from ai_edge_litert import schema_py_generated as schema

    if raw[4:8] != b"TFL3":
        raise ValueError("no TensorFlow Lite model")
    model = schema.Model.GetRootAs(raw, 0)
    if model.Version() != 3 or model.SubgraphsLength() < 1:
        raise ValueError(f"a model of version {model.Version()}")
    graph = model.Subgraphs(0)
    types = _names(schema.TensorType)
    tensors = [_Tensor(model, graph.Tensors(i), types) for i in range(graph.TensorsLength())]
    nodes = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    _check_order(graph, tensors, nodes)
    weights = [tensor for tensor in tensors if tensor.weight_bytes]
    kinds = [_kind(model.OperatorCodes(node.OpcodeIndex()), schema) for node in nodes]
    counted = [_macs(kind, node, tensors) for (kind, _), node in zip(kinds, nodes, strict=True)]
    return {
        "ir": model.Version(),
        "opset": 0,
        "inputs": [tensors[graph.Inputs(i)].port() for i in range(graph.InputsLength())],
        "outputs": [tensors[graph.Outputs(i)].port() for i in range(graph.OutputsLength())],
        "operators": dict(sorted(collections.Counter(kind for kind, _ in kinds).items())),
        "parameters": sum(tensor.count for tensor in weights),
        "weights_bytes": sum(tensor.weight_bytes for tensor in weights),
        "activation_bytes": _activations(graph, tensors, nodes),
        "file_bytes": len(raw),
        "macs": sum(count or 0 for count in counted),
        "uncounted": counted.count(None),
        "needs": sorted({f"tflite {kind} {version}" for kind, version in kinds}),
    }


class _Tensor:
    def __init__(self, model: Any, tensor: Any, types: dict[int, str]) -> None:
        fixed = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
        free = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
        self.name = (tensor.Name() or b"").decode("utf-8", "replace")
        self.shape = free or fixed
        self.dtype, size = TYPES.get(types.get(tensor.Type(), ""), ("?", 4))
        self.fixed = tuple(max(1, axis) for axis in fixed)
        self.count = math.prod(self.fixed)
        self.bytes = self.count * size
        buffer = model.Buffers(tensor.Buffer())
        self.weight_bytes = 0 if buffer is None else buffer.DataLength()
        elsewhere = buffer is not None and buffer.Offset() > 1
        self.given = bool(self.weight_bytes or elsewhere or tensor.IsVariable() or 0 in fixed)

    def port(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": self.shape}


def _check_order(graph: Any, tensors: list[_Tensor], nodes: list[Any]) -> None:
    """`ValueError` for a node that reads what none before it made: a runtime would read memory."""
    made = {graph.Inputs(i) for i in range(graph.InputsLength())}
    for number, node in enumerate(nodes):
        for i in range(node.InputsLength()):
            at = node.Inputs(i)
            if at >= 0 and at not in made and not tensors[at].given:
                name = tensors[at].name
                raise ValueError(f"operator {number} reads {name[:100]!r} before it is made")
        made |= {node.Outputs(i) for i in range(node.OutputsLength())}


def _names(kind: Any) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def _kind(code: Any, schema: Any) -> tuple[str, int]:
    """Name and version of an operator."""
    custom = code.CustomCode()
    if custom:
        return custom.decode("utf-8", "replace"), code.Version()
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return _names(schema.BuiltinOperator).get(builtin, "?"), code.Version()


def _macs(kind: str, node: Any, tensors: list[_Tensor]) -> int | None:
    at = [node.Inputs(i) for i in range(node.InputsLength())]
    inputs = [tensors[i].fixed if i >= 0 else None for i in at]
    output = tensors[node.Outputs(0)].fixed if node.OutputsLength() else None
    return macs.count(macs.TFLITE, kind, (inputs, output))


def _activations(graph: Any, tensors: list[_Tensor], nodes: list[Any]) -> int:
    def names(length: int, item: Any) -> list[str]:
        found = (item(i) for i in range(length))
        return [str(i) for i in found if i >= 0 and not tensors[i].weight_bytes]

    steps = [
        (names(n.InputsLength(), n.Inputs), names(n.OutputsLength(), n.Outputs)) for n in nodes
    ]
    sizes = {str(i): t.bytes for i, t in enumerate(tensors) if not t.weight_bytes}
    return peak(steps, sizes, set(names(graph.OutputsLength(), graph.Outputs)))
