"""Broken guests: said once, early, with the console, and nothing is left running."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder.artifact import Artifact, Artifacts
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import UserError
from imagebuilder.target import console
from imagebuilder.target import qemu as target_qemu
from imagebuilder.target.console import Console
from imagebuilder.target.progress import Watch
from imagebuilder.target.qemu import Guest, TargetFailed, booted
from imagebuilder.testing import emulated


@dataclass(frozen=True)
class Fake:
    """A toolbox whose QEMU is a shell script."""

    script: Path

    def argv(self, _program: str) -> list[str]:
        return ["sh", str(self.script)]

    def path(self, relative: str) -> Path:
        return Path("/none") / relative


def guest(folder: Path, script: str) -> Guest:
    path = folder / "qemu é.sh"
    path.write_text(f"echo $$ >'{folder}/pid'\n{script}\n")
    files = tuple(Artifact(kind, kind, 1, "0" * 64) for kind in ("disk", "kernel", "initrd"))
    made = Artifacts(folder, "x", "1", "qemuarm64", "debian", "dev", "", "0.0.0.0:8080", False, (),
                     files)  # fmt: skip
    qemu = make_catalog().machine("qemuarm64").qemu
    assert qemu is not None
    return Guest(made, qemu, Fake(path), "direct", folder / "logs")  # type: ignore[arg-type]


def failure(folder: Path, script: str) -> str:
    began = time.monotonic()
    with pytest.raises(TargetFailed) as caught, booted(guest(folder, script)):
        pass
    assert time.monotonic() - began < 10
    assert_gone(folder)
    return str(caught.value)


def assert_gone(folder: Path) -> None:
    pid = int((folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_qemu_that_dies(tmp_path: Path) -> None:
    text = failure(tmp_path, "echo early; echo 'qemu: no such device' >&2; exit 1")
    assert text.startswith(
        "qemuarm64: QEMU ended with exit code 1: qemu: no such device\n  early\n"
    )
    assert f"console: {tmp_path}/logs/console.log" in text


def test_a_panic(tmp_path: Path) -> None:
    text = failure(tmp_path, "echo '[ 1.2] Kernel panic - not syncing: x'; sleep 60")
    assert text.startswith("qemuarm64: [ 1.2] Kernel panic - not syncing: x\n")


def test_a_target_that_does_not_come_up_fails_every_test(tmp_path: Path) -> None:
    """With the console once, then in a line."""
    (tmp_path / "disk").touch()
    broken = guest(tmp_path, "echo early; echo 'Kernel panic - not syncing: x'; sleep 60")
    broken.log_folder.mkdir()
    with emulated(broken) as target:
        target.begin(warm=True)
        assert not target.is_on
        said = []
        for _ in range(3):
            with pytest.raises(TargetFailed) as caught:
                target.prepare(fresh=True)
            said.append(str(caught.value))
        with pytest.raises(TargetFailed) as caught:
            target.run("true")
    assert said[0].startswith("qemuarm64: Kernel panic - not syncing: x\n  early\n")
    assert {*said[1:], str(caught.value)} == {"qemuarm64: Kernel panic - not syncing: x"}
    assert_gone(tmp_path)


def test_a_start_that_fails(tmp_path: Path) -> None:
    text = failure(tmp_path, "echo 'imagebuilder: failed: no partition root-a'; sleep 60")
    assert text.startswith("qemuarm64: no partition root-a\n")


def test_a_hang_names_the_last_stage(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Watch.__init__, "__defaults__", (1.0, 60.0))
    text = failure(tmp_path, "echo 'imagebuilder: root'; sleep 60 & wait")
    assert text.startswith("qemuarm64: not ready: nothing has run for 1 s, last stage: root\n")


def test_a_guest_that_runs_in_circles(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Watch.__init__, "__defaults__", (60.0, 0.5))
    text = failure(tmp_path, "echo 'imagebuilder: models'; while :; do :; done")
    assert text.startswith(
        "qemuarm64: not ready: 0.5 s of processor time are over, last stage: models\n"
    )


def test_a_flood_fills_neither_memory_nor_disk(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(console, "MAX_LOG", 1 << 20)
    text = failure(tmp_path, "exec yes 'x x x x x x x x x x x x x x x x x x x x'")
    assert "not ready: the console has printed more than 4 MiB, last stage: power-on" in text
    assert (tmp_path / "logs" / "console.log").stat().st_size <= (1 << 20) + 4096


def test_a_console_that_is_closed_in_the_middle(tmp_path: Path) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = Console(process.stdout, tmp_path / "console.log")
        while not found.tail():
            time.sleep(0.01)
        process.stdout.close()
        process.kill()
    found.join()
    assert found.ended
    assert set(found.tail()) == {"y"}


def test_a_missing_qemu(tmp_path: Path) -> None:
    broken = guest(tmp_path, "")

    class None_(Fake):
        def argv(self, _program: str) -> list[str]:
            return ["/no/qemu"]

    wrong = target_qemu.Guest(
        broken.artifacts, broken.qemu, None_(Path("x")), "direct", tmp_path / "logs"
    )  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot start /no/qemu"), booted(wrong):
        pass


def test_no_socket_folder_is_left(tmp_path: Path) -> None:
    failure(tmp_path, f'echo "$@" >{tmp_path}/words; exit 3')
    (folder,) = set(re.findall(r"/tmp/[^ /]+(?=/agent|/qmp)", (tmp_path / "words").read_text()))
    assert not Path(folder).exists()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    import socket
    import sys

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "firmware.yaml").write_text(
            "format: 1\nname: x\nversion: '1'\nmachine: qemuarm64\nmodels: [{bundle: digits}]\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "imagebuilder", "run", tmp_path / "firmware.yaml",
             "--port", f"{port}:8080"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --port {port}:8080: port {port} of this host is in use\n  hint: name another\n"
    )
