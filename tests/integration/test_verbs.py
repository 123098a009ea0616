"""The verbs on a real image; a guest that is kept, then tested as a board reached by ssh alone."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.errors import BuildError
from imagebuilder.state import default_cache
from imagebuilder.target.qemu import TargetFailed
from imagebuilder.testing import EmulatedTarget, emulated, faults
from imagebuilder.testing.session import read_session

pytestmark = [pytest.mark.network, pytest.mark.qemu]

MANIFEST = """\
format: 1
name: verbs
version: 0.1.0
machine: qemuarm64
models: [{bundle: digits}]
server: {listen: "127.0.0.1:8080", metrics: true}
image: {ssh: {authorized_keys: [key.pub]}}
tests: [tests/]
"""
OWN_TESTS = """\
import pytest

@pytest.mark.fresh
def test_a_crash(target):
    target.run("touch /data/changed; sync")
    assert any("Kernel panic" in line for line in target.crash())

@pytest.mark.fresh
def test_nothing_of_the_test_before_is_seen(target):
    assert target.is_on
    assert not target.host.file("/data/changed").exists

def test_a_power_cut(target):
    target.power_cut()

def test_it_is_on_again(target, host):
    assert host.run("true").rc == 0
"""


def imagebuilder(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imagebuilder", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"]
    subprocess.run(words, check=True)
    (folder / "firmware.yaml").write_text(MANIFEST)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_own.py").write_text(OWN_TESTS)
    return folder


@pytest.fixture(scope="module")
def kept(project: Path) -> Iterator[str]:
    """What `test --keep` prints; the guest is ended as it says."""
    done = imagebuilder("test", project / "firmware.yaml", "--model", "digits", "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "qemuarm64 is left on" in done.stdout, done.stdout + done.stderr
    yield done.stdout
    (stop,) = re.findall(r"stop: +(.*)", done.stdout)
    port = ssh_port(done.stdout)
    subprocess.run(["sh", "-c", stop], check=True)
    wait_closed(port)
    assert not list(Path("/tmp").glob(f"ib-kept-*/{port}"))


def ssh_port(text: str) -> int:
    return int(re.findall(r"ssh -p (\d+) root@127.0.0.1", text)[0])


def wait_closed(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.1)
    pytest.fail(f"port {port} is still in use")


def test_own_tests_start_fresh(project: Path, kept: str) -> None:
    root = ET.parse(project / "build" / "junit.xml").getroot()
    names = [case.get("name") for case in root.iter("testcase")]
    assert "test_nothing_of_the_test_before_is_seen" in names
    (suite,) = root
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["transport"] == "ssh"
    assert properties["target"] == "QEMU"


def test_a_board_is_tested_by_ssh_alone(project: Path, kept: str) -> None:
    address = f"ssh://root@127.0.0.1:{ssh_port(kept)}"
    output = project / "board"
    done = imagebuilder("test", project / "firmware.yaml", "--target", address,
                        "--output", output)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Times are those of {address}." in done.stdout
    (result,) = json.loads((output / "results.json").read_text())
    assert result["target"] == address
    assert result["boot"] == "-"
    assert result["properties"]["digits.agreement"] == "100 %"
    assert result["passed"] >= 15
    cases = {case.get("name"): case for case in
             ET.parse(output / "junit.xml").getroot().iter("testcase")}  # fmt: skip
    skipped = cases["test_a_power_cut"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == f"{address} is no emulated target: it has no `power_cut`"
    assert cases["test_console_shows_no_panic"].find("skipped") is not None
    assert cases["test_golden_outputs_over_the_api[digits]"].find("skipped") is None


def test_a_board_that_nobody_reaches(project: Path, kept: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = imagebuilder(
            "test",
            project / "firmware.yaml",
            "--target",
            f"ssh://root@127.0.0.1:{port}",
            "--output",
            project / "none",
        )
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


@pytest.fixture(scope="module")
def booted(project: Path, kept: str) -> Iterator[EmulatedTarget]:
    session = read_session(project / "build" / "qemuarm64" / "session.json")
    with emulated(session.guest) as found:
        with pytest.raises(BuildError, match="qemuarm64 is off"):
            found.run("true")
        found.boot()
        found.snapshot()
        yield found


@pytest.fixture
def target(booted: EmulatedTarget) -> EmulatedTarget:
    """As it was right after its boot."""
    booted.prepare(fresh=True)
    return booted


ZEROS = np.zeros((1, 64), np.float32)


def test_verbs(target: EmulatedTarget) -> None:
    target.wait_for_service()
    target.wait_for_port(8080)
    with pytest.raises(BuildError, match="nothing listens on port 81 after 1 s"):
        target.wait_for_port(81, timeout=1)
    with pytest.raises(BuildError, match="nope does not run after 1 s"):
        target.wait_for_service("nope", timeout=1)
    (answer,) = target.infer("digits", {"pixels": ZEROS}).values()
    assert answer.shape == (1, 10)
    with pytest.raises(BuildError, match="digits: status 400: "):
        target.infer("digits", {"nope": ZEROS})
    counted = [value for name, value in target.metrics().items() if "digits" in name]
    assert any(value >= 1 for value in counted)
    target.snapshot("one")
    target.run("echo changed > /data/x; sync; kill -9 $(pidof inferd)")
    target.restore("one")
    assert target.run("cat /data/x").exit_code != 0
    assert target.infer("digits", {"pixels": ZEROS})
    with pytest.raises(BuildError, match="there is no snapshot 'two'"):
        target.restore("two")


def test_faults_of_a_running_device(target: EmulatedTarget) -> None:
    """The quickest of qemu-tests/faults; `test --faults` has them all."""
    (before,) = target.infer("digits", {"pixels": ZEROS}).values()
    faults.swap(target, "digits", "model.onnx")
    said = "/models/digits: digest-mismatch: model.onnx is another file"
    target.wait(lambda: said in target.console.text(), "the reload is not refused", 60)
    (after,) = target.infer("digits", {"pixels": ZEROS}).values()
    assert (after == before).all()
    faults.swap_back(target, "digits")
    faults.kill(target)
    assert target.infer("digits", {"pixels": ZEROS})


def test_damage_to_the_models_is_named(target: EmulatedTarget) -> None:
    (model,) = target.artifacts.models
    target.power_cut()
    contents = read_bundle(default_cache().bundle(model.digest)).folder / "model.onnx"
    faults.damage(target, "models-a", contents.read_bytes())
    with pytest.raises(TargetFailed) as caught:
        target.boot()
    assert str(caught.value).splitlines()[0] == (
        "qemuarm64: inferd: /models/digits: digest-mismatch: model.onnx is another file"
    )


def test_a_qemu_that_is_killed(target: EmulatedTarget) -> None:
    """Said at once with the console's end; a snapshot brings the target back."""
    pid = target.running.pid
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(TargetFailed) as caught:
        target.run("true")
    assert time.monotonic() - began < 30
    assert "qemuarm64: QEMU ended with exit code -9" in str(caught.value)
    assert "console: " in str(caught.value)
    target.prepare(fresh=False)
    assert target.run("true").exit_code == 0


