"""Operator models: what is carried, what became of them, and the table of it."""

import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.cli.conformance import choose
from imagebuilder.conformance import reference
from imagebuilder.conformance.bundles import bundle_name, write_bundles
from imagebuilder.conformance.cases import Named, read_case
from imagebuilder.conformance.outcome import (
    FAILED,
    PASSED,
    REFERENCE,
    UNSUPPORTED,
    Column,
    Outcome,
    Row,
    Table,
    beside,
    failures,
    of_report,
    read_table,
    worse,
    write_table,
)
from imagebuilder.conformance.page import markdown
from imagebuilder.conformance.reference import judge, reference_outcomes
from imagebuilder.errors import UserError

INFO = helper.make_tensor_value_info


def make_model(folder: Path, value: onnx.ValueInfoProto, *tensors: onnx.TensorProto) -> Path:
    """Identity of one value, with the tensors as the package has them: the input, the output."""
    output = onnx.ValueInfoProto()
    output.CopyFrom(value)
    output.name = "y"
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [output])
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    for kind, tensor in zip(("input", "output"), tensors, strict=False):
        onnx.save_tensor(tensor, data / f"{kind}_0.pb")
    return folder / "model.onnx"


@pytest.mark.parametrize("value", [
    np.float32(3), np.zeros((0, 2), np.int64), np.array([[True]]), np.ones(3, np.float16),
], ids=["scalar", "nothing", "bool", "half"])  # fmt: skip
def test_a_model_becomes_a_bundle(tmp_path: Path, value: np.ndarray) -> None:
    array = np.asarray(value)
    tensor = numpy_helper.from_array(array)
    path = make_model(tmp_path / "test_Same", INFO("x", tensor.data_type, array.shape), tensor,
                      tensor)  # fmt: skip
    case = read_case(path)
    assert (case.name, case.operators, case.unsupported) == ("Same", ("Identity",), "")
    (name,) = write_bundles([case], tmp_path / "bundles")
    description = read_bundle(tmp_path / "bundles" / name).description
    assert description.name == name == bundle_name("Same")
    assert description.inputs[0].shape == array.shape
    assert description.outputs[0].dtype == str(array.dtype)


def test_text_becomes_a_bundle(tmp_path: Path) -> None:
    tensor = helper.make_tensor("t", TensorProto.STRING, [2, 1], ["zwölf".encode(), b""])
    path = make_model(tmp_path / "test_text", INFO("x", TensorProto.STRING, [2, 1]), tensor, tensor)
    case = read_case(path)
    assert case.inputs[0].dtype == "string"
    write_bundles([case], tmp_path / "bundles")
    golden = read_bundle(tmp_path / "bundles" / "text").folder / "golden.safetensors"
    assert b"\x06\0\0\0zw\xc3\xb6lf\0\0\0\0" in golden.read_bytes()


def test_what_no_bundle_carries(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32))
    half = helper.make_tensor("t", TensorProto.BFLOAT16, [2], [0.0, 1.0])
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2])
    for name, value, given, reason in (
        ("sequence", sequence, tensor, "bundles have tensors, no sequence"),
        ("bfloat", INFO("x", TensorProto.BFLOAT16, [2]), half, "there is no dtype BFLOAT16"),
        ("other", INFO("x", TensorProto.DOUBLE, [2]), tensor,
         "the package's data have another type than the model"),
    ):  # fmt: skip
        case = read_case(make_model(tmp_path / f"test_{name}", value, given, given))
        assert case.unsupported == reason
        assert write_bundles([case], tmp_path / "bundles") == {}
    path = make_model(tmp_path / "test_lacks", INFO("x", TensorProto.FLOAT, [2]))
    assert read_case(path).unsupported == "the package has no input_0.pb"


def test_names_of_bundles() -> None:
    assert bundle_name("add_bcast") == "add-bcast"
    assert bundle_name("Add_bcast") != bundle_name("add_Bcast") != bundle_name("add_bcast")
    assert bundle_name("add-bcast") != bundle_name("add_bcast")
    assert all(len(bundle_name("x" * n)) <= 63 for n in range(1, 200))


BUNDLE = {"bundle": "/run/operators/add"}


@pytest.mark.parametrize(("report", "outcome"), [
    ({"pass": True}, Outcome(PASSED)),
    ({"pass": False, "error": "Illegal instruction", "signal": 4},
     Outcome(FAILED, "SIGILL: Illegal instruction")),
    ({"pass": False, "checks": [{"pass": False, "max_abs": 0.25}]},
     Outcome(FAILED, "other output, by 0.25 at most")),
    ({"pass": False, "checks": [{"pass": False, "error": "out of range at /a/b.cc:1"}]},
     Outcome(FAILED, "out of range at b.cc:1")),
    ({"pass": False, "error": "add: Could not find an implementation for Add(6) node with name"},
     Outcome(UNSUPPORTED, "Could not find an implementation for Add(6)")),
], ids=["good", "signal", "output", "error", "no kernel"])  # fmt: skip
def test_outcomes(report: dict[str, object], outcome: Outcome) -> None:
    assert of_report(BUNDLE | report) == outcome


