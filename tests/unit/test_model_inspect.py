"""MACs, memory at once and missing kernels of models, against figures worked out by hand."""

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from imagebuilder.catalog import make_catalog
from imagebuilder.cli.model_facts import model_facts
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.support import missing_kernels, read_kernels, supports


def onnx_model(path: Path, nodes: list, inputs: dict, output: list, weights: dict) -> Path:
    """A graph of float32 tensors; `inputs` and `weights` map names to shapes."""
    tensors = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in weights.items()]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        tensors,
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


ONNX_CASES = {
    # [1,3,8,10] * [4,3,3,3] without padding: 4*6*8 elements, each a sum of 27. 960 + 768 bytes.
    "conv": ([helper.make_node("Conv", ["x", "w"], ["y"])],
             {"x": ["n", 3, 8, 10]}, ["n", 4, 6, 8], {"w": [4, 3, 3, 3]}, 4 * 6 * 8 * 27, 1728),
    # Depthwise: 6 channels of 5*5, each a sum of 9.
    "depthwise": ([helper.make_node("Conv", ["x", "w"], ["y"], group=6, pads=[1, 1, 1, 1])],
                  {"x": [1, 6, 5, 5]}, [1, 6, 5, 5], {"w": [6, 1, 3, 3]}, 6 * 25 * 9, 2 * 600),
    # Each of 2*4*4 elements goes to 3 channels of 2*2.
    "transposed": ([helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])],
                   {"x": [1, 2, 4, 4]}, [1, 3, 8, 8], {"w": [2, 3, 2, 2]},
                   2 * 16 * 3 * 4, 4 * (32 + 192)),
    # [2,5,7] x [7,11], then a sum: both factors and the product are alive, then two of 110.
    "matmul": ([helper.make_node("MatMul", ["x", "w"], ["a"]),
                helper.make_node("Add", ["a", "b"], ["y"])],
               {"x": [2, 5, 7]}, [2, 5, 11], {"w": [7, 11], "b": [11]}, 2 * 5 * 11 * 7,
               2 * 110 * 4),
    "gemm, transposed": ([helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)],
                         {"x": [7, 5]}, [5, 11], {"w": [7, 11]}, 5 * 11 * 7, 4 * (35 + 55)),
    # 6 steps of 4 gates of 8 over 3 inputs and 8 of the state.
    "lstm": ([helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8)],
             {"x": [6, 1, 3]}, [6, 1, 1, 8], {"w": [1, 32, 3], "r": [1, 32, 8]},
             6 * 32 * (3 + 8), 4 * (18 + 48)),
    "no sums of products": ([helper.make_node("Mul", ["x", "w"], ["y"])],
                            {"x": [1, 9]}, [1, 9], {"w": [1, 9]}, 0, 72),
}  # fmt: skip


@pytest.mark.parametrize("case", ONNX_CASES.values(), ids=ONNX_CASES)
def test_onnx(tmp_path: Path, case: tuple) -> None:
    *parts, macs, activations = case
    info = inspect_model(onnx_model(tmp_path / "x.onnx", *parts))
    assert (info.macs, info.uncounted, info.activation_bytes) == (macs, 0, activations)


def test_what_cannot_be_counted_is_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unknown", ["x"], ["a"], domain="com.acme"),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    path = onnx_model(tmp_path / "x.onnx", nodes, {"x": [1, 4]}, [1, 2], {"w": [4, 2]})
    info = inspect_model(path)
    assert (info.macs, info.uncounted) == (8, 1)
    place = make_catalog(), make_catalog().machine("qemuarm64")
    facts = dict(model_facts(path, place))
    assert facts["MACs"] == "at least 8: 1 nodes are not counted"
    assert facts["on qemuarm64, onnxruntime 1.28.0"] == "lacks com.acme.Unknown"


