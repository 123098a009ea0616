"""More clients may wait for QEMU's user network than it would let."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from imagebuilder.target import backlog
from imagebuilder.target.backlog import widen_backlog

LISTENS = """
import socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
time.sleep(float(sys.argv[1]))
listener.listen(1)
print(listener.getsockname()[1], flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def child(delay: float = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that listens as QEMU does, and accepts nothing."""
    words = [sys.executable, "-c", LISTENS, str(delay)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def clients_that_connect(port: int) -> int:
    """How many of 64 wait in the queue side by side."""
    with contextlib.ExitStack() as stack:
        for number in range(64):
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                return number
    return 64


def test_64_clients_wait_where_two_could() -> None:
    with child() as process:
        assert clients_that_connect(port_of(process)) < 5
    with child() as process:
        port = port_of(process)
        assert widen_backlog(process.pid, [port])
        assert clients_that_connect(port) == 64


def test_other_ports_stay_as_they_are(monkeypatch) -> None:
    monkeypatch.setattr(backlog, "PATIENCE", 0.1)
    with child() as process:
        port = port_of(process)
        assert not widen_backlog(process.pid, [port + 1])
        assert widen_backlog(process.pid, [])
        assert clients_that_connect(port) < 5


def test_a_child_that_listens_late_is_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    late = LISTENS.replace("0))", f"{port}))")
    words = [sys.executable, "-c", late, "0.2"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            assert widen_backlog(process.pid, [port])
        finally:
            process.kill()


@pytest.mark.parametrize("reaped", [True, False])
def test_a_process_that_ended_is_left_alone(reaped: bool) -> None:
    with child() as process:
        port = port_of(process)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if reaped:
            process.wait()
        began = time.monotonic()
        assert not widen_backlog(process.pid, [port])
        assert time.monotonic() - began < backlog.PATIENCE / 2


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone may")
def test_no_permission_is_no_failure() -> None:
    with child() as process:
        port = port_of(process)
        code = f"""
import os
from imagebuilder.target.backlog import widen_backlog
os.setuid(65534)
raise SystemExit(widen_backlog({process.pid}, [{port}]))
"""
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
