"""Quantized models on emulated processors: AVX2 without VNNI, whose 8-bit products can saturate."""

import platform
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.data import Split
from imagebuilder.models.differences import differ
from imagebuilder.models.processors import Emulator, measured_tolerance, unpack_emulator
from imagebuilder.models.runner import Runner
from imagebuilder.models.sessions import EXACT_PRODUCTS
from imagebuilder.run import run
from imagebuilder.state import default_cache

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="of processors of this kind"),
]

TERMS = 64
LARGEST = {"x": np.ones((1, TERMS), np.float32)}

PLAIN = """\
import sys
import numpy as np
import onnxruntime
for value in "01":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(sys.argv[2], value)
    session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
    print(float(session.run(None, {"x": np.ones((1, 64), np.float32)})[0][0, 0]))
"""


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return unpack_emulator(Fetcher(default_cache(), Log(QUIET)))


class Ones(quantization.CalibrationDataReader):
    """The largest input twice, and the smallest, so that the scale covers both."""

    def __init__(self) -> None:
        self.left = [LARGEST, {"x": -LARGEST["x"]}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.fixture(scope="module")
def saturating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of the largest INT8 numbers; its true sum is `TERMS`."""
    folder = tmp_path_factory.mktemp("saturating")
    weights = numpy_helper.from_array(np.ones((TERMS, 16), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, TERMS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "float.onnx")
    quantization.quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Ones(),
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"WeightSymmetric": True},
    )  # fmt: skip
    return folder / "int8.onnx"


def test_products_of_8_bits_saturate_without_vnni_unless_told_not_to(
    emulator: Emulator, saturating: Path
) -> None:
    key, _ = EXACT_PRODUCTS
    done = run([*emulator.argv("Haswell"), sys.executable, "-c", PLAIN, saturating, key])
    without, told = map(float, done.stdout.split())
    assert without < 0.75 * TERMS
    assert told == pytest.approx(TERMS, rel=0.02)


def test_our_sessions_do_not_saturate_and_what_does_is_caught(
    emulator: Emulator, saturating: Path
) -> None:
    (here,) = Runner(saturating).named([LARGEST])
    assert here["y"][0, 0] == pytest.approx(TERMS, rel=0.02)
    split = Split({"x": np.concatenate([LARGEST["x"]] * 2)}, np.zeros(2))
    found = measured_tolerance(saturating, split, emulator)
    assert list(found.differences) == ["SandyBridge", "Haswell"]
    assert max(found.differences.values()) < 1e-5 * TERMS
    check = TensorsCheck("", 1, found.rtol, found.atol, top1=False)
    saturated = [{"y": here["y"] / 2}]
    assert differ([here], [here], check).within(check)
    assert not differ(saturated, [here], check).within(check)
