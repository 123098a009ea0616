"""TensorFlow Lite models on the host: told apart, inspected, run, quantized, and refused."""

import random
from pathlib import Path

import numpy as np
import pytest
from test_models import mutated, verdict

from imagebuilder.catalog.bundle_source import TensorSpec
from imagebuilder.catalog.optimization import Quantize
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import Split
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import Port, inspect_model
from imagebuilder.models.runner import Runner
from imagebuilder.models.steps.tflite_int8 import quantize_tflite
from imagebuilder.models.trial import judge, try_model
from imagebuilder.run import Completed

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


def test_calibration_needs_a_signature(tmp_path: Path) -> None:
    split = Split({"x": np.ones((4, 3), np.float32)}, np.zeros(4, np.int64))
    with pytest.raises(BuildError) as caught:
        quantize_tflite(Quantize("static"), DOUBLING, tmp_path / "q.tflite", split)
    assert str(caught.value).startswith("the model has 0 signatures, calibration needs one")
