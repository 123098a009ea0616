"""Each optimization step on small models that are really transformed and run."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imagebuilder.catalog.bundle_source import TensorSpec, load_bundle_source
from imagebuilder.catalog.optimization import Quantize
from imagebuilder.models.data import Split, whole_inputs
from imagebuilder.models.evaluate import measure
from imagebuilder.models.formats import model_format
from imagebuilder.models.runner import Runner
from imagebuilder.models.steps.dynamic_int8 import quantize_dynamic
from imagebuilder.models.steps.half import halve_weights
from imagebuilder.models.steps.ort_format import convert, required_operators
from imagebuilder.models.steps.prune import prune
from imagebuilder.models.steps.shapes import fix_shapes
from imagebuilder.models.steps.simplify import simplify
from imagebuilder.models.steps.static_int8 import quantize_static
from imagebuilder.models.tries import Workplace

SPEC = (TensorSpec("x", "float32", (1, 32)),)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two layers, and an addition of zero that folds away."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(size=(32, 64)).astype(np.float32),
        "w2": random.normal(size=(64, 4)).astype(np.float32),
        "zero": np.zeros((1, 64), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Identity", ["a"], ["b"], "nothing"),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node("MatMul", ["c", "w2"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


@pytest.fixture
def samples() -> Split:
    inputs = np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32)
    return Split({"x": inputs}, np.zeros(40, np.int64))


def error(model: Path, other: Path, samples: Split) -> float:
    """Largest difference over the largest output."""
    want, got = (Runner(path).run(samples.inputs)[0] for path in (model, other))
    return float(np.abs(want - got).max() / np.abs(want).max())


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_shapes_are_fixed(model: Path, tmp_path: Path) -> None:
    fix_shapes(model, tmp_path / "out.onnx", SPEC)
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 32]


def test_simplification(model: Path, samples: Split, tmp_path: Path) -> None:
    simplify(model, tmp_path / "out.onnx")
    assert operators(tmp_path / "out.onnx") == ["MatMul", "Relu", "MatMul"]
    assert onnx.load(tmp_path / "out.onnx").ir_version == 8
    assert error(model, tmp_path / "out.onnx", samples) < 1e-6


def test_pruning_zeroes_the_least_and_compresses(
    model: Path, samples: Split, tmp_path: Path
) -> None:
    done = prune(model, tmp_path / "out.onnx", 0.5)
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load(p).graph.initializer}
        for p in (model, tmp_path / "out.onnx")
    )
    for name in ("w1", "w2"):
        gone = after[name] == 0
        assert gone.mean() == 0.5
        assert np.abs(before[name][gone]).max() <= np.abs(before[name][~gone]).min()
    assert done.zeros == (32 * 64 + 64 * 4) // 2
    assert done.compressed_after < 0.7 * done.compressed_before
    assert 0 < error(model, tmp_path / "out.onnx", samples) < 1


def test_half_weights(model: Path, samples: Split, tmp_path: Path) -> None:
    halve_weights(model, tmp_path / "out.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)
    assert (tmp_path / "out.onnx").stat().st_size < 0.6 * model.stat().st_size
    assert 0 < error(model, tmp_path / "out.onnx", samples) < 2e-3


def test_weights_too_large_for_half_stay(model: Path, samples: Split, tmp_path: Path) -> None:
    loaded = onnx.load(model)
    for tensor in loaded.graph.initializer:
        if tensor.name == "w1":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1e5, "w1"))
    onnx.save(loaded, model)
    halve_weights(model, tmp_path / "out.onnx")
    kinds = {t.name: t.data_type for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert kinds["w1"] == TensorProto.FLOAT
    assert kinds["w2.fp16"] == TensorProto.FLOAT16
    assert error(model, tmp_path / "out.onnx", samples) < 2e-3


@pytest.mark.parametrize(
    "step",
    [
        Quantize("static"),
        Quantize("static", operators=("MatMul",), per_channel=True),
        Quantize("static", reduce_range=True),
        Quantize("static", calibration="entropy"),
        Quantize("static", calibration="percentile"),
    ],
    ids=str,
)
def test_static_int8(step: Quantize, model: Path, samples: Split, tmp_path: Path) -> None:
    quantize_static(step, model, tmp_path / "out.onnx", samples)
    assert "QuantizeLinear" in operators(tmp_path / "out.onnx")
    assert 0 < error(model, tmp_path / "out.onnx", samples) < 0.2
    weights = [
        numpy_helper.to_array(t)
        for t in onnx.load(tmp_path / "out.onnx").graph.initializer
        if t.data_type == TensorProto.INT8 and len(t.dims) == 2
    ]
    assert len(weights) == 2
    assert (max(np.abs(w.astype(int)).max() for w in weights) <= 64) == step.reduce_range


@pytest.mark.parametrize(
    ("step", "left"),
    [
        (Quantize("static", nodes=("first",)), "w2"),
        (Quantize("static", exclude_nodes=("first",)), "w1"),
        (Quantize("dynamic", exclude_nodes=("first",)), "w1"),
    ],
)
def test_nodes_are_chosen(
    step: Quantize, left: str, model: Path, samples: Split, tmp_path: Path
) -> None:
    if step.mode == "static":
        quantize_static(step, model, tmp_path / "out.onnx", samples)
    else:
        quantize_dynamic(step, model, tmp_path / "out.onnx")
    kinds = {
        t.name: t.data_type
        for t in onnx.load(tmp_path / "out.onnx").graph.initializer
        if len(t.dims) == 2
    }
    assert [n for n, k in kinds.items() if k == TensorProto.FLOAT and n != "zero"] == [left]


def test_dynamic_int8(model: Path, samples: Split, tmp_path: Path) -> None:
    quantize_dynamic(Quantize("dynamic"), model, tmp_path / "out.onnx")
    assert "MatMulInteger" in operators(tmp_path / "out.onnx")
    assert 0 < error(model, tmp_path / "out.onnx", samples) < 0.1


def test_an_input_without_an_axis_for_samples_is_fed_whole() -> None:
    specs = (TensorSpec("x", "float32", (3, 2)), TensorSpec("h", "float32", (1, 5)))
    data = {"x": np.arange(24.0).reshape(4, 3, 2), "h": np.zeros((4, 5))}
    split = Split(data, np.zeros(4), whole_inputs(specs))
    assert {n: a.shape for n, a in split.sample(1).items()} == {"x": (3, 2), "h": (1, 5)}
    assert len(list(split.batches(32))) == 4
    assert split.first(2).inputs["x"][1, 0, 0] == 12


def test_a_weight_that_two_nodes_share_is_loaded_with_exact_products(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), model)
    inputs = np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32)
    samples = Split({"x": inputs}, np.zeros(40, np.int64))
    quantize_static(Quantize("static"), model, tmp_path / "out.onnx", samples)
    assert 0 < error(model, tmp_path / "out.onnx", samples) < 0.2


def input_scale(path: Path) -> float:
    """The scale of the QuantizeLinear that reads the model's input."""
    graph = onnx.load(path).graph
    (node,) = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x"]
    (scale,) = [t for t in graph.initializer if t.name == node.input[1]]
    return float(numpy_helper.to_array(scale))


