"""Parity reports: what is compared, where it differs, and what has nothing to compare."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from tflite_network import INPUTS, write_network

from imagebuilder.bundle.format import TensorsCheck, TextModel
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.catalog.bundle_source import load_bundle_source
from imagebuilder.catalog.optimization import Quantize
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.models.data import Split
from imagebuilder.models.differences import differ
from imagebuilder.models.layers import NoLayers, layer_errors
from imagebuilder.models.parity import (
    check_comparable,
    keep_parity,
    kept_parity,
    measure_parity,
    parity_data,
)
from imagebuilder.models.steps.tflite import quantize_tflite
from imagebuilder.models.tries import Candidate as Tried
from imagebuilder.report.parity import complete, parity_files
from imagebuilder.report.parity_page import PARITY
from imagebuilder.state import Cache, sha256_file
from imagebuilder.yamlfile import read_schema

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
CHECK = TensorsCheck("golden.safetensors", 2, rtol=0.1, atol=0.01, top1=True)


def tensors(*rows: list[float]) -> list[dict[str, np.ndarray]]:
    return [{"y": np.array([row], np.float32)} for row in rows]


def test_differences_are_over_all_samples() -> None:
    want = tensors([1.0, 0.0], [0.25, 0.5])
    found = differ(tensors([1.0, 0.005], [0.5, 0.25]), want, CHECK)
    assert (found.samples, found.max_abs, found.max_rel, found.top1) == (2, 0.25, 1.0, 0.5)
    assert found.used == pytest.approx(0.25 / (0.01 + 0.025))
    assert not found.within(CHECK)


@pytest.mark.parametrize(
    ("got", "used", "within"),
    [
        ([1.0, 0.0], 0.0, True),
        ([1.1, 0.0], 0.1 / 0.11, True),
        ([1.0, 0.0101], 1.01, False),
        ([math.nan, 0.0], math.inf, False),
        ([math.inf, 0.0], math.inf, False),
    ],
)
def test_a_planted_difference_is_caught(got: list[float], used: float, within: bool) -> None:
    found = differ(tensors(got), tensors([1.0, 0.0]), CHECK)
    assert found.used == pytest.approx(used, rel=1e-4)
    assert found.within(dataclasses.replace(CHECK, top1=False)) is within


@pytest.mark.parametrize(("got", "want", "dtype", "atol", "within"), [
    (9, 7, "uint8", 2.0, True), (10, 7, "uint8", 2.0, False), (2001, 2000, "int64", 1e-5, False),
    (2**53 + 1, 2**53, "int64", 0.5, False), (1, 0, "bool", 1.0, False), (1, 1, "bool", 0.0, True),
])  # fmt: skip
def test_whole_numbers_are_compared_by_atol_alone(
    got: int, want: int, dtype: str, atol: float, within: bool
) -> None:
    check = TensorsCheck("g", 1, 0.001, atol, top1=False)
    pair = ([{"y": np.array([[value]], dtype)}] for value in (got, want))
    assert differ(*pair, check).within(check) == within


def test_what_is_no_number_equals_itself_only() -> None:
    odd = [math.nan, math.inf]
    assert differ(tensors(odd), tensors(odd), CHECK).used == 0
    assert differ(tensors([0.0, math.inf]), tensors(odd), CHECK).used == math.inf
    assert differ(tensors([math.nan, -math.inf]), tensors(odd), CHECK).used == math.inf


NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_within_is_what_numpy_says(pairs: list[tuple[float, float]]) -> None:
    got, want = ([pair[at] for pair in pairs] for at in (0, 1))
    check = dataclasses.replace(CHECK, top1=False)
    share = differ(tensors(got), tensors(want), check).used
    if abs(share - 1) > 1e-6:
        one, other = (np.array(row, np.float32).astype(np.float64) for row in (got, want))
        assert (share <= 1) == np.allclose(one, other, rtol=check.rtol, atol=check.atol)


def two_layers(path: Path, scale: float = 1.0) -> Path:
    """x[-1, 4] → MatMul → Relu → MatMul → y[-1, 2]."""
    generator = np.random.default_rng(1)
    weights = [generator.normal(size=size).astype(np.float32) for size in ((4, 8), (8, 2))]
    weights[1] *= np.float32(scale)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w0"], ["a"], "first"),
            helper.make_node("Relu", ["a"], ["b"], "relu"),
            helper.make_node("MatMul", ["b", "w1"], ["y"], "second"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(w, f"w{number}") for number, w in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return path


def samples(count: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(2)
    return [{"x": generator.normal(size=(1, 4)).astype(np.float32)} for _ in range(count)]


class Reader(quantization.CalibrationDataReader):
    def __init__(self) -> None:
        self.left = samples(8)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def test_every_tensor_of_a_quantized_model_has_its_error(tmp_path: Path) -> None:
    whole, small = two_layers(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    quantization.quantize_static(
        whole, small, Reader(), activation_type=quantization.QuantType.QInt8
    )
    layers = layer_errors(whole, small, samples(8))
    assert [(layer.tensor, layer.operator) for layer in layers] == [("b", "Relu"), ("y", "MatMul")]
    for layer in layers:
        assert layer.sqnr is not None
        assert 25 < layer.sqnr < 60
        assert 0 < layer.max_abs < 0.05 * layer.largest


def test_a_layer_that_was_changed_stands_out(tmp_path: Path) -> None:
    whole = two_layers(tmp_path / "one.onnx")
    layers = layer_errors(whole, two_layers(tmp_path / "other.onnx", 1.1), samples(4))
    assert [(layer.tensor, layer.sqnr) for layer in layers[:2]] == [("a", None), ("b", None)]
    assert layers[2].sqnr == pytest.approx(20, abs=0.01)  # noise of a tenth is 20 dB
    assert layers[2].max_abs == pytest.approx(0.1 * layers[2].largest, rel=1e-4)


def test_models_without_layers_say_so(tmp_path: Path) -> None:
    whole = two_layers(tmp_path / "float.onnx")
    other = onnx.load(whole)
    for node in other.graph.node:
        for number, name in enumerate(node.output):
            node.output[number] = name if name == "y" else f"{name}.new"
        for number, name in enumerate(node.input):
            node.input[number] = f"{name}.new" if name in ("a", "b") else name
    other.graph.output[0].name = other.graph.node[2].output[0] = "z"
    onnx.save(other, tmp_path / "renamed.onnx")
    with pytest.raises(NoLayers, match=r"^no tensor inside the two models has the same name$"):
        layer_errors(whole, tmp_path / "renamed.onnx", samples(1))
    flat = tmp_path / "model.ort"
    flat.write_bytes(b"\0\0\0\0ORTM")
    with pytest.raises(
        NoLayers, match=r"^a model in the format ort does not show what is inside it$"
    ):
        layer_errors(whole, flat, samples(1))


RECIPE = """\
import numpy as np


