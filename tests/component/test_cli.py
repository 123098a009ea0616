"""The command line: exit codes, what a person is told, and that nobody sees a traceback."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest

from imagebuilder.bundle.signer import read_file_key

EXIT_INPUT = 2
FLOAT = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"


def imagebuilder(folder: Path, *words: object, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "imagebuilder", *map(str, words)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_COLOR": "1", **environment},
    )  # fmt: skip


def test_init_list_validate(tmp_path: Path) -> None:
    folder = tmp_path / "Türklingel 2"
    folder.mkdir()
    assert imagebuilder(folder, "init", "--model", "digits").returncode == 0
    again = imagebuilder(folder, "init")
    assert again.returncode == EXIT_INPUT
    assert "firmware.yaml exists already" in again.stderr
    assert imagebuilder(folder, "validate").returncode == 0
    unlocked = imagebuilder(folder, "lock", "--check")
    assert unlocked.returncode == 1
    assert unlocked.stderr == (
        f"error: there is no {folder}/firmware.lock\n  hint: `imagebuilder lock` writes it\n"
    )
    models = imagebuilder(folder, "list", "models").stdout
    assert "digits" in models
    assert "magika" in models


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["validate"], "there is no firmware.yaml in this folder"),
        (["build", "missing.yaml"], "missing.yaml: no such file"),
        (["inspect", "."], "neither a built image nor a sealed bundle"),
        (["test", "--machine", "nope*"], "there is no firmware.yaml"),
        (["init", "--model", "digit"], "did you mean digits?"),
        (["dance"], "No such command 'dance'"),
        (["lock", "--check", "--update"], "--check and --update exclude each other"),
        (
            ["init", "/proc/x"],
            "cannot write folder /proc/x: No such file or directory\n"
            "  hint: name a folder elsewhere",
        ),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], message: str) -> None:
    done = imagebuilder(tmp_path, *words)
    assert done.returncode == EXIT_INPUT
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_all_mistakes_of_a_manifest_at_once(tmp_path: Path) -> None:
    (tmp_path / "firmware.yaml").write_text(
        "format: 1\nname: x\nversion: '1'\nmachine: qemuarm46\nmodels:\n  - bundle: digitz\n"
    )
    done = imagebuilder(tmp_path, "build")
    assert done.returncode == EXIT_INPUT
    assert done.stderr == (
        f"error: {tmp_path}/firmware.yaml:4:1: machine: no machine is called 'qemuarm46'\n"
        "  hint: did you mean qemuarm64?\n"
        f"{tmp_path}/firmware.yaml:6:5: models[0].bundle: no model is called 'digitz'\n"
        "  hint: did you mean digits?\n"
    )


def test_a_language_model_that_the_machine_cannot_run(tmp_path: Path) -> None:
    text = "format: 1\nname: x\nversion: '1'\nmachine: qemuarm\nmodels:\n  - bundle: %s\n"
    (tmp_path / "firmware.yaml").write_text(text % "smollm2-135m-instruct")
    done = imagebuilder(tmp_path, "validate")
    assert done.returncode == EXIT_INPUT
    assert done.stderr == (
        f"error: {tmp_path}/firmware.yaml:6:5: models[0].bundle: "
        "no runtime reads gguf on armv7 with the engine debian\n"
        "  hint: there is llamacpp on aarch64, llamacpp on x86_64, llamacpp on riscv64\n"
    )


def test_what_needs_no_sealed_bundle_is_told_before_one_is_made(tmp_path: Path) -> None:
    manifest, machines = tmp_path / "firmware.yaml", tmp_path / "machines"
    machines.mkdir()
    (machines / "board.yaml").write_text(
        "format: 1\ndescription: x\narch: riscv64\ncpu: rv64\nmemory: 1GiB\n"
        "storage: {device: sda, size: 4GiB}\nyocto: {machine: x, layers: [meta-rockchip]}\n"
    )
    (tmp_path / "own.cfg").write_text("CONFIG_A\n")
    text = (
        "format: 1\nname: x\nversion: '1'\nmachine: %s\nsearch: [machines]\n"
        "models:\n  - bundle: %s\n    %s\nkernel: {fragments: [own.cfg]}\n"
    )
    empty = str(tmp_path / "cache")
    for values, problems in (
        (("board", "smollm2-135m-instruct", "context: 512"),
         f"{manifest}:4:1: machine: board needs the layer meta-rockchip, of which there is none "
         "for wrynose\n  hint: choose another series, or add it to a series of your own\n"
         f"{manifest}:9:22: kernel.fragments[0]: own.cfg:1: 'CONFIG_A' is not CONFIG_NAME=VALUE\n"),
        (("board", "magika", "threads: 1"),
         f"{manifest}:7:5: models[0].bundle: no runtime reads onnx on riscv64 with the engine "
         "yocto\n  hint: convert the model to ort for onnxruntime-cut; there is onnxruntime on "
         "aarch64, onnxruntime on x86_64\n"),
        (("qemuarm64", "rock-paper-scissors", "runtime: onnxruntime"),
         f"{manifest}:8:5: models[0].runtime: onnxruntime does not read tflite\n"
         "  hint: these do: tflite\n"),
    ):  # fmt: skip
        manifest.write_text(text % values)
        done = imagebuilder(tmp_path, "validate", "--engine", "yocto", IMAGEBUILDER_CACHE=empty)
        assert (done.returncode, done.stderr) == (EXIT_INPUT, f"error: {problems}")


def test_offline_without_a_cache(tmp_path: Path) -> None:
    imagebuilder(tmp_path, "init", "--model", "digits")
    done = imagebuilder(tmp_path, "build", "--offline", IMAGEBUILDER_CACHE=str(tmp_path / "c"))
    assert done.returncode == EXIT_INPUT
    assert "is not in the cache, and --offline forbids to fetch it" in done.stderr
    assert "data.sources.digits" in done.stderr


def test_an_unwritable_cache(tmp_path: Path) -> None:
    imagebuilder(tmp_path, "init", "--model", "digits")
    (tmp_path / "file").write_text("")
    done = imagebuilder(tmp_path, "build", IMAGEBUILDER_CACHE=str(tmp_path / "file"))
    assert done.returncode == EXIT_INPUT
    assert "a file stands where a folder is needed" in done.stderr


def test_clean_removes_only_what_was_made(tmp_path: Path) -> None:
    (tmp_path / "build" / "qemuarm64").mkdir(parents=True)
    (tmp_path / "build" / "qemuarm64" / "artifacts.json").write_text("{}")
    (tmp_path / "build" / "mine").mkdir()
    assert imagebuilder(tmp_path, "clean", "--dry-run").returncode == 0
    assert (tmp_path / "build" / "qemuarm64").exists()
    assert imagebuilder(tmp_path, "clean").returncode == 0
    assert not (tmp_path / "build" / "qemuarm64").exists()
    assert (tmp_path / "build" / "mine").exists()


def test_schemas_are_printed(tmp_path: Path) -> None:
    assert (
        '"title": "firmware.yaml"' in imagebuilder(tmp_path, "export", "schema", "manifest").stdout
    )


TINY = """\
format: 1
name: tiny
version: '1'
task: other
license: {code: MIT, weights: MIT}
source: {path: model.onnx}
inputs: [{name: x0, dtype: float32, shape: [-1, 3]}]
outputs: [{name: y, dtype: float32, shape: [-1, 2]}]
data: {recipe: data.py, evaluation: test}
accuracy: {metric: top1, min: 1}
checks: [{kind: tensors, samples: 16}]
rollback_version: 2
"""
RECIPE = """\
import numpy as np
def load(split, sources):
    return {"x0": np.ones((20, 3), np.float32)}, np.arange(20) % 2
