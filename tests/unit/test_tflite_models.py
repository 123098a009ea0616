"""TensorFlow Lite models on the host: told apart, inspected, run, quantized, and refused."""

import os
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from test_model_files import mutated, verdict
from tflite_network import INPUTS, write_network

from imagebuilder.catalog.bundle_source import TensorSpec
from imagebuilder.catalog.optimization import HalfWeights, Quantize
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import Split
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import Port, inspect_model
from imagebuilder.models.quiet import quiet
from imagebuilder.models.runner import Runner
from imagebuilder.models.steps.tflite import quantize_tflite
from imagebuilder.models.trial import judge, try_model
from imagebuilder.run import Completed, run

BUNDLES = Path(__file__).parents[1] / "fixtures" / "bundles"
DOUBLING = BUNDLES / "good-tflite" / "model.tflite"


def test_formats_are_told_apart_without_a_suffix(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for raw, kind in (
        (DOUBLING.read_bytes(), "tflite"),
        ((BUNDLES / "good-float" / "model.onnx").read_bytes(), "onnx"),
        (b"\x18\0\0\0ORTM....", "ort"),
        (b"GGUF\x03\0\0\0", "gguf"),
        (b"", "onnx"),
    ):
        path.write_bytes(raw)
        assert model_format(path) == kind


def test_inspect() -> None:
    info = inspect_model(DOUBLING)
    assert (info.ir, info.opset, info.parameters, info.weights_bytes) == (3, 0, 0, 0)
    assert info.inputs == (Port("x", "float32", (-1, 3)),)
    assert info.outputs == (Port("y", "float32", (-1, 3)),)
    assert info.operators == {"ADD": 2}
    assert info.activation_bytes == 2 * 3 * 4  # the first is free before the third is made
    assert info.file_bytes == DOUBLING.stat().st_size


def test_mutated_models_do_not_crash_the_builder(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    good = DOUBLING.read_bytes()
    for seed in range(6):
        raw = mutated(good, random.Random(seed))
        path.write_bytes(raw[:4] + b"TFL3" + raw[8:])
        said = verdict(path)
        assert said == "valid" or said.startswith(
            "x.tflite: not a valid TensorFlow Lite model: "
        ), seed


def changed(change: Callable[[Any, Any], None]) -> bytes:
    """The doubling model after a change of its model and graph."""
    model = schema.ModelT.InitFromPackedBuf(DOUBLING.read_bytes(), 0)
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def cycle(_model: Any, graph: Any) -> None:
    graph.operators[0].inputs = [graph.operators[1].outputs[0]] * 2


def gigantic(_model: Any, graph: Any) -> None:
    for tensor in graph.tensors:
        tensor.shape, tensor.shapeSignature = [(1 << 31) - 1] * 4, None


def weights_elsewhere(model: Any, graph: Any) -> None:
    buffer = schema.BufferT()
    buffer.offset, buffer.size = 1 << 40, 1 << 40
    model.buffers.append(buffer)
    graph.tensors[0].buffer = 1


def no_such_tensor(_model: Any, graph: Any) -> None:
    graph.operators[0].inputs = [1 << 30, 0]


WHOLE = DOUBLING.read_bytes()
INVALID = "not a valid TensorFlow Lite model: "
REFUSED = "LiteRT cannot load it: "


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (WHOLE[: len(WHOLE) // 2], f"{INVALID}unpack_from requires a buffer of at least 232 "),
        (b"PK\3\4TFL3" + WHOLE[8:], f"{INVALID}unpack_from requires a buffer of at least 6732"),
        (changed(cycle), f"{INVALID}operator 0 reads 'y' before it is made"),
        (changed(gigantic), f"{REFUSED}tflite/util.cc BytesRequired number of elements overflow"),
        (changed(weights_elsewhere), f"{REFUSED}Constant buffer 1 specified an out of range of"),
        (changed(no_such_tensor), f"{INVALID}list index out of range"),
    ],
    ids=["truncated", "wrong magic", "cycle", "gigantic", "weights elsewhere", "no such tensor"],
)
def test_a_hostile_model_is_refused_within_limits(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(raw)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(UserError) as caught:  # noqa: PT012 - one of the two does
        inspect_model(path)
        try_model(path, [TensorSpec("x", "float32", (-1, 3))])
    assert str(caught.value).startswith(f"x.tflite: {message}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 6


def test_a_damaged_model_cannot_be_run(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(DOUBLING.read_bytes()[:200])
    with pytest.raises(UserError, match=r"^x\.tflite: LiteRT cannot load it: "):
        Runner(path)


def test_a_model_is_tried_before_it_is_measured(tmp_path: Path) -> None:
    inputs = [TensorSpec("x", "float32", (-1, 3))]
    try_model(DOUBLING, inputs)
    path = tmp_path / "x.tflite"
    path.write_bytes(DOUBLING.read_bytes()[:200])
    with pytest.raises(UserError, match=r"^x\.tflite: LiteRT cannot load it: "):
        try_model(path, inputs)
    with pytest.raises(UserError) as caught:
        judge(path, Completed((), -11, b"", b""))
    assert str(caught.value) == (
        "x.tflite: its runtime does not survive running it (SIGSEGV)\n"
        "  hint: the file is damaged, or was made to do harm"
    )


def test_batches_of_any_size() -> None:
    runner = Runner(DOUBLING)
    for rows in (1, 5, 2):
        value = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
        (result,) = runner.run({"x": value})
        assert (result == 4 * value).all()


def test_ranges_are_extremes_or_averages(tmp_path: Path) -> None:
    """One of 41 samples is a hundred times as large as the others."""
    model = tmp_path / "model.tflite"
    write_network(model)
    x = np.ones((41, INPUTS), np.float32)
    x[20] = 100
    scales = {}
    for method in ("minmax", "average"):
        path = tmp_path / f"{method}.tflite"
        step = Quantize("static", calibration=method)
        quantize_tflite(step, model, path, Split({"x": x}, np.zeros(41, np.int64)))
        graph = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0).subgraphs[0]
        first = graph.tensors[graph.operators[0].outputs[0]]
        scales[method] = float(first.quantization.scale[0])
    assert scales["minmax"] == pytest.approx(100 / 255, rel=0.01)
    # 5 % of the large one, and what 20 more samples leave of that.
    assert scales["average"] == pytest.approx((1 + 99 * 0.05 * 0.95**20) / 255, rel=0.01)


def test_calibration_needs_a_signature(tmp_path: Path) -> None:
    split = Split({"x": np.ones((4, 3), np.float32)}, np.zeros(4, np.int64))
    with pytest.raises(BuildError) as caught:
        quantize_tflite(Quantize("static"), DOUBLING, tmp_path / "q.tflite", split)
    assert str(caught.value).startswith("the model has 0 signatures, calibration needs one")


def network(tmp_path: Path, step: Quantize | HalfWeights) -> Path:
    """The network of tflite_network.py after one step."""
    model, target = tmp_path / "model.tflite", tmp_path / "made.tflite"
    write_network(model)
    data = np.random.default_rng(1).normal(size=(16, INPUTS)).astype(np.float32)
    quantize_tflite(step, model, target, Split({"x": data}, np.zeros(16, np.int64)))
    return target


def weight_types(path: Path) -> dict[str, int]:
    """Weights by the node they belong to, with their tensorflow types."""
    graph = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0).subgraphs[0]
    names = {tensor.name.decode(): tensor.type for tensor in graph.tensors}
    return {name.removesuffix(".w"): kind for name, kind in names.items() if name.endswith(".w")}


FLOAT32, FLOAT16, INT8 = 0, 1, 9


@pytest.mark.parametrize(
    ("step", "types"),
    [
        (HalfWeights(), [FLOAT32, FLOAT16, FLOAT16, FLOAT16]),
        (Quantize("weights"), [INT8] * 4),
        (Quantize("dynamic"), [INT8] * 4),
        (Quantize("static", operators=("SOFTMAX",)), [FLOAT32] * 4),
        (Quantize("weights", nodes=("wide",)), [FLOAT32, FLOAT32, INT8, FLOAT32]),
        (Quantize("static", exclude_nodes=("ruinous", "back")), [FLOAT32, FLOAT32, INT8, INT8]),
    ],
    ids=str,
)
def test_steps(step: Quantize | HalfWeights, types: list[int], tmp_path: Path) -> None:
    made = network(tmp_path, step)
    names = ("ruinous", "back", "wide", "scores")
    assert weight_types(made) == dict(zip(names, types, strict=True))
    info = inspect_model(made)
    assert info.inputs == (Port("x", "float32", (-1, INPUTS)),)
    assert info.outputs == (Port("y", "float32", (-1, 8)),)
    (scores,) = Runner(made).run({"x": np.zeros((1, INPUTS), np.float32)})
    assert scores.sum() == pytest.approx(1, abs=0.02)


def test_an_operator_that_the_quantizer_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'Conv' is not a valid TFLOperationName"):
        network(tmp_path, Quantize("static", operators=("Conv",)))


def test_what_litert_tells_everyone_is_not_shown() -> None:
    code = f"from imagebuilder.models.sessions import open_session as o; o(Path({str(DOUBLING)!r}))"
    done = run([sys.executable, "-c", f"from pathlib import Path; {code}"])
    assert (done.stdout, done.stderr) == (b"", b"")


def test_only_what_is_told_by_the_way_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"INFO: made\nERROR: not made\n")
    assert capfd.readouterr().err == "ERROR: not made\n"
