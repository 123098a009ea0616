"""TensorFlow Lite models in the images of the machines that have its library.

IMAGEBUILDER_NIGHTLY tests all bundles on all of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network, pytest.mark.qemu]

NIGHTLY = os.environ.get("IMAGEBUILDER_NIGHTLY") == "1"
BUNDLES = (
    "anomaly-detection", "image-classification", "keyword-spotting", "rock-paper-scissors",
    "visual-wake-words",
) if NIGHTLY else ("keyword-spotting",)  # fmt: skip
MACHINES = ("qemuarm", "qemuarm64", "qemux86-64") if NIGHTLY else ("qemuarm", "qemux86-64")


def imagebuilder(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagebuilder", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    models = ", ".join(f"{{bundle: {name}}}" for name in BUNDLES)
    path = tmp_path / "firmware.yaml"
    path.write_text(
        f"format: 1\nname: lite\nversion: 0.1.0\nmachine: qemuarm64\nmodels: [{models}]\n"
    )
    return path


def test_the_bundles_pass(manifest: Path) -> None:
    machines = [word for name in MACHINES for word in ("--machine", name)]
    done = imagebuilder("test", manifest, *machines)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((manifest.parent / "build" / "results.json").read_text())
    assert {result["machine"] for result in results} == set(MACHINES)
    for result in results:
        assert result["good"], result
        assert tuple(sorted(result["models"])) == BUNDLES
        assert result["skipped"] == 0


def test_riscv64_has_no_library(manifest: Path) -> None:
    done = imagebuilder("validate", manifest, "--machine", "qemuriscv64")
    assert done.returncode == 2
    assert (
        "firmware.yaml:5:11: models[0].bundle: no runtime reads tflite on riscv64 with the engine "
        "debian\n  hint: onnxruntime on riscv64 reads onnx, ort; there is tflite on aarch64, "
        "tflite on x86_64, tflite on armv7"
    ) in done.stderr
