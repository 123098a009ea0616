"""Real images that do not come up, or go: said within seconds with the console, nothing left."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder import device
from imagebuilder.artifact import Artifact
from imagebuilder.cli.app import App
from imagebuilder.cli.machines import make_bootable
from imagebuilder.cli.pipeline import ask
from imagebuilder.errors import BuildError
from imagebuilder.state import sweep
from imagebuilder.target import console
from imagebuilder.target import qemu as target_qemu
from imagebuilder.target.kernels import MAGICS
from imagebuilder.target.ports import HeldPorts
from imagebuilder.target.progress import Watch
from imagebuilder.target.qemu import Guest, TargetFailed, booted

pytestmark = [pytest.mark.network, pytest.mark.qemu]

MANIFEST = """\
format: 1
name: broken
version: 0.1.0
machine: qemuarm64
models: [{bundle: digits}]
server: {listen: "0.0.0.0:8080", token: none}
"""
SECONDS = 60
"""Far less than any limit of minutes, and enough for a busy host."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("broken") / "firmware.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture(scope="module")
def image(manifest: Path) -> Guest:
    app = App()
    asked = ask(app, manifest, None, "debian")
    return make_bootable(app, asked, locked=False, output=None).guest


@pytest.fixture(autouse=True)
def nothing_is_left(manifest: Path) -> Iterator[None]:
    yield
    wait_until(lambda: not qemus(manifest.parent), "a QEMU is left")


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def qemus(folder: Path) -> list[str]:
    """The command lines of those that have an image of this folder open."""
    lines = map(command_line, pids())
    return [line for line in lines if f"{folder}/" in line and "qemu-system" in line]


def wait_until(done, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def failure(guest: Guest) -> str:
    began = time.monotonic()
    with pytest.raises(TargetFailed) as caught, booted(guest):
        pass
    assert time.monotonic() - began < SECONDS
    assert f"console: {guest.log_folder / 'console.log'}" in str(caught.value)
    return str(caught.value)


def with_command_line(guest: Guest, words: str) -> Guest:
    artifacts = dataclasses.replace(guest.artifacts, command_line=words)
    return dataclasses.replace(guest, artifacts=artifacts)


def test_a_kernel_that_panics(image: Guest) -> None:
    text = failure(with_command_line(image, "console=ttyAMA0 rdinit=/none"))
    assert "qemuarm64: " in text
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in text.splitlines()[0]
    assert "end Kernel panic" in text


@pytest.mark.parametrize("stage", ["power-on", "root", "services"])
def test_a_hang_at(image: Guest, stage: str, monkeypatch) -> None:
    """QEMU stops for good when the console has the stage."""
    log = image.log_folder / "console.log"
    log.unlink(missing_ok=True)
    wanted = device.MARKER + stage if stage in device.STAGES else ""

    class Stopping(Watch):
        def __init__(self, pid: int) -> None:
            super().__init__(pid, idle=2.0)
            threading.Thread(target=stop_when, args=(pid, log, wanted), daemon=True).start()

    monkeypatch.setattr(target_qemu, "Watch", Stopping)
    first = failure(image).splitlines()[0]
    assert first == f"qemuarm64: not ready: nothing has run for 2 s, last stage: {stage}"


def stop_when(pid: int, log: Path, wanted: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        while not log.exists() or wanted not in log.read_text("utf-8", "replace"):
            os.kill(pid, 0)
            time.sleep(0.005)
        os.kill(pid, signal.SIGSTOP)


def test_an_image_of_another_architecture(image: Guest, tmp_path: Path) -> None:
    at, magic = MAGICS["arm"]
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(at) + magic)
    files = (Artifact("kernel", str(kernel), 1, "0" * 64),
             *(f for f in image.artifacts.files if f.kind != "kernel"))  # fmt: skip
    wrong = dataclasses.replace(image, artifacts=dataclasses.replace(image.artifacts, files=files))
    with pytest.raises(BuildError) as caught, booted(wrong):
        pass
    assert str(caught.value) == (
        "qemuarm64: kernel is a kernel for arm, this is an emulated aarch64"
    )


def test_a_flood_and_a_qemu_that_is_killed(image: Guest, monkeypatch) -> None:
    monkeypatch.setattr(console, "MAX_LOG", 1 << 16)
    with booted(image) as target:
        target.start("yes flood > /dev/console")
        wait_until(lambda: target.console.size > 1 << 18, "no flood")
        assert target.run("echo here").stdout == b"here\n"
        log = image.log_folder / "console.log"
        assert log.stat().st_size < (1 << 16) + console.MAX_LINE
        os.kill(target.pid, signal.SIGKILL)
        with pytest.raises(TargetFailed) as caught:
            target.run("true")
    lines = str(caught.value).splitlines()
    assert lines[0] == "qemuarm64: QEMU ended with exit code -9"
    assert "  flood" in lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("verb", ["run", "test"])
def test_the_command_is_ended(image: Guest, manifest: Path, verb: str, number: int) -> None:
    words = [sys.executable, "-m", "imagebuilder", verb, str(manifest)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_until(lambda: qemus(manifest.parent), "no QEMU")
        (line,) = qemus(manifest.parent)
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
    wait_until(lambda: not qemus(manifest.parent), "QEMU goes on")
    for port in re.findall(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-", line):
        with HeldPorts() as held:
            held.hold(int(port))
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert said.endswith(b"error: interrupted\n")
    else:
        sweep(Path("/tmp"))
        sweep(image.log_folder)
    assert not list(image.log_folder.glob(".imagebuilder-*"))
    assert not any(Path(folder).exists() for folder in re.findall(r"/tmp/\.imagebuilder-\w+", line))
