"""FP16: weights are stored in half precision, and computed with in float32.

A processor without half-precision arithmetic would convert around every operator; converting the
weights once, when the model is loaded, has no cost afterwards, is valid for every model, and
halves the file as well.
"""

from __future__ import annotations

from pathlib import Path

LARGEST = 65504.0
"""Largest finite float16."""
SCALED = ("QuantizeLinear", "DequantizeLinear")
"""Operators whose second input is a scale, which may be less than float16 holds well."""


def halve_weights(model: Path, target: Path) -> None:
    """Store float32 weights as float16, each followed by a Cast.

    A tensor that float16 cannot hold, the scales of a quantization, and any of fewer than 16
    elements stay as they are.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    loaded = onnx.load(model)
    graph = loaded.graph
    outside = {value.name for value in (*graph.input, *graph.output)}
    outside |= {name for node in graph.node if node.op_type in SCALED for name in node.input[1:2]}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in outside:
            continue
        weights = numpy_helper.to_array(tensor)
        if weights.size < 16 or np.abs(weights).max() > LARGEST:
            continue
        stored = f"{tensor.name}.fp16"
        name = tensor.name
        casts.append(
            helper.make_node("Cast", [stored], [name], f"{name}.cast", to=TensorProto.FLOAT)
        )
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), stored))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(loaded, target)