"""


def test_signed_models(tmp_path: Path, signing_key: Path) -> None:
    run = partial(imagebuilder, tmp_path, IMAGEBUILDER_CACHE=str(tmp_path / "cache"))
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(FLOAT / "model.onnx", folder)
    (folder / "data.py").write_text(RECIPE)
    (folder / "bundle.yaml").write_text(TINY)
    manifest = tmp_path / "firmware.yaml"
    text = ("format: 1\nname: f\nversion: '1'\nmachine: qemuarm64\nsearch: [models]\n"
            "models: [{bundle: tiny}]\nverify: {key: key.pub, minimum_version: %d}\n")  # fmt: skip
    manifest.write_text(text % 2)
    done = run("generate", manifest, "--output", "project")
    assert done.returncode == EXIT_INPUT
    assert (f"{manifest}:6:11: models[0].bundle: bad-signature: no regular file bundle.sig"
            in done.stderr)  # fmt: skip
    assert "imagebuilder model build tiny --sign PRIVATE-KEY --output sealed" in done.stderr
    done = run("model", "build", folder, "--sign", "key.pem", "--output", "sealed")
    assert done.returncode == 0, done.stderr
    done = run("generate", manifest, "--output", "project")
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "project").rglob("inferd.json")
    raw = read_file_key(signing_key).public_key()
    assert json.loads(config.read_text())["verify"] == {
        "key": base64.b64encode(raw).decode(), "minimum_version": 2}  # fmt: skip
    (bundle,) = (tmp_path / "project").rglob("*tiny*.tar")
    with tarfile.open(bundle) as archive:
        assert any(name.endswith("/bundle.sig") for name in archive.getnames())
    manifest.write_text(text % 3)
    done = run("generate", manifest, "--output", "project")
    assert "too-old: rollback_version is 2, the least is 3" in done.stderr
    (tmp_path / "key.pub").write_text("no key")
    done = run("validate", manifest)
    assert done.returncode == EXIT_INPUT
    assert f"{manifest}:7:10: verify.key: " in done.stderr
    assert "key.pub: no readable Ed25519 public key in PEM" in done.stderr


def test_a_broken_model_is_a_located_error(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "bad"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"this is no model")
    (folder / "data.py").write_text("")
    (folder / "bundle.yaml").write_text(
        "format: 1\nname: bad\nversion: '1'\ntask: other\nlicense: {code: MIT, weights: MIT}\n"
        "source: {path: model.onnx}\n"
        "inputs: [{name: x, dtype: float32, shape: [1]}]\n"
        "outputs: [{name: y, dtype: float32, shape: [1, 2]}]\n"
        "data: {recipe: data.py, evaluation: test}\naccuracy: {metric: top1, min: 1}\n"
        "checks: [{kind: tensors}]\n"
    )
    done = imagebuilder(tmp_path, "model", "build", folder)
    assert done.returncode == EXIT_INPUT
    assert f"{folder}/bundle.yaml:6:1: source: model.onnx: not a valid ONNX model" in done.stderr
    (folder / "model.onnx").write_bytes(b"")
    done = imagebuilder(tmp_path, "model", "build", folder)
    assert "source: model.onnx: the file is empty" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_as_an_interrupt_does(tmp_path: Path, number: signal.Signals) -> None:
    folder, cache = tmp_path / "tiny", tmp_path / "cache"
    folder.mkdir()
    shutil.copy(FLOAT / "model.onnx", folder)
    (folder / "data.py").write_text("from pathlib import Path\nimport time\n\n"
                                    f"Path({str(tmp_path / 'begun')!r}).touch()\n"
                                    "time.sleep(60)\n")  # fmt: skip
    (folder / "bundle.yaml").write_text(TINY)
    process = subprocess.Popen(
        # Under nohup, or in a script's background, this process ignores some of them.
        ["env", "--default-signal", sys.executable, "-m", "imagebuilder", "model", "build", folder],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NO_COLOR": "1", "IMAGEBUILDER_CACHE": str(cache)},
    )  # fmt: skip
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.endswith("error: interrupted\n")
    assert "Traceback" not in said
    assert not list(cache.rglob(".imagebuilder-*"))


def test_what_runs_on_the_terminal_does_not_outlive_a_killed_builder(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = "import sys; from imagebuilder.run import run_here; run_here(sys.argv[1:])"
    words = ["sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 60', str(pid)]
    process = subprocess.Popen([sys.executable, "-c", code, *words])
    while not pid.exists() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while running(pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(pid.read_text().strip())


def running(pid: str) -> bool:
    """Whether a process exists that is not only waiting to be reaped."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
