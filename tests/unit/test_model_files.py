"""Model files as they are read: good ones, broken ones, and ones made to do harm."""

import random
import resource
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from imagebuilder.errors import UserError
from imagebuilder.models.inspect import SMALL, Port, inspect_model, share
from imagebuilder.models.peak import peak

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float" / "model.onnx"


def test_inspect() -> None:
    found = inspect_model(FIXTURE)
    assert (found.ir, found.opset, found.parameters) == (8, 17, 6)
    assert found.inputs == (Port("x0", "float32", ("batch", 3)),)
    assert found.operators == {"MatMul": 1}
    assert (found.weights_bytes, found.activation_bytes) == (24, 12 + 8)


def test_activations_are_counted_while_they_live() -> None:
    nodes = [(["x"], ["a"]), (["a"], ["b"]), (["a", "b"], ["y"])]
    assert peak(nodes, {"x": 1, "a": 10, "b": 100, "y": 1000}, {"y"}) == 1110


@pytest.mark.parametrize("raw", [b"\0" * 10, b"\x08" * 1000, b"{}", b"PK\3\4" + b"x" * 50,
                                 FIXTURE.read_bytes()[:-40]])  # fmt: skip
def test_what_is_no_model_is_an_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"x\.onnx: not a valid ONNX model"):
        inspect_model(path)


def test_no_format_is_claimed_of_a_file_that_has_none(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\3\4" + b"x" * 50)
    with pytest.raises(UserError) as caught:
        inspect_model(path)
    assert str(caught.value).startswith(
        "model.pt: not a valid ONNX, TensorFlow Lite or GGUF model: "
    )
    assert "hint: a model in the ONNX, TensorFlow Lite or GGUF format is needed" in str(
        caught.value
    )


def test_gigantic_shapes_do_not_hurt(tmp_path: Path) -> None:
    big = [1 << 40, 1 << 40]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, big)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, big)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "x.onnx")
    assert inspect_model(tmp_path / "x.onnx").activation_bytes > 1 << 80


HOSTILE = {
    "cycle": helper.make_graph(
        [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])],
        "g", [], [helper.make_tensor_value_info("b", 1, [1])],
    ),
    "weights elsewhere": helper.make_graph(
        [helper.make_node("Relu", ["w"], ["y"])], "g", [],
        [helper.make_tensor_value_info("y", 1, [1])],
        [onnx.TensorProto(
            name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL,
            external_data=[onnx.StringStringEntryProto(key="location", value="../secret")],
        )],
    ),
    "a weight of no bytes": helper.make_graph(
        [helper.make_node("Relu", ["w"], ["y"])], "g", [],
        [helper.make_tensor_value_info("y", 1, [1])],
        [onnx.TensorProto(name="w", data_type=1, dims=[1 << 40, 1 << 40])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("graph", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_model_is_refused_within_limits(tmp_path: Path, graph: onnx.GraphProto) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(UserError, match=r"x\.onnx: not a valid ONNX model"):
        inspect_model(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 6


def test_limits_grow_with_the_file() -> None:
    assert [share(size) for size in (0, SMALL, SMALL + 1, 2 << 30)] == [1, 1, 2, 16]


def test_mutated_models_do_not_crash_the_builder(tmp_path: Path) -> None:
    good = FIXTURE.read_bytes()
    path = tmp_path / "x.onnx"
    for seed in range(6):
        path.write_bytes(mutated(good, random.Random(seed)))
        said = verdict(path)
        assert said == "valid" or said.startswith("x.onnx: not a valid ONNX model: "), seed


def verdict(path: Path) -> str:
    try:
        inspect_model(path)
    except UserError as error:
        return str(error)
    return "valid"


def mutated(good: bytes, dice: random.Random) -> bytes:
    raw = bytearray(good)
    for _ in range(dice.randint(1, 8)):
        raw[dice.randrange(len(raw))] = dice.randrange(256)
    start = dice.randrange(len(raw))
    piece = bytes(raw[start : start + dice.randint(1, 32)])
    kind = dice.choice(("keep", "truncate", "repeat", "leave out"))
    ends = {"keep": raw, "truncate": raw[:start], "repeat": raw[:start] + 3 * piece + raw[start:],
            "leave out": raw[:start] + raw[start + len(piece):]}  # fmt: skip
    return bytes(ends[kind])