TFLITE_CASES = {
    # [1,8,10,3] with 4 filters of 3*3*3: 4*6*8 elements.
    "CONV_2D": ([[1, 8, 10, 3], [4, 3, 3, 3], [1, 6, 8, 4]], 4 * 6 * 8 * 27, 4 * (240 + 192)),
    "DEPTHWISE_CONV_2D": ([[1, 5, 5, 6], [1, 3, 3, 6], [1, 5, 5, 6]], 6 * 25 * 9, 4 * 300),
    "FULLY_CONNECTED": ([[2, 7], [11, 7], [2, 11]], 2 * 11 * 7, 4 * (14 + 22)),
    "BATCH_MATMUL": ([[2, 5, 7], [2, 7, 3], [2, 5, 3]], 2 * 5 * 3 * 7, 4 * (70 + 30)),
    "MUL": ([[1, 9], [1, 9], [1, 9]], 0, 72),
}  # fmt: skip


def tflite_model(path: Path, operator: str, shapes: list[list[int]], version: int = 1) -> Path:
    """One operator on an input and a weight."""
    model, graph, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    weights = schema.BufferT()
    weights.data = np.ones(int(np.prod(shapes[1])) * 4, np.uint8)
    model.version, model.operatorCodes = 3, [code]
    model.buffers = [schema.BufferT(), weights]
    graph.tensors = []
    for index, shape in enumerate(shapes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{index}", shape, int(index == 1)
        graph.tensors.append(tensor)
    node.opcodeIndex, node.inputs, node.outputs = 0, [0, 1], [2]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [node]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


@pytest.mark.parametrize("operator", TFLITE_CASES)
def test_tflite(tmp_path: Path, operator: str) -> None:
    shapes, macs, activations = TFLITE_CASES[operator]
    info = inspect_model(tflite_model(tmp_path / "x.tflite", operator, shapes))
    assert (info.macs, info.uncounted, info.activation_bytes) == (macs, 0, activations)
    assert info.needs == (f"tflite {operator} 1",)


def test_tflite_transposed_convolution(tmp_path: Path) -> None:
    # The sizes of the output come first; each of 4*4*2 elements goes to 3 channels of 2*2.
    from imagebuilder.models import macs

    shapes = [(4,), (3, 2, 2, 2), (1, 4, 4, 2)], (1, 8, 8, 3)
    assert macs.count(macs.TFLITE, "TRANSPOSE_CONV", shapes) == 4 * 4 * 2 * 3 * 4


def test_missing_kernels() -> None:
    kernels = read_kernels("onnxruntime-1.28.0")
    needs = ("ai.onnx Conv 17", "ai.onnx Nope 17", "com.acme X 1", "ai.onnx BitCast 25")
    assert missing_kernels(needs, kernels) == ("Nope", "com.acme.X", "BitCast (version 25)")
    assert read_kernels("nothing-1.0") == {}


def test_every_runtime_for_tensors_has_its_kernels_listed() -> None:
    catalog = make_catalog()
    for name in catalog.names("runtimes"):
        runtime = catalog.runtime(name)
        for target in runtime.targets.values():
            if runtime.server == "inferd":
                assert read_kernels(f"{runtime.backend}-{target.version}"), (name, target.version)


def test_a_newer_model_than_the_runtime_reads() -> None:
    catalog = make_catalog()
    info = ModelInfo(13, 26, (), (), {}, 0, 0, 0, 0, needs=("ai.onnx CumProd 26",))
    found = {m: list(supports(catalog, catalog.machine(m), info, "onnx"))
             for m in ("qemuarm64", "qemuriscv64")}  # fmt: skip
    assert [s.lacks for s in found["qemuarm64"]] == [()]
    assert [s.lacks for s in found["qemuriscv64"]] == [("opset 26", "IR version 13", "CumProd")]


def test_an_operator_newer_than_the_runtime(tmp_path: Path) -> None:
    path = tflite_model(tmp_path / "x.tflite", "CONV_2D", TFLITE_CASES["CONV_2D"][0], version=9)
    catalog = make_catalog()
    found = supports(catalog, catalog.machine("qemuarm64"), inspect_model(path), "tflite")
    assert [s.lacks for s in found] == [("CONV_2D (version 9)",)]