def test_a_debugger_stops_the_kernel(project: Path, kept: str) -> None:
    """The protocol of gdb's `target remote`: where it stopped, one step, go on."""
    words = [sys.executable, "-m", "imagebuilder", "run", project / "firmware.yaml", "--gdb"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        # A shell's background job, as this may be, ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        try:
            said = next(line for line in lines if b"QEMU waits on port" in line)
            port = int(re.findall(rb"port (\d+)", said)[0])
            assert b"set architecture aarch64" in next(lines)
            assert b"linux-image-cloud-arm64-dbg" in next(lines)
            with connect(port) as debugger:
                assert ask_gdb(debugger, b"?").startswith((b"T05", b"S05"))
                assert ask_gdb(debugger, b"s").startswith((b"T05", b"S05"))
                debugger.sendall(packet(b"c"))
                assert any(b"imagebuilder: root" in line for line in lines)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    wait_closed(port)


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def packet(words: bytes) -> bytes:
    return b"$%s#%02x" % (words, sum(words) % 256)


def ask_gdb(debugger: socket.socket, words: bytes) -> bytes:
    debugger.sendall(packet(words))
    answer = b""
    while not re.search(rb"\$[^#]*#..", answer):
        answer += debugger.recv(4096)
    debugger.sendall(b"+")
    return re.findall(rb"\$([^#]*)#..", answer)[0]
