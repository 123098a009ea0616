"""A model that takes as long as is asked."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def slow_model(turns: int) -> bytes:
    """The model of good-float, after a loop of so many turns that changes nothing."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Abs", ["v"], ["v2"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []),
         info("v", TensorProto.FLOAT, ["batch", 3])],
        [info("go_on", TensorProto.BOOL, []), info("v2", TensorProto.FLOAT, ["batch", 3])],
    )  # fmt: skip
    weight = np.arange(6, dtype=np.float32).reshape(3, 2) / 4
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "x0"], ["x"], body=body),
         helper.make_node("MatMul", ["x", "w"], ["y"])],
        "slow",
        [info("x0", TensorProto.FLOAT, ["batch", 3])],
        [info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.int64(turns), "turns"), numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())
