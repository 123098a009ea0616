"""inferd under ThreadSanitizer: its unit tests, and everything at once that has threads of its own.

The loop, the threads that infer and the thread that reloads share models, queue and metrics.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import inferd_host
import pytest
from inferd_host import FIXTURES, Inferd, Running

pytestmark = pytest.mark.inferd

CLIENTS = 6
REQUESTS = 60
X = {"inputs": [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
FIXED_PLACES: Sequence[str] = ("setarch", platform.machine(), "--addr-no-randomize")
"""GCC's ThreadSanitizer does not start where newer kernels put the program."""


@pytest.fixture(scope="module")
def thread_build() -> Path:
    """The folder of the build with ThreadSanitizer."""
    inferd_host.check_tools()
    if shutil.which("setarch") is None:
        pytest.skip("not run: setarch (util-linux) is not installed")
    folder = inferd_host.build_folder("thread")
    inferd_host.compile_into(folder, {"INFERD_THREAD_SANITIZE": "ON"}, "all")
    return folder


@pytest.fixture
def inferd(thread_build: Path, tmp_path: Path) -> Inferd:
    """The program, started where ThreadSanitizer can run."""
    start = tmp_path / "inferd"
    start.write_text(f'#!/bin/sh\nexec {" ".join(FIXED_PLACES)} {thread_build}/inferd "$@"\n')
    start.chmod(0o755)
    return Inferd(start, tmp_path)


def test_the_units(thread_build: Path) -> None:
    # Those of what has threads, or is called by the threads of others.
    names = ("connections", "http", "metrics", "service", "worker")
    files = ",".join(f"*/test_{name}.cpp" for name in names)
    words = [*FIXED_PLACES, thread_build / "tests" / "inferd_tests", f"--source-file={files}"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ThreadSanitizer" not in result.stderr
    ran = re.search(r"test cases: +(\d+) \|", result.stdout)
    assert ran, result.stdout
    assert int(ran[1]) >= 15


def copies(folder: Path) -> list[Path]:
    """Two models, one of them with reference histograms."""
    made = []
    for name, source in (("one", "good-float"), ("two", "good-drift")):
        bundle = shutil.copytree(FIXTURES / source, folder / name)
        data = json.loads((bundle / "bundle.json").read_text())
        (bundle / "bundle.json").write_text(json.dumps({**data, "name": name}))
        made.append(bundle)
    return made


def ask(server: Running, number: int) -> set[int]:
    """The statuses of many requests, some of which may not wait, and some of which nobody reads."""
    seen = set()
    host, port = server.address.split(":")
    with httpx.Client(base_url=f"http://{server.address}", timeout=60) as client:
        for turn in range(REQUESTS):
            path = f"/v2/models/{('one', 'two')[turn % 2]}/infer"
            body = {**X, "parameters": {"timeout": 1}} if turn % 7 == 0 else X
            seen.add(client.post(path, json=body).status_code)
            if turn % 10 == number:
                seen.add(client.get("/metrics").status_code)
                raw = json.dumps(X).encode()
                with socket.create_connection((host, int(port))) as gone:
                    gone.sendall(
                        b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                        % (path.encode(), len(raw), raw)
                    )
    return seen


def test_no_race_while_everything_happens_at_once(inferd: Inferd, tmp_path: Path) -> None:
    config = inferd.configure(copies(tmp_path), queue=4)
    with inferd.serve(config) as server, ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(ask, server, number) for number in range(CLIENTS)]
        while not all(future.done() for future in running):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        seen = set().union(*(future.result() for future in running))
        assert 200 in seen
        assert seen <= {200, 503, 504}
        text = server.client.get("/metrics").text
        assert 'inferd_reloads_total{result="success"} 0' not in text
        assert 'inferd_reloads_total{result="failure"} 0' in text
        stopped = [pool.submit(ask_once, server) for _ in range(CLIENTS)]
        server.process.terminate()
        assert {future.result() for future in stopped} <= {0, 200, 503}
        output, errors = server.process.communicate(timeout=60)
    # ThreadSanitizer ends a program in which it found something with 66.
    assert (server.process.returncode, "ThreadSanitizer" in errors) == (0, False), errors
    assert '"message":"stopping"' in output


def ask_once(server: Running) -> int:
    """The status of one request; 0 where the server was gone already."""
    try:
        return httpx.post(f"http://{server.address}/v2/models/one/infer", json=X).status_code
    except httpx.TransportError:
        return 0