def table(tmp_path: Path, *outcomes: Outcome) -> Table:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32))
    value = INFO("x", TensorProto.FLOAT, [2])
    cases = [read_case(make_model(tmp_path / f"test_m{n}", value, tensor, tensor))
             for n in range(len(outcomes))]  # fmt: skip
    column = Column("board", "cortex-a57", "onnxruntime 1.28.0")
    found = {case.name: outcome for case, outcome in zip(cases, outcomes, strict=True)}
    return Table.join("data 1", cases, [column], [found])


def test_a_table_is_written_read_and_compared(tmp_path: Path) -> None:
    good = Outcome(PASSED)
    before = table(tmp_path / "a", good, good, Outcome(FAILED, "x"), Outcome(UNSUPPORTED, "y"))
    after = table(tmp_path / "b", good, Outcome(FAILED, "z | z"), Outcome(FAILED, "x"), good)
    write_table(before, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == before
    assert worse(before, before) == []
    assert worse(after, before) == ["board: m1: failed: z | z"]
    assert failures(after, "board") == {"z | z": ["m1"], "x": ["m2"]}
    page = markdown(after)
    assert "| board | cortex-a57 | onnxruntime 1.28.0 | 2 | 2 | 0 |" in page
    assert "| m1 | z \\| z |" in page
    assert "| `Identity` | 2 / 2 / 0 |" in page
    assert "| y | 1 | `m3` |" in markdown(before)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(UserError, match=r"table.json: No such file or directory"):
        read_table(path)
    path.write_text('{"rows": {"a": 1}}')
    with pytest.raises(UserError, match=r"table.json: not written by `imagebuilder conformance`"):
        read_table(path)


def test_a_choice_of_models() -> None:
    paths = [Path(f"test_m{n}/model.onnx") for n in range(10)]
    assert choose(paths, (), 3) == [paths[0], paths[3], paths[6]]
    assert choose(paths, ("m1", "m[89]"), None) == [paths[1], paths[8], paths[9]]
    with pytest.raises(UserError, match="no operator model fits conv_\\* or x"):
        choose(paths, ("conv_*", "x"), None)


def test_the_reference_runs_each_model_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (numpy_helper.from_array(np.array([n], np.float32)) for n in (1, 2))
    value = INFO("x", TensorProto.FLOAT, (1,))
    text = helper.make_tensor("x", TensorProto.STRING, (1,), ["é".encode()])
    cases = [
        read_case(make_model(tmp_path / "test_same", value, one, one)),
        read_case(make_model(tmp_path / "test_other", value, one, other)),
        read_case(make_model(tmp_path / "test_text", INFO("x", TensorProto.STRING, (1,)), text,
                             text)),
        read_case(make_model(tmp_path / "test_half", value, one)),
    ]  # fmt: skip
    for case in cases:
        model = onnx.load(case.model)
        model.ir_version = 8
        model.opset_import[0].version = 17
        onnx.save(model, case.model)
    assert reference_outcomes(cases) == {
        "same": Outcome(PASSED),
        "other": Outcome(FAILED, "other output, by 1 at most"),
        "text": Outcome(PASSED),
        "half": Outcome(UNSUPPORTED, "the package has no output_0.pb"),
    }
    monkeypatch.setattr(reference, "run_case", lambda _: signal.raise_signal(signal.SIGKILL))
    assert reference_outcomes(cases[:1]) == {
        "same": Outcome(FAILED, "SIGKILL: its process was ended")
    }


@pytest.mark.parametrize(("got", "want", "passed"), [
    ([1.0009], [1.0], True), ([1.0011], [1.0], False), ([np.nan], [np.nan], True),
    ([np.inf], [np.inf], True), ([np.inf], [1.0], False), ([np.nan], [1.0], False),
    ([1e-6], [0.0], True),
])  # fmt: skip
def test_the_rule_is_that_of_the_selftest(
    got: list[float], want: list[float], passed: bool
) -> None:
    wanted = (Named("y", np.array(want, np.float32)),)
    assert (judge([np.array(got, np.float32)], wanted).status == PASSED) is passed


def test_types_shapes_and_whole_numbers_count() -> None:
    wanted = (Named("y", np.array([1, 2], np.int64)),)
    assert judge([np.array([1, 2], np.int64)], wanted) == Outcome(PASSED)
    for got in (np.array([1, 3], np.int64), np.array([1, 2], np.int32), np.array([[1, 2]])):
        assert judge([got], wanted).status == FAILED


def test_what_fails_on_a_machine_alone() -> None:
    good, bad = Outcome(PASSED), Outcome(FAILED, "why")
    columns = (Column("m", "c", "r"), Column(REFERENCE, "c", "r"))
    rows = {
        name: Row((), {"m": ours, REFERENCE: theirs})
        for name, ours, theirs in (("a", bad, good), ("b", bad, bad), ("c", good, bad))
    }
    assert beside(Table("d", columns, rows), REFERENCE) == ["m: a: passed by python"]
