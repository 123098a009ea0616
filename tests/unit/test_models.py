"""Models: the pure parts, and what unfit models and data lead to."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.bundle.format import Accuracy
from imagebuilder.catalog.bundle_source import BundleSource, load_bundle_source
from imagebuilder.catalog.optimization import parse_step
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import load_split
from imagebuilder.models.evaluate import check_floor, prepare
from imagebuilder.models.inspect import ModelInfo, Port
from imagebuilder.models.make import check_model, check_steps
from imagebuilder.models.metrics import wilson
from imagebuilder.models.runner import spread

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float" / "model.onnx"

BUNDLE = """\
format: 1
name: tiny
version: "1"
task: classification
license: {code: MIT, weights: MIT}
source: {path: model.onnx}
inputs: [{name: x, dtype: float32, shape: [-1, 2]}]
outputs: [{name: y, dtype: float32, shape: [-1, 3]}]
data: {recipe: data.py, evaluation: test}
accuracy: {metric: top1, min: 90, max_drop: 1}
checks: [{kind: tensors}]
"""


def source(tmp_path: Path, recipe: str = "") -> BundleSource:
    folder = tmp_path / "tiny"
    folder.mkdir(exist_ok=True)
    shutil.copy(FIXTURE, folder / "model.onnx")
    (folder / "data.py").write_text("import numpy as np\n" + recipe)
    (folder / "bundle.yaml").write_text(BUNDLE)
    return load_bundle_source(folder / "bundle.yaml")


def split_error(tmp_path: Path, inputs: str, labels: str) -> str:
    recipe = f"def load(split, sources):\n    return {inputs}, np.array({labels})\n"
    with pytest.raises(UserError) as caught:
        load_split(source(tmp_path, recipe), "test", ("data", "evaluation"), {})
    return str(caught.value).split("data.evaluation: ")[1]


X = "{'x': np.zeros((2, 2), np.float32)}"


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        ("{}", "[0, 1]", "the split 'test' must give the inputs x"),
        (X.replace("2, 2", "0, 2"), "[]", "the split 'test' has no samples"),
        (X, "[]", "the split 'test' has no labels"),
        (X, "[0, 0]", "the split 'test' has samples of one class only"),
        (X, "[0, 3]", "the split 'test' has labels outside 0 to 2"),
        (X, "[0, 1, 2]", "the split 'test' has 3 labels for 2 samples"),
        (X, "['a', 'b']", "the split 'test' must have whole numbers as labels, for top1"),
        (X, "[[0, 1], [1, 0]]", "the split 'test' must have one label a sample, for top1"),
        (X.replace("2, 2", "2, 3"), "[0, 1]",
         "the split 'test' gives x with shape (2, 3), not ('N', 2)"),
        (X.replace("float32", "float64"), "[0, 1]",
         "the split 'test' gives x as float64, not float32"),
        (X.replace("zeros((2, 2)", "full((2, 2), np.nan"), "[0, 1]",
         "the split 'test' has a value in x that is no number"),
    ],
)  # fmt: skip
def test_unfit_data(tmp_path: Path, inputs: str, labels: str, message: str) -> None:
    assert split_error(tmp_path, inputs, labels) == message


def test_unfit_data_has_a_place(tmp_path: Path) -> None:
    made = source(tmp_path, "def load(split, sources):\n    return {}, None\n")
    with pytest.raises(UserError) as caught:
        load_split(made, "test", ("data", "evaluation"), {})
    assert str(caught.value) == (
        f"{made.file.path}:9:25: data.evaluation: the split 'test' must give the inputs x"
    )


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    folder = source(tmp_path).folder
    (folder / "data.py").unlink()
    with pytest.raises(UserError) as caught:
        load_bundle_source(folder / "bundle.yaml")
    assert str(caught.value) == (
        f"{folder}/bundle.yaml:9:8: data.recipe: data.py: no such file\n"
        f"  hint: looked for {folder}/data.py"
    )


def test_a_recipe_that_fails(tmp_path: Path) -> None:
    made = source(tmp_path, "def load(split, sources):\n    return sources['x']\n")
    with pytest.raises(BuildError, match=r"load\('test'\) failed: 'x'"):
        load_split(made, "test", ("data", "evaluation"), {})


def info(inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> ModelInfo:
    return ModelInfo(8, 17, inputs, outputs, {}, 0, 0, 0, 0)


def test_a_model_that_is_not_what_was_declared(tmp_path: Path) -> None:
    made = source(tmp_path)
    other = info((Port("x", "float64", ("batch", 4)),), (Port("z", "float32", (1, 3)),))
    with pytest.raises(UserError) as caught:
        check_model(made, other)
    assert [str(p).split("bundle.yaml:")[1] for p in caught.value.problems] == [
        "7:20: inputs[0].dtype: the model has float64, not float32",
        "8:12: outputs[0].name: the model has no output 'y'\n  hint: it has z",
        "8:1: outputs: the model also has 'z'",
    ]


def test_shapes_that_were_not_fixed(tmp_path: Path) -> None:
    made = source(tmp_path)
    free = info((Port("x", "float32", ("batch", "width")),), (Port("y", "float32", ("batch", 3)),))
    with pytest.raises(UserError) as caught:
        check_model(made, free)
    assert str(caught.value).endswith(
        "inputs[0].shape: the model has ['batch', 'width'], not [-1, 2]\n"
        "  hint: the step fix-shapes gives free axes the declared sizes"
    )


STEPS = """\
- fix-shapes
- {quantize: auto}
- {quantize: static, calibration: entropy}
- {quantize: weights, exclude_nodes: [a]}
- fp16
"""


@pytest.mark.parametrize(
    ("model", "problems"),
    [
        (FIXTURE, [
            "optimize[3]: weights alone become INT8 in TensorFlow Lite models only; "
            "`fp16` halves these",
        ]),
        (FIXTURE.parents[1] / "good-tflite" / "model.tflite", [
            "optimize[0]: a TensorFlow Lite model can only be quantized",
            "optimize[2]: of a TensorFlow Lite model only operators, nodes and `average` "
            "can be chosen",
        ]),
    ],
    ids=("onnx", "tflite"),
)  # fmt: skip
def test_steps_that_a_format_does_not_have(
    tmp_path: Path, model: Path, problems: list[str]
) -> None:
    steps = tuple(parse_step(step) for step in yaml.safe_load(STEPS))
    made = dataclasses.replace(source(tmp_path), optimize=steps)
    with pytest.raises(UserError) as caught:
        check_steps(made, model)
    said = [f"{p.key}: {p.what}" for p in caught.value.problems]
    assert said == problems


def test_the_floor(tmp_path: Path) -> None:
    made = source(tmp_path)
    good = Accuracy("top1", 95.0, 94.5, 500, 90.0, 1.0)
    check_floor(made, good, "int8 static all operators")
    with pytest.raises(BuildError) as caught:
        check_floor(made, dataclasses.replace(good, optimized=8.8), "int8 static all operators")
    assert str(caught.value) == (
        "tiny: top1 8.80 % after int8 static all operators, 95.00 % before, on 500 samples: "
        "below the floor of 90 %\n"
        "  hint: quantize fewer `operators`, exclude nodes, or use `quantize: auto`"
    )
    with pytest.raises(BuildError, match="lost more than 1 points"):
        check_floor(made, dataclasses.replace(good, optimized=93.0), "x")


@given(st.floats(0, 100), st.integers(1, 10000))
@settings(max_examples=200)
def test_intervals_hold_the_score(percent: float, samples: int) -> None:
    low, high = wilson(percent, samples)
    assert 0 <= low <= percent + 1e-9
    assert percent - 1e-9 <= high <= 100


@given(st.integers(1, 1000), st.integers(1, 64))
def test_samples_are_spread(samples: int, wanted: int) -> None:
    found = spread(samples, wanted)
    assert len(set(found)) == min(samples, wanted)
    assert max(found) < samples


def test_a_conversion_is_the_last_step(tmp_path: Path) -> None:
    folder = source(tmp_path).folder
    text = BUNDLE.replace("accuracy:", "optimize: [ort-format, fix-shapes]\naccuracy:")
    (folder / "bundle.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_bundle_source(folder / "bundle.yaml")
    assert str(caught.value).endswith(
        "bundle.yaml:10:12: optimize[0]: ort-format must be the last step"
    )


def load_with(tmp_path: Path, old: str, new: str) -> list[str]:
    """Problems of the bundle with one part of its text replaced."""
    folder = source(tmp_path).folder
    assert old in BUNDLE
    (folder / "bundle.yaml").write_text(BUNDLE.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_bundle_source(folder / "bundle.yaml")
    return [str(problem).split("bundle.yaml:")[1] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        ("{kind: tensors}", "{kind: tensors, tolerance: measured, rtol: 0.1, atol: 0.1}", [
            "11:47: checks[0].rtol: the tolerance is measured\n"
            "  hint: leave it out, or have `tolerance: declared`",
            "11:58: checks[0].atol: the tolerance is measured\n"
            "  hint: leave it out, or have `tolerance: declared`",
        ]),
        ("metric: top1", "metric: perplexity", [
            "10:12: accuracy.metric: perplexity does not judge the task classification\n"
            "  hint: fitting: top1, f1, auc, agreement",
            "8:37: outputs[0].shape: perplexity needs an output of [samples, steps, classes]",
            "10:1: accuracy: perplexity needs `max`",
            "10:32: accuracy.min: perplexity is bounded by `max`, not by `min`",
        ]),
        ("shape: [-1, 3]", "shape: [-1, 1]",
         ["8:37: outputs[0].shape: top1 needs an output of at least two classes"]),
        ("code: MIT", "code: ' '", ['5:11: license.code: " " is empty']),
        ("weights: MIT", "weights: ''", ['5:22: license.weights: "" is empty']),
        ("min: 90, ", "", ["10:1: accuracy: top1 needs `min`"]),
        ("data: {recipe: data.py, evaluation: test}\n", "",
         ["1:1: the key `data` is missing"]),
        (", evaluation: test", "", ["9:1: data: the key `evaluation` is missing"]),
        ("evaluation: test", "evaluation: test, calibration: test",
         ["9:43: data.calibration: calibration and evaluation must not be the same split"]),
        ("license: {code: MIT, weights: MIT}\n", "", ["1:1: the key `license` is missing"]),
        ("accuracy:", "optimize: [{quantize: auto}]\naccuracy:", [
            "10:13: optimize[0].quantize: the search for a quantization needs `data.calibration`"]),
        ("accuracy:", "optimize: [{quantize: dynamic}, {quantize: dynamic}]\naccuracy:",
         ["10:33: optimize[1]: a model is quantized once"]),
        ("accuracy:", "optimize: [{prune: 1}]\naccuracy:",
         ["10:13: optimize[0].prune: 1 is more than 0.95"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(
    tmp_path: Path, old: str, new: str, problems: list[str]
) -> None:
    assert load_with(tmp_path, old, new) == problems


def prepared(tmp_path: Path, data: str, recipe: str) -> str:
    """Why a bundle whose model has the inputs x0 [-1, 3] and two classes is not measured."""
    made = source(tmp_path, recipe)
    text = BUNDLE.replace("name: x,", "name: x0,").replace("[-1, 2]", "[-1, 3]")
    text = text.replace("outputs: [{name: y, dtype: float32, shape: [-1, 3]}]",
                        "outputs: [{name: y, dtype: float32, shape: [-1, 2]}]")  # fmt: skip
    made.file.path.write_text(text.replace("evaluation: test", data))
    made = load_bundle_source(made.file.path)
    with pytest.raises(UserError) as caught:
        prepare(made, made.folder / "model.onnx", {})
    return str(caught.value).removeprefix(f"{made.file.path}:")


def test_a_floor_above_the_model_itself(tmp_path: Path) -> None:
    recipe = """
def load(split, sources):
    return {"x0": np.ones((20, 3), np.float32)}, np.arange(20) % 2
"""
    assert prepared(tmp_path, "evaluation: test", recipe) == (
        "10:26: accuracy.min: the model itself reaches 50.00 %, the floor is 90 %"
    )


def test_calibration_with_a_value_that_is_no_number(tmp_path: Path) -> None:
    recipe = """
def load(split, sources):
    fill = np.nan if split == "few" else 1
    return {"x0": np.full((20, 3), fill, np.float32)}, np.arange(20) % 2
"""
    assert prepared(tmp_path, "calibration: few, evaluation: test", recipe) == (
        "9:25: data.calibration: the split 'few' has a value in x0 that is no number"
    )
