"""`model-bundles/float_choices.py`: its layers give what ONNX Runtime's operators give."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imagebuilder.catalog import shipped

CHANCE = np.random.default_rng(0)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("float_choices", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = imported(shipped("model-bundles") / "float_choices.py")


def onnx_result(kind: str, x: np.ndarray, weights: list[np.ndarray], **options: Any) -> np.ndarray:
    """One operator on [N, H, W, C] or [N, C], by ONNX Runtime in its own order of axes."""
    names = [f"w{index}" for index in range(len(weights))]
    node = helper.make_node(kind, ["x", *names], ["y"], **options)
    first = np.moveaxis(x, -1, 1) if x.ndim == 4 else x
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, first.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w.astype(np.float32), n)
         for w, n in zip(weights, names, strict=True)],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (result,) = session.run(None, {"x": first.astype(np.float32)})
    return np.moveaxis(result, 1, -1) if x.ndim == 4 and result.ndim == 4 else result


def random(*shape: int) -> np.ndarray:
    return CHANCE.normal(size=shape)


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize(("padding", "auto"), [("same", "SAME_UPPER"), ("valid", "VALID")])
def test_convolutions(
    size: tuple[int, int], strides: tuple[int, int], padding: str, auto: str
) -> None:
    x, bias = random(2, *size, 3), random(5)
    config = {"strides": strides, "padding": padding, "activation": "linear"}
    kernel = random(3, 4, 3, 5)
    found = TOOL.compute("Conv2D", config, {"kernel": kernel, "bias": bias}, [x])
    wanted = onnx_result("Conv", x, [kernel.transpose(3, 2, 0, 1), bias],
                         strides=strides, auto_pad=auto)  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    deep = random(3, 3, 3, 1)
    weights = {"depthwise_kernel": deep, "bias": bias[:3]}
    found = TOOL.compute("DepthwiseConv2D", {**config, "activation": "relu"}, weights, [x])
    wanted = onnx_result("Conv", x, [deep.transpose(2, 3, 0, 1), bias[:3]], group=3,
                         strides=strides, auto_pad=auto)  # fmt: skip
    np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=1e-3, atol=1e-4)


def test_the_other_layers() -> None:
    x, plain = random(2, 9, 8, 3), {"activation": "linear"}
    norm = {"gamma": random(3), "beta": random(3), "moving_mean": random(3),
            "moving_variance": random(3) ** 2}  # fmt: skip
    found = TOOL.compute("BatchNormalization", {"epsilon": 1e-3}, norm, [x])
    wanted = onnx_result("BatchNormalization", x, list(norm.values()), epsilon=1e-3)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    found = TOOL.compute("AveragePooling2D", {"pool_size": (2, 3)}, {}, [x])
    wanted = onnx_result("AveragePool", x, [], kernel_shape=(2, 3), strides=(2, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    kernel, bias, flat = random(6, 4), random(4), random(2, 6)
    found = TOOL.compute("Dense", {"activation": "softmax"}, {"kernel": kernel, "bias": bias},
                         [flat])  # fmt: skip
    wanted = onnx_result("Softmax", onnx_result("Gemm", flat, [kernel, bias]), [], axis=-1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    assert (TOOL.compute("Add", plain, {}, [x, x]) == 2 * x).all()
    assert TOOL.compute("Flatten", plain, {}, [x]).shape == (2, 9 * 8 * 3)
    with pytest.raises(SystemExit, match="no layer LSTM"):
        TOOL.compute("LSTM", plain, {}, [x])


def write_keras(path: Path, dense: np.ndarray) -> None:
    """A functional model x → Dense → Add to x → Dense with softmax, as Keras writes it."""
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "name": "x", "config": {"name": "x"}, "inbound_nodes": []},
        {"class_name": "Dense", "name": "one", "config": {"name": "one", "activation": "relu"},
         "inbound_nodes": [[["x", 0, 0, {}]]]},
        {"class_name": "Add", "name": "sum", "config": {"name": "sum"},
         "inbound_nodes": [[["one", 0, 0, {}], ["x", 0, 0, {}]]]},
        {"class_name": "Dense", "name": "two", "config": {"name": "two", "activation": "softmax"},
         "inbound_nodes": [[["sum", 0, 0, {}]]]},
    ]  # fmt: skip
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
        for layer in layers:
            group = file.create_group(f"model_weights/{layer['name']}")
            names = ["kernel:0", "bias:0"] if layer["class_name"] == "Dense" else []
            group.attrs["weight_names"] = [f"{layer['name']}/{name}" for name in names]
            if names:
                group[f"{layer['name']}/kernel:0"] = dense
                group[f"{layer['name']}/bias:0"] = np.zeros(len(dense))


def test_a_bundle_gets_its_choices(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\n"
        "def load(split, sources):\n"
        "    rows = np.loadtxt(sources['rows'], np.int8)\n"
        "    return {'x': rows}, np.zeros(len(rows), np.int64)\n"
    )
    rows = CHANCE.integers(-128, 128, (120, 4)).astype(np.int8)
    np.savetxt(tmp_path / "rows.txt", rows, "%d")
    dense = random(4, 4)
    write_keras(tmp_path / "model.h5", dense)
    TOOL.main(tmp_path, tmp_path / "model.h5", {"rows": tmp_path / "rows.txt"})
    x = rows / 128
    wanted = ((np.maximum(x @ dense, 0) + x) @ dense).argmax(1)
    assert (tmp_path / "float-choices.txt").read_text().split() == [str(c) for c in wanted]
