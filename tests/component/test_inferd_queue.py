"""More requests than the server takes, by a model that needs its time."""

import hashlib
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from inferd_host import FIXTURES, Inferd, Running
from slow_model import slow_model

pytestmark = pytest.mark.inferd

TURNS = 20_000
ENDLESS = 2_000_000_000
REQUESTS = 100
QUEUE = 64
BODY = json.dumps(
    {"inputs": [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
).encode()
REQUEST = (
    b"POST /v2/models/fixture/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "slow"
    shutil.copytree(FIXTURES / "good-float", folder)
    slow_down(folder, TURNS)
    return folder


def slow_down(folder: Path, turns: int) -> None:
    raw = slow_model(turns)
    (folder / "model.onnx").write_bytes(raw)
    description = json.loads((folder / "bundle.json").read_text())
    entry = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    description["files"]["model.onnx"] = entry
    (folder / "bundle.json").write_text(json.dumps(description))


def busy_seconds(server: Running) -> float:
    """Seconds of processors that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_work(server: Running) -> None:
    """Until it has computed for a second."""
    deadline = time.monotonic() + 60
    begin = busy_seconds(server)
    while busy_seconds(server) < begin + 1:
        assert time.monotonic() < deadline, "it computes nothing"
        time.sleep(0.05)


def test_a_stop_does_not_wait_for_a_reload(inferd: Inferd, bundle: Path) -> None:
    with inferd.serve(inferd.configure([bundle])) as server:
        connection = send_all(server, 1)[0]
        slow_down(bundle, ENDLESS)
        server.process.send_signal(signal.SIGHUP)
        assert read(connection)[0] == 200
        wait_for_work(server)
        server.process.send_signal(signal.SIGTERM)
        output, errors = server.process.communicate(timeout=15)
    assert (server.process.returncode, errors) == (0, "")
    lines = [json.loads(line)["message"] for line in output.splitlines()]
    assert lines[-2:] == ["stopping", "stopped before a reload had ended"]
    assert not server.ready.exists()


def test_a_run_that_lasts_too_long(inferd: Inferd, bundle: Path) -> None:
    slow_down(bundle, ENDLESS)
    other = inferd.folder / "other"
    shutil.copytree(FIXTURES / "good-float", other)
    rename(other, "other")
    with inferd.serve(inferd.configure([bundle, other], run_limit_ms=500)) as server:
        assert read(send_all(server, 1)[0])[0] == 504
        answer = server.client.post("/v2/models/other/infer", content=BODY)
        assert answer.status_code == 200
        metrics = server.client.get("/metrics").text
        assert read(send_all(server, 1)[0])[1].endswith(
            b'{"error":"the model ran longer than it may"}'
        )
    assert 'inferd_requests_total{model="fixture",code="504"} 1\n' in metrics


def rename(folder: Path, name: str) -> None:
    description = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(description | {"name": name}))


def send_all(server: Running, count: int = REQUESTS) -> list[socket.socket]:
    host, port = server.address.split(":")
    connections = []
    for _ in range(count):
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.sendall(REQUEST)
        connections.append(connection)
    return connections


def read(connection: socket.socket) -> tuple[int, bytes]:
    with connection:
        parts = iter(lambda: connection.recv(65536), b"")
        raw = b"".join(parts)
    return int(raw.split(b" ", 2)[1]), raw


def test_a_full_queue_and_a_stop_with_requests_waiting(inferd: Inferd, bundle: Path) -> None:
    with inferd.serve(inferd.configure([bundle], deadline_ms=600_000)) as server:
        connections = send_all(server)
        assert server.client.get("/v2/health/live").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        answers = [read(connection) for connection in connections]
    done = [raw for status, raw in answers if status == 200]
    refused = [raw for status, raw in answers if status == 503]
    assert len(done) + len(refused) == REQUESTS
    assert len(done) >= QUEUE
    assert all(b'"data":[4.0,5.5]' in raw for raw in done)
    full = [raw for raw in refused if b'{"error":"the queue is full"}' in raw]
    assert full
    assert all(b"\r\nRetry-After: 1\r\n" in raw for raw in full)
