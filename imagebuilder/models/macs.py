"""Multiplications with an addition (MACs) of a graph's nodes, by the shapes of their tensors.

An operator that multiplies in no such sum counts as 0, as is usual: only convolutions, matrix
products and recurrent layers do. A bias is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Shape = tuple[int, ...]
Count = Callable[[Sequence[Shape], Shape, bool], int]
"""Shapes of the inputs, of the first output, whether the first input is transposed → MACs."""


def _convolution(weights: int, kernel: slice) -> Count:
    """Each element of the output is a sum over the `kernel` axes of the weights."""
    return lambda inputs, output, _: math.prod(output) * math.prod(inputs[weights][kernel])


def _spread(data: int, weights: int) -> Count:
    """A transposed convolution: each element of the input goes to all that its weights cover."""
    return lambda inputs, _output, _flag: (
        math.prod(inputs[data]) * math.prod(inputs[weights]) // max(1, inputs[data][-1])
    )


def _onnx_spread(inputs: Sequence[Shape], _output: Shape, _flag: bool) -> int:
    """The weights are [channels in, channels out / groups, kernel ...]."""
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(inputs: Sequence[Shape], output: Shape, transposed: bool) -> int:
    """Each element of the output is a sum over the last axis of the first factor."""
    first = inputs[0]
    return math.prod(output) * first[-2 if transposed and len(first) > 1 else -1]


def _recurrent(inputs: Sequence[Shape], _output: Shape, _flag: bool) -> int:
    """`inputs` begin with X [steps, batch, size], W and R [directions, gates * hidden, ...]."""
    steps, batch = inputs[0][:2]
    return steps * batch * (math.prod(inputs[1]) + math.prod(inputs[2]))


_KERNEL_BEHIND = slice(1, None)
"""Of weights [channels out, ...] all axes but the first, for both formats."""

ONNX: Mapping[str, Count] = {
    "Conv": _convolution(1, _KERNEL_BEHIND),
    "ConvInteger": _convolution(1, _KERNEL_BEHIND),
    "QLinearConv": _convolution(3, _KERNEL_BEHIND),
    "ConvTranspose": _onnx_spread,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _product,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
TFLITE: Mapping[str, Count] = {
    "CONV_2D": _convolution(1, _KERNEL_BEHIND),
    "DEPTHWISE_CONV_2D": _convolution(1, slice(1, 3)),
    "FULLY_CONNECTED": _convolution(1, _KERNEL_BEHIND),
    "TRANSPOSE_CONV": _spread(2, 1),
    "BATCH_MATMUL": _product,
}
UNKNOWN = frozenset({
    "If", "Loop", "Scan", "Einsum", "Attention", "DeformConv", "MultiHeadAttention", "FusedMatMul",
    "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QGemm",
    "WHILE", "IF", "CONV_3D", "CONV_3D_TRANSPOSE", "LSTM", "RNN", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN",
})  # fmt: skip
"""Operators that multiply and are not counted: the sum is then a lower bound."""


def count(
    table: Mapping[str, Count],
    operator: str,
    shapes: tuple[Sequence[Shape | None], Shape | None],
    transposed: bool = False,
) -> int | None:
    """MACs of one node, given the shapes of its inputs and its first output; None if unknown."""
    function = table.get(operator)
    if function is None:
        return None if operator in UNKNOWN else 0
    inputs, output = shapes
    known = [shape or () for shape in inputs]
    try:
        return None if output is None else function(known, output, transposed) or None
    except (IndexError, ValueError):
        return None