def test_calibration_methods_and_an_outlier(
    model: Path, samples: Split, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One of 1,280 values is far outside, and the share of percentile leaves little of it out."""
    samples.inputs["x"][-1, 0] = 1000
    scales = {}
    for method in ("minmax", "percentile", "entropy"):
        path = tmp_path / f"{method}.onnx"
        quantize_static(Quantize("static", calibration=method), model, path, samples)
        scales[method] = input_scale(path)
    assert scales["minmax"] == pytest.approx(1000 / 255, rel=0.02)
    # Its share, 99.999 %, reaches into the last bin of so few values.
    assert 0.99 * scales["minmax"] < scales["percentile"] < scales["minmax"]
    # With as many bins as steps, which is ONNX Runtime's default, nothing can be cut off.
    assert scales["entropy"] == pytest.approx(scales["minmax"])
    assert capfd.readouterr().out == ""


def test_conversion_to_the_ort_format(model: Path, samples: Split, tmp_path: Path) -> None:
    quantize_static(Quantize("static"), model, tmp_path / "int8.onnx", samples)
    for source in (model, tmp_path / "int8.onnx"):
        target = tmp_path / "out.ort"
        convert(source, target)
        assert model_format(target) == "ort"
        assert error(source, target, samples) < 1e-6
    assert any("MatMul" in line for line in required_operators(target))


def test_steps_in_order_end_in_a_sealed_form(tmp_path: Path, model: Path) -> None:
    """`measure` on a bundle that is quantized and then converted."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "bundle.yaml").write_text(
        "format: 1\nname: tiny\nversion: '1'\ntask: classification\n"
        "license: {code: MIT, weights: MIT}\nsource: {path: model.onnx}\n"
        "inputs: [{name: x, dtype: float32, shape: [-1, 32]}]\n"
        "outputs: [{name: y, dtype: float32, shape: [-1, 4]}]\n"
        "data: {recipe: data.py, calibration: few, evaluation: test}\n"
        "optimize: [simplify, {prune: 0.1}, {quantize: static, per_channel: true}, ort-format]\n"
        "accuracy: {metric: agreement, min: 80}\nchecks: [{kind: tensors}]\n"
    )
    (folder / "data.py").write_text(
        "import numpy as np\n"
        "def load(split, sources):\n"
        "    chance = np.random.default_rng(split == 'few')\n"
        "    return {'x': chance.normal(size=(100, 32)).astype(np.float32)}, None\n"
    )
    (folder / "model.onnx").write_bytes(model.read_bytes())
    source = load_bundle_source(folder / "bundle.yaml")
    made, split, _ = measure(source, folder / "model.onnx", {}, Workplace(tmp_path))
    assert made.quantization == (
        "simplify, prune 0.1, int8 static all operators per_channel, ort-format"
    )
    assert model_format(made.path) == "ort"
    assert made.report["pruned"]["zeros"] == 204 + 25  # a tenth of each
    assert made.report["required_operators"] == required_operators(made.path)
    assert len(split) == 100