def load(split, sources):
    generator = np.random.default_rng(len(split))
    x = generator.normal(size=(64, 4)).astype(np.float32)
    return {"x": x}, None
"""

DEFINITION = """\
format: 1
name: tiny
version: "1.5"
task: classification
license: {code: MIT, weights: MIT}
source: {path: model.onnx}
inputs: [{name: x, dtype: float32, shape: [-1, 4]}]
outputs: [{name: y, dtype: float32, shape: [-1, 2]}]
data: {recipe: data.py, calibration: train, evaluation: test}
optimize: [{quantize: static}]
accuracy: {metric: agreement, min: 50}
checks: [{kind: tensors, samples: 8}]
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[SealedBundle, Path]:
    """A bundle that is really made, and its source model."""
    folder = tmp_path_factory.mktemp("parity") / "tiny"
    folder.mkdir()
    model = two_layers(folder / "model.onnx")
    (folder / "data.py").write_text(RECIPE)
    (folder / "bundle.yaml").write_text(DEFINITION)
    source = load_bundle_source(folder / "bundle.yaml")
    return build_bundle(source, Fetcher(Cache(folder / "cache"), Log(QUIET))), model


TRIED = (
    Tried("as it is", 700, 100.0, (94.0, 100.0), 1e-3, True),
    Tried("int8 dynamic", 500, 40.0, (30.0, 50.0), 1e-9, False),
    Tried("int4", 0, None, None, 0.0, False, problem="no such kernel"),
    Tried("fp16 weights", 300, 100.0, (94.0, 100.0), 1e-9, True),
)


