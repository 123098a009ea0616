"""Operator models in the guest: a sample on every machine, and a runtime that the core cannot run.

IMAGEBUILDER_NIGHTLY runs all of them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINES = ("qemuarm", "qemuarm64", "qemuriscv64", "qemux86-64")
SAMPLE = () if os.environ.get("IMAGEBUILDER_NIGHTLY") else ("--sample", "24")

pytestmark = [pytest.mark.network, pytest.mark.qemu]

MANIFEST = """\
format: 1
name: trixie-runtime
version: 0.1.0
machine: qemuarm64
search: [runtimes]
models: [{bundle: digits, runtime: onnxruntime-trixie}]
"""
RUNTIME = """\
format: 1
description: ONNX Runtime of Debian trixie
formats: [onnx, ort]
backend: onnxruntime
server: inferd
license: MIT
targets:
  aarch64:
    version: 1.21.0
    max_opset: 22
    max_ir: 10
    memory: 48MiB
    storage: 48MiB
    debian:
      packages: [libonnxruntime1.21]
      file: /usr/lib/aarch64-linux-gnu/libonnxruntime.so.1.21
"""


def conformance(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "imagebuilder", "conformance", folder, *words)
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def rows(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    table = json.loads((folder / "build" / "conformance.json").read_text())
    assert table["data"].startswith("libonnx-testdata ")
    return {name: row["outcomes"] for name, row in table["rows"].items()}


def test_a_sample_on_every_machine(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "first" / "firmware.yaml", tmp_path)
    done = conformance(tmp_path, "--machine", "qemu*", *SAMPLE)
    found = rows(tmp_path)
    for machine in MACHINES:
        ran = [s for s in (row[machine]["status"] for row in found.values()) if s != "unsupported"]
        assert len(ran) >= 0.7 * len(found), done.stdout + done.stderr
        assert ran.count("passed") >= 0.9 * len(ran), done.stdout + done.stderr
    assert not [row for row in found.values() for one in row.values() if "SIG" in one["reason"]]
    before = tmp_path / "build" / "conformance.json"
    again = conformance(tmp_path, "--only", "abs", "--baseline", before)
    assert again.returncode == 0, again.stdout + again.stderr
    assert rows(tmp_path)["abs"] == {"qemuarm64": {"status": "passed", "reason": ""}}


def test_a_runtime_with_instructions_that_the_core_has_not(tmp_path: Path) -> None:
    """Debian trixie's library for Arm uses FP16, which a Cortex-A57 lacks."""
    (tmp_path / "firmware.yaml").write_text(MANIFEST)
    (tmp_path / "runtimes").mkdir()
    (tmp_path / "runtimes" / "onnxruntime-trixie.yaml").write_text(RUNTIME)
    done = conformance(tmp_path, "--only", "a[bc]s", "--only", "acos*")
    assert done.returncode == 1, done.stdout + done.stderr
    names = "abs, acos, acos_example, acosh, acosh_example"
    assert f"qemuarm64: FAILED {names}: SIGILL: " in done.stdout
    assert rows(tmp_path)["abs"]["qemuarm64"] == {
        "status": "failed", "reason": "SIGILL: loading the runtime: Illegal instruction"
    }  # fmt: skip
