"""`quantize: auto` on models made to be ruined in a known way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from tflite_network import write_network

from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource, load_bundle_source
from imagebuilder.catalog.optimization import OptimizeStep, Quantize, parse_step, show_step
from imagebuilder.models import runner
from imagebuilder.models import tries as tries_module
from imagebuilder.models.data import Split
from imagebuilder.models.evaluate import Judge
from imagebuilder.models.metrics import metric_named
from imagebuilder.models.optimize import Steps
from imagebuilder.models.runner import Runner
from imagebuilder.models.search import Search, choose, front, search
from imagebuilder.models.tries import Candidate, Workplace

BUNDLE = """\
format: 1
name: tiny
version: "1"
task: classification
license: {code: MIT, weights: MIT}
source: {path: model.onnx}
inputs: [{name: x, dtype: float32, shape: [-1, 64]}]
outputs: [{name: y, dtype: float32, shape: [-1, 8]}]
data: {recipe: data.py, calibration: train, evaluation: test}
accuracy: {metric: agreement, min: 95}
checks: [{kind: tensors}]
"""


@pytest.mark.parametrize(
    "step",
    [
        *(parse_step(name) for name in ("fp16", "simplify", "ort-format")),
        Quantize("dynamic"),
        Quantize("static", ("Conv", "MatMul"), ("a", "b: c"), ("/x, y]",), True, True, "average"),
    ],
)
def test_a_step_is_written_as_it_is_read(step: OptimizeStep) -> None:
    assert parse_step(yaml.safe_load(show_step(step))) == step


def candidate(what: str, size: int, seconds: float, score: float = 90, holds: bool = True):
    return Candidate(what, size, score, (0, 100), seconds, holds)


LOSS = AccuracyFloor("top1", 80, None).loss


@pytest.mark.parametrize(
    ("rows", "taken", "why"),
    [
        ([("float", 100, 1.0), ("a", 50, 1.0)], 1, "the smallest that holds the floor"),
        ([("float", 100, 1.0), ("a", 50, 4.0), ("b", 54, 2.0)], 2,
         "about as small as the smallest that holds the floor (a), and 2.0 times as fast"),
        ([("float", 100, 1.0), ("a", 50, 4.0), ("b", 56, 2.0)], 1,
         "the smallest that holds the floor"),
        ([("float", 100, 1.0), ("a", 50, 4.0), ("b", 52, 2.0), ("c", 54, 2.1, 91)], 3,
         "about as small as the smallest that holds the floor (a), and 1.9 times as fast"),
        ([("float", 100, 1.0), ("a", 20, 1.0, 10, False)], 0, "the smallest that holds the floor"),
    ],
)  # fmt: skip
def test_the_choice(rows, taken, why) -> None:
    assert choose([candidate(*row) for row in rows], LOSS) == (taken, why)


def test_the_front() -> None:
    rows = [candidate("float", 100, 1.0), candidate("small", 50, 2.0), candidate("worse", 60, 3.0),
            candidate("bad", 10, 0.1, holds=False)]  # fmt: skip
    assert [c.front for c in front(rows)] == [True, True, False, False]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times decide nothing here."""
    monkeypatch.setattr(runner, "MEASURED_SECONDS", 0.001)