def fits_schema(data: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(read_schema("parity")).validate(data)


def test_a_report_has_places_candidates_and_layers(tiny: tuple[SealedBundle, Path]) -> None:
    parity = measure_parity(*tiny, TRIED, "fp16 weights: the smallest")
    data = json.loads(parity_files(complete(parity_data(parity), ()))[PARITY])
    assert (data["format"], data["name"], data["version"]) == (1, "tiny", "1.5")
    assert data["digest"] == tiny[0].digest
    whole, sealed = data["places"]
    assert (whole["kind"], whole["within"]) == ("float", None)
    assert 0 < whole["difference"]["max_abs"] < 0.2 * data["largest"]
    assert (sealed["kind"], sealed["within"], sealed["difference"]["max_abs"]) == ("host", True, 0)
    assert [one["what"] for one in data["candidates"]] == [
        "float model", "int8 dynamic", "int4", "fp16 weights", "int8 static all operators",
    ]  # fmt: skip
    assert [one["sealed"] for one in data["candidates"]] == [False, False, False, False, True]
    assert [one["front"] for one in data["candidates"]] == [False, False, False, True, False]
    assert [layer["tensor"] for layer in data["layers"]] == ["b", "y"]
    assert data["why"] == "fp16 weights: the smallest"
    fits_schema(data)


def test_a_report_of_another_source_is_refused(
    tiny: tuple[SealedBundle, Path], tmp_path: Path
) -> None:
    bundle, model = tiny
    other = two_layers(tmp_path / "other.onnx", 2.0)
    with pytest.raises(UserError) as caught:
        measure_parity(bundle, other)
    assert str(caught.value) == (
        f"{bundle.folder} was made from the model {sha256_file(model)}, {other} is "
        f"{sha256_file(other)}\n  hint: give the definition that the bundle was made from"
    )


def test_what_is_not_finite_is_null(tiny: tuple[SealedBundle, Path]) -> None:
    parity = measure_parity(*tiny)
    odd = dataclasses.replace(parity, largest=math.inf, layers=(
        dataclasses.replace(parity.layers[0], max_abs=math.nan),
    ))  # fmt: skip
    data = parity_data(odd)
    fits_schema(complete(data, ()))
    assert data["largest"] is None
    assert data["layers"][0]["max_abs"] is None
    json.dumps(data, allow_nan=False)


def test_what_was_measured_is_kept_by_the_digest_of_its_bundle(
    tiny: tuple[SealedBundle, Path], tmp_path: Path
) -> None:
    bundle, cache = tiny[0], Cache(tmp_path)
    assert kept_parity(bundle, cache) is None
    data = parity_data(measure_parity(*tiny))
    keep_parity(data, cache)
    assert kept_parity(bundle, cache) == json.loads(json.dumps(data))
    other = dataclasses.replace(bundle, digest="sha256:" + "0" * 64)
    assert kept_parity(other, cache) is None
    (record,) = (tmp_path / "parity").iterdir()
    record.write_text("{")
    assert kept_parity(bundle, cache) is None


def test_bundles_without_anything_to_compare() -> None:
    bundle = read_bundle(FIXTURES / "good-float")
    language = dataclasses.replace(
        bundle.description, text=TextModel("llama", 1, 1, 1, 1, "gpt2"), checks=()
    )
    for description, message in (
        (bundle.description,
         f"fixture: {bundle.folder} was never evaluated: it has no accuracy and no report.json\n"
         "  hint: `imagebuilder model build fixture` makes one that is"),
        (language,
         "fixture: a language model has no golden tensors and shows no layers to compare\n"
         "  hint: its check is of tokens and perplexity: `imagebuilder test`"),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            check_comparable(dataclasses.replace(bundle, description=description))
        assert str(caught.value) == message


def test_the_layer_that_int8_ruins_is_found_in_a_tensorflow_lite_model(tmp_path: Path) -> None:
    whole, small = tmp_path / "whole.tflite", tmp_path / "small.tflite"
    write_network(whole)
    x = np.random.default_rng(0).normal(size=(16, INPUTS)).astype(np.float32)
    quantize_tflite(Quantize("static"), whole, small, Split({"x": x}, np.zeros(16)))
    layers = layer_errors(whole, small, [{"x": x[at : at + 1]} for at in range(4)])
    found = {layer.tensor: layer for layer in layers}
    assert list(found) == ["ruinous", "back", "wide", "scores", "y"]
    # One huge channel is nearly all of the signal there; behind it nothing of the others is left.
    ratios = {name: layer.sqnr or 0.0 for name, layer in found.items()}
    assert ratios["ruinous"] > 5
    assert max(ratios[name] for name in ("back", "wide", "scores")) < 0.1
