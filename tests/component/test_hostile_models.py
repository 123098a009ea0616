"""Mutated model files: each is refused or runs, and none takes the builder with it."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.errors import UserError
from imagebuilder.models.text import inspect_text

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
BUNDLES = ROOT / "tests" / "fixtures" / "bundles"
MUTATIONS = int(os.environ.get("IMAGEBUILDER_MUTATIONS", "60"))
"""Of each kind; by hand: 2500, which are 10,000 files."""
X = [["x", "float32", [-1, 3]]]


@pytest.mark.parametrize(
    ("model", "specs"),
    [
        (BUNDLES / "good-float" / "model.onnx", [["x0", "float32", [-1, 3]]]),
        (ROOT / "model-bundles" / "digits" / "digits.onnx", [["pixels", "float32", [-1, 64]]]),
        (BUNDLES / "good-tflite" / "model.tflite", X),
    ],
    ids=["onnx", "digits", "tflite"],
)
def test_mutated_files(model: Path, specs: object) -> None:
    words = [sys.executable, Path(__file__).with_name("forked.py"), model, str(MUTATIONS)]
    done = subprocess.run(
        [*words, json.dumps(specs)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{UNIT}:{ROOT}", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(model.name, found)  # noqa: T201
    assert sum(found.values()) == MUTATIONS
    assert found["refused"] > 0


def test_mutated_gguf_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(UNIT)
    from test_gguf import VALUES, gguf
    from test_model_files import mutated

    good, path, refused = gguf(VALUES), tmp_path / "x.gguf", 0
    # Its long vocabulary would take nearly all changes.
    good = gguf({**VALUES, "tokenizer.ggml.tokens": ["a", "b"]})
    path.write_bytes(good)
    assert inspect_text(path).vocabulary == 2
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(good, random.Random(seed)))
        began = time.process_time()
        try:
            inspect_text(path)
        except UserError as error:
            refused += str(error).startswith("x.gguf: ")
        assert time.process_time() - began <= 5, seed
    print("gguf", {"refused": refused, "of": MUTATIONS})  # noqa: T201
    assert refused > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= 2 << 20