def made(folder: Path, scaling: str = "Mul", floor: str = "95") -> tuple[BundleSource, Path]:
    """A network with one huge, useless channel, so that the INT8 steps of `scaling` are coarse.

    Most weights are in front of that.
    """
    folder.mkdir()
    random = np.random.default_rng(0)
    width = 1024 if scaling == "Mul" else 64
    spread = np.ones((1, width), np.float32)
    spread[0, 0] = 1e5
    factors = (
        (spread, 1 / spread) if scaling == "Mul" else (np.diag(spread[0]), np.diag(1 / spread[0]))
    )
    weights = {
        "w0": random.normal(size=(64, 256)).astype(np.float32),
        "w1": random.normal(size=(256, width)).astype(np.float32),
        "spread": factors[0],
        "shrink": factors[1],
        "w2": random.normal(size=(width, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["z"], "wide"),
        helper.make_node("MatMul", ["z", "w1"], ["a"], "first"),
        helper.make_node(scaling, ["a", "spread"], ["b"], "ruinous"),
        helper.make_node(scaling, ["b", "shrink"], ["c"], "back"),
        helper.make_node("MatMul", ["c", "w2"], ["d"], "second"),
        helper.make_node("Softmax", ["d"], ["y"], "scores"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    (folder / "data.py").write_text("")
    (folder / "bundle.yaml").write_text(BUNDLE.replace("min: 95", f"min: {floor}"))
    return load_bundle_source(folder / "bundle.yaml"), folder / "model.onnx"


def judged(source: BundleSource, model: Path, width: int) -> tuple[Split, Judge]:
    """Calibration data, and a judge by agreement with `model`."""
    data = np.random.default_rng(1).normal(size=(2, 100, width)).astype(np.float32)
    calibration, evaluation = (Split({"x": part}, np.zeros(100, np.int64)) for part in data)
    labels = Runner(model).choices(evaluation)
    judge = Judge(source.floor, metric_named("agreement"), Split(evaluation.inputs, labels))
    return calibration, judge


def searched(folder: Path, scaling: str = "Mul") -> tuple[Search, Path, Judge]:
    """A search in such a network, the network and its judge."""
    source, model = made(folder / "tiny", scaling)
    calibration, judge = judged(source, model, 64)
    found = search(source, Steps(model, model), calibration, judge, Workplace(folder))
    return found, model, judge


def tries(found: Search) -> list[tuple[str, bool]]:
    """What was tried, and whether it holds the floor."""
    return [(c.what.removeprefix("int8 "), c.holds) for c in found.candidates]


def test_what_ruins_a_model_is_left_alone(tmp_path: Path) -> None:
    found, model, judge = searched(tmp_path)
    # Nothing is left out one by one, since the first try without the ruinous ones holds.
    assert tries(found) == [
        ("as it is", True),
        ("fp16 weights", True),
        ("dynamic all operators", True),
        ("static all operators", False),
        ("static MatMul", True),
        ("static MatMul per_channel", True),
        ("dynamic all operators, fp16 weights", True),
    ]
    # As soon as the first samples show that it fails, the rest is not looked at.
    assert [c.samples for c in found.candidates] == [100, 100, 100, 64, 100, 100, 100]
    taken = found.candidates[found.taken]
    assert taken.holds
    assert taken.bytes < 0.55 * model.stat().st_size
    assert found.steps.path.stat().st_size == taken.bytes
    assert taken.what in found.steps.done
    assert judge.metric.score(judge.evidence(found.steps.path)) == pytest.approx(taken.score)
    assert "seconds" not in str(found.sealed())


def test_no_more_is_left_out_once_a_try_holds(tmp_path: Path) -> None:
    found, _, _ = searched(tmp_path, "Gemm")
    # The rest without MatMul is not tried, since the rest without Gemm holds.
    assert tries(found)[4:] == [
        ("static MatMul/Gemm", False),
        ("static MatMul/Gemm per_channel", False),
        ("static Softmax/MatMul", True),
        ("static Softmax/Gemm/MatMul without 1 nodes", False),
        ("static Softmax/Gemm/MatMul without 1 nodes", False),
        ("static Softmax/MatMul, fp16 weights", True),
    ]


def test_the_most_harmful_nodes_are_left_alone_where_a_type_has_all_weights(tmp_path: Path) -> None:
    found, model, _ = searched(tmp_path, "MatMul")
    # The two that are left alone are the ruinous one and the one behind it.
    assert tries(found)[5:] == [
        ("static MatMul per_channel", False),
        ("static Softmax", False),
        ("static all operators without 1 nodes", False),
        ("static all operators without 2 nodes", True),
        ("static all operators without 2 nodes, fp16 weights", True),
    ]
    assert found.candidates[6].problem == "too large to be taken"
    assert [show_step(step) for step in found.chosen] == [
        "{quantize: static, exclude_nodes: [ruinous, back]}",
        "fp16",
    ]
    assert found.candidates[found.taken].bytes < 0.4 * model.stat().st_size


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, model = made(tmp_path / "tiny")
    calibration, judge = judged(source, model, 64)
    told: list[str] = []

    def interrupt(words: str) -> None:
        told.append(words)
        if len(told) == 5:
            raise KeyboardInterrupt

    kept = tmp_path / "kept"
    (tmp_path / "one").mkdir()
    at = Workplace(tmp_path / "one", kept, interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(source, Steps(model, model), calibration, judge, at)
    assert [words.rpartition(" (")[0] for words in told] == [
        "1: as it is: 100.00, 1.1 MiB, holds",
        "2: fp16 weights: 100.00, 566.5 KiB, holds",
        "3: int8 dynamic all operators: 98.00, 289.9 KiB, holds",
        "4: int8 static all operators: 6.25 on 64 samples, 285.4 KiB, fails",
        "5: int8 static MatMul: 99.00, 290.4 KiB, holds",
    ]
    measured: list[Path] = []
    monkeypatch.setattr(tries_module, "Runner", lambda path: measured.append(path) or Runner(path))
    (tmp_path / "two").mkdir()
    at = Workplace(tmp_path / "two", kept)
    found = search(source, Steps(model, model), calibration, judge, at)
    assert len(found.candidates) == 7
    assert len(measured) == 2
    assert found.steps.path.stat().st_size == found.candidates[found.taken].bytes
    # With another floor all is tried anew.
    other = replace(judge, floor=replace(judge.floor, bound=96.0))
    search(source, Steps(model, model), calibration, other, at)
    assert len(measured) == 9


def test_operators_of_a_tflite_model_are_left_alone(tmp_path: Path) -> None:
    source, _ = made(tmp_path / "tiny", floor="85")
    model = tmp_path / "model.tflite"
    write_network(model)
    calibration, judge = judged(source, model, 160)
    found = search(source, Steps(model, model), calibration, judge, Workplace(tmp_path))
    assert tries(found) == [
        ("as it is", True),
        ("fp16 weights", True),
        ("weights all operators", True),
        ("dynamic all operators", False),
        ("static all operators", False),
        ("static all operators average", False),
        ("static FULLY_CONNECTED", False),
        ("static FULLY_CONNECTED average", False),
        ("static SOFTMAX average", False),
        ("static all operators average without 1 nodes", False),
    ]
    # So great a difference of scales is none that LiteRT runs.
    assert "LiteRT cannot load it" in found.candidates[4].problem
    assert [c.problem for c in found.candidates[8:]] == ["too large to be taken"] * 2
    taken = found.candidates[found.taken]
    assert taken.what == "int8 weights all operators"
    assert taken.bytes < 0.3 * model.stat().st_size
    assert found.steps.path.stat().st_size == taken.bytes
