"""What an ONNX model is made of, from its graph."""

from __future__ import annotations

import collections
import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagebuilder.models import macs
from imagebuilder.models.peak import peak

ELEMENT_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
"""Bytes of an element by onnx.TensorProto.DataType."""

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
          8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32",
          13: "uint64"}  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """The fields of `ModelInfo`; any exception for a damaged file."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=False)
    graph = model.graph
    names = {tensor.name for tensor in graph.initializer}
    weights = [(math.prod(t.dims), ELEMENT_SIZES.get(t.data_type, 4)) for t in graph.initializer]
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    ports = {
        "inputs": [_port(value) for value in graph.input if value.name not in names],
        "outputs": [_port(value) for value in graph.output],
    }
    tensors = _tensors(model)
    counted = [_macs(node, tensors) for node in graph.node]
    return {
        "ir": model.ir_version,
        "opset": max(opsets, default=0),
        **ports,
        "operators": dict(sorted(collections.Counter(n.op_type for n in graph.node).items())),
        "parameters": sum(count for count, _ in weights),
        "weights_bytes": sum(count * size for count, size in weights),
        "activation_bytes": _activations(graph, tensors, names),
        "file_bytes": path.stat().st_size,
        "macs": sum(count or 0 for count in counted),
        "uncounted": counted.count(None),
        "needs": sorted(set(_needs(model))),
    }


def _port(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    shape = [d.dim_value or d.dim_param or -1 for d in kind.shape.dim]
    return {"name": value.name, "dtype": DTYPES.get(kind.elem_type, "?"), "shape": shape}


def _tensors(model: Any) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and bytes of an element of each tensor, weights too; free axes are 1.

    Only what the file itself says where nothing can be inferred.
    """
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if not axis.dim_value:
                axis.dim_value = 1
    graph = fixed.graph
    try:
        # What was said of tensors in between may hold for another size of a free axis.
        del graph.value_info[:]
        graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    except Exception:
        graph = model.graph
    found = {
        value.name: (_shape(value), ELEMENT_SIZES.get(value.type.tensor_type.elem_type, 4))
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }
    for weight in model.graph.initializer:
        found[weight.name] = tuple(weight.dims), ELEMENT_SIZES.get(weight.data_type, 4)
    return found


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(max(1, int(axis.dim_value)) for axis in value.type.tensor_type.shape.dim)


def _macs(node: Any, tensors: Mapping[str, tuple[tuple[int, ...], int]]) -> int | None:
    def shape(name: str) -> tuple[int, ...] | None:
        return tensors[name][0] if name in tensors else None

    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    output = next((name for name in node.output if name), "")
    shapes = ([shape(name) for name in node.input], shape(output))
    return macs.count(macs.ONNX, node.op_type, shapes, transposed)


def _activations(
    graph: Any, tensors: Mapping[str, tuple[tuple[int, ...], int]], weights: set[str]
) -> int:
    return peak(
        [([*node.input], [*node.output]) for node in graph.node],
        {n: math.prod(shape) * size for n, (shape, size) in tensors.items() if n not in weights},
        {value.name for value in graph.output},
    )


def _needs(model: Any) -> Iterator[str]:
    """Domain, operator and opset of all nodes but those that a runtime can replace by others."""
    import onnx

    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    for node in _all_nodes(model.graph):
        domain = node.domain or "ai.onnx"
        version = opsets.get(domain, 1)
        schema: Any = None
        with contextlib.suppress(onnx.defs.SchemaError):
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        if schema is None or not (schema.has_function or schema.has_context_dependent_function):
            yield f"{domain} {node.op_type} {version}"


def _all_nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)
