"""inferd as a service: metrics, a token, reloads, systemd's protocols, load and slow clients."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from inferd_host import ENVIRONMENT, FIXTURES, Inferd, Running, runtime_library

pytestmark = pytest.mark.inferd

FLOAT = FIXTURES / "good-float"
PATH = "/v2/models/fixture/infer"
X = {"inputs": [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def metrics(server: Running) -> dict[str, float]:
    """Series → value."""
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


SIGNED = FIXTURES / "good-signed"
VERIFY = {"key": "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", "minimum_version": 3}
"""The public key of RFC 8032, section 7.1, test 2, which signed the fixture."""


def test_only_signed_bundles_are_loaded(inferd: Inferd) -> None:
    done = inferd.run("selftest", "--config", inferd.configure([SIGNED], verify=VERIFY))
    assert done.returncode == 0, done.stderr
    old = {**VERIFY, "minimum_version": 4}
    for bundle, verify, why in (
        (FLOAT, VERIFY, "bad-signature: no regular file bundle.sig"),
        (SIGNED, old, "too-old: rollback_version is 3, the least is 4"),
    ):
        done = inferd.run("selftest", "--config", inferd.configure([bundle], verify=verify))
        assert done.returncode == 2
        assert done.stderr == f"inferd: {bundle}: {why}\n"


def test_an_unsigned_bundle_is_not_swapped_in(inferd: Inferd, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SIGNED, folder)
    with inferd.serve(inferd.configure([folder], verify=VERIFY)) as server:
        before = server.client.get("/v2/models/fixture").json()
        shutil.rmtree(folder)
        shutil.copytree(FLOAT, folder)
        reload(server, "failure")
        assert server.client.post(PATH, json=X).is_success
        assert server.client.get("/v2/models/fixture").json() == before


def test_metrics(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FLOAT])) as server:
        for _ in range(3):
            assert server.client.post(PATH, json=X).is_success
        assert server.client.post(PATH, json={}).status_code == 400
        found = metrics(server)
        assert server.client.post("/metrics").status_code == 405
    assert found['inferd_requests_total{model="fixture",code="200"}'] == 3
    assert found['inferd_requests_total{model="fixture",code="400"}'] == 1
    assert found['inferd_http_responses_total{code="200"}'] == 3
    assert found['inferd_http_responses_total{code="400"}'] == 1
    for name in ("inferd_queue_seconds", "inferd_inference_seconds"):
        assert found[f'{name}_count{{model="fixture"}}'] == 3
        assert found[f'{name}_bucket{{model="fixture",le="+Inf"}}'] == 3
        assert 0 < found[f'{name}_sum{{model="fixture"}}'] < 10
    assert found['inferd_model_load_seconds{model="fixture"}'] > 0
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert abs(found["process_start_time_seconds"] - time.time()) < 60
    (info,) = [name for name in found if name.startswith("inferd_model_info")]
    assert 'provider="CPUExecutionProvider"' in info
    assert 'digest="sha256:' in info


def test_metrics_can_be_off(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FLOAT], metrics=False)) as server:
        assert server.client.get("/metrics").status_code == 404


def test_a_token(inferd: Inferd) -> None:
    token = inferd.folder / "token"
    token.write_text("a secret of this test\n")
    with inferd.serve(inferd.configure([FLOAT], token_file=str(token))) as server:
        assert server.client.get("/v2/health/ready").is_success
        for given in (None, "Bearer", "Bearer x", "Basic a secret of this test",
                      "Bearer a secret of this tesT", "Bearer a secret of this test2"):  # fmt: skip
            headers = {} if given is None else {"Authorization": given}
            for path in ("/metrics", "/v2", "/v2/models/fixture"):
                answer = server.client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        headers = {"Authorization": "Bearer a secret of this test"}
        assert server.client.post(PATH, json=X, headers=headers).is_success
        server.process.terminate()
        output, _ = server.process.communicate(timeout=10)
        assert "secret" not in output


@pytest.mark.parametrize("content", ["", "short\n", "x" * 5000])
def test_a_token_that_is_none(inferd: Inferd, content: str) -> None:
    token = inferd.folder / "token"
    token.write_text(content)
    config = inferd.configure([FLOAT], token_file=str(token))
    result = inferd.run("serve", "--config", config)
    assert result.returncode == 2
    assert result.stderr.endswith(f"{token}: a token has 16 to 4096 characters\n")


def test_all_that_is_named_may_be_a_symbolic_link(inferd: Inferd) -> None:
    """As in a ConfigMap of Kubernetes, where a reload finds another folder behind the same link."""
    token = "a token behind links"
    for name, bundle in (("..1", "good-float"), ("..2", "good-labels")):
        (inferd.folder / name).mkdir()
        (inferd.folder / name / "token").write_text(token + "\n")
        (inferd.folder / name / "bundle").symlink_to(FIXTURES / bundle)
        (inferd.folder / name / "runtime.so").symlink_to(runtime_library())
    data = inferd.folder / "..data"
    data.symlink_to("..1")
    for name in ("token", "bundle", "runtime.so"):
        (inferd.folder / name).symlink_to(f"..data/{name}")
    config = inferd.configure(
        [inferd.folder / "bundle"],
        token_file=str(inferd.folder / "token"),
        runtimes={"onnxruntime": str(inferd.folder / "runtime.so")},
    )
    config.rename(inferd.folder / "real.json")
    config.symlink_to("real.json")
    with inferd.serve(config) as server:
        server.client.headers["Authorization"] = f"Bearer {token}"
        before = server.client.get("/v2/models/fixture").json()
        (inferd.folder / "..next").symlink_to("..2")
        (inferd.folder / "..next").rename(data)
        reload(server, "success")
        assert server.client.get("/v2/models/fixture").json() != before


def bundle_of(inferd: Inferd, version: str) -> Path:
    folder = inferd.folder / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FLOAT, folder)
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    return folder


def reload(server: Running, result: str) -> None:
    key = f'inferd_reloads_total{{result="{result}"}}'
    before = metrics(server)[key]
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: metrics(server)[key] == before + 1)


def test_a_reload_and_one_that_is_rolled_back(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([bundle_of(inferd, "1.0.0")])) as server:
        assert server.client.get("/v2/models/fixture").json()["versions"] == ["1.0.0"]
        folder = bundle_of(inferd, "2.0.0")
        reload(server, "success")
        assert server.client.get("/v2/models/fixture").json()["versions"] == ["2.0.0"]
        assert server.client.post(PATH, json=X).is_success

        bundle_of(inferd, "3.0.0")
        (folder / "model.onnx").write_bytes(b"damaged")
        reload(server, "failure")
        assert server.client.get("/v2/models/fixture").json()["versions"] == ["2.0.0"]
        assert server.client.post(PATH, json=X).is_success

        damage_golden(bundle_of(inferd, "4.0.0"))
        reload(server, "failure")
        assert server.client.get("/v2/models/fixture").json()["versions"] == ["2.0.0"]
        assert metrics(server)["inferd_reload_successful"] == 0
        bundle_of(inferd, "5.0.0")
        reload(server, "success")
        assert metrics(server)["inferd_reload_successful"] == 1
        server.process.terminate()
        output, _ = server.process.communicate(timeout=10)
    reasons = [json.loads(line).get("reason") for line in output.splitlines()]
    assert "fixture: its selftest failed" in reasons


def damage_golden(folder: Path) -> None:
    """Another last number, and digests that say so: only running the model tells."""
    import hashlib

    golden = bytearray((folder / "golden.safetensors").read_bytes())
    golden[-2:] = b"\x40\x41"
    (folder / "golden.safetensors").write_bytes(golden)
    description = json.loads((folder / "bundle.json").read_text())
    digest = hashlib.sha256(golden).hexdigest()
    description["files"]["golden.safetensors"]["sha256"] = digest
    (folder / "bundle.json").write_text(json.dumps(description))


def test_a_reload_changes_what_open_connections_may_send(inferd: Inferd) -> None:
    large = {"inputs": [{"name": "words", "datatype": "BYTES", "shape": [1, 2],
                         "data": ["a" * 500_000, "b"]}]}  # fmt: skip
    config = inferd.configure([FLOAT])
    data = json.loads(config.read_text())
    data["models"] = [{"bundle": str(FIXTURES / "good-text")}]
    with inferd.serve(config) as server:
        with httpx.Client(base_url=f"http://{server.address}", timeout=10) as client:
            assert client.post(PATH, json=X).is_success
            config.write_text(json.dumps(data))
            reload(server, "success")
            answer = client.post(PATH, json=large)
        assert answer.status_code == 200, answer.text


def test_a_reload_names_what_it_does_not_change(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT])
    with inferd.serve(config) as server:
        reload(server, "success")
        data = json.loads(config.read_text())
        config.write_text(
            json.dumps({**data, "queue": 7, "listen": "127.0.0.1:9", "metrics": False})
        )
        reload(server, "success")
        server.process.terminate()
        output, _ = server.process.communicate(timeout=10)
    warnings = [json.loads(line) for line in output.splitlines() if "warning" in line]
    assert [line.get("keys") for line in warnings] == [["listen", "metrics", "queue"]]


def test_reloads_under_load_lose_no_request(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([bundle_of(inferd, "1.0.0")])) as server:
        for turn in range(5):
            server.process.send_signal(signal.SIGHUP)
            for _ in range(20):
                answer = server.client.post(PATH, json=X)
                assert answer.status_code == 200, (turn, answer.text)
        wait_for(lambda: metrics(server)['inferd_reloads_total{result="success"}'] >= 1)


def heard_at_last(manager: socket.socket) -> bytes:
    """The next that a service says besides that it lives."""
    said = (manager.recv(4096) for _ in range(200))
    return next(each for each in said if each != b"WATCHDOG=1")


def test_systemd(inferd: Inferd) -> None:
    """Readiness, watchdog, reload, stop and a socket that is already open."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket() as listener,
    ):
        manager.bind(str(inferd.folder / "notify"))
        manager.settimeout(30)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        # As systemd does: the socket as the third descriptor, the variables of sd_listen_fds(3).
        script = 'export LISTEN_PID=$$; exec "$0" serve --config "$1" 3<&"$2"'
        config = inferd.configure([FLOAT], listen="192.0.2.1:8080")
        process = subprocess.Popen(
            ["bash", "-c", script, inferd.program, config, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, "LISTEN_FDS": "1", "WATCHDOG_USEC": "400000",
                 "NOTIFY_SOCKET": str(inferd.folder / "notify")},
        )  # fmt: skip
        try:
            assert manager.recv(4096) == b"READY=1"
            assert [manager.recv(4096) for _ in range(2)] == [b"WATCHDOG=1"] * 2
            url = f"http://{address[0]}:{address[1]}/v2/health/live"
            assert httpx.get(url).json() == {"live": True}
            process.send_signal(signal.SIGHUP)
            reloading = heard_at_last(manager)
            assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reloading)
            now = time.clock_gettime(time.CLOCK_MONOTONIC)
            assert abs(int(reloading.rsplit(b"=")[-1]) / 1e6 - now) < 60
            assert heard_at_last(manager) == b"READY=1"
            process.terminate()
            wait_for(lambda: manager.recv(4096) == b"STOPPING=1")
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def connections(server: Running, count: int):
    host, port = server.address.split(":")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            for _ in range(count)
        ]


def test_no_more_connections_than_allowed(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FLOAT], connections=8)) as server:
        with connections(server, 40) as many:
            many[0].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert many[0].recv(4096).startswith(b"HTTP/1.1 200 ")
            folder = Path(f"/proc/{server.process.pid}/fd")
            sockets = [p for p in folder.iterdir() if "socket" in str(p.readlink())]
            assert len(sockets) <= 8 + 6
        wait_for(lambda: server.client.get("/v2/health/live").is_success)


def test_no_more_connections_than_files(inferd: Inferd) -> None:
    """What is beyond the limit waits to be accepted, and nothing turns or complains meanwhile."""
    config = inferd.configure([FLOAT], connections=200)
    script = inferd.folder / "limited"
    script.write_text(f'#!/bin/sh\nulimit -n 80\nexec "{inferd.program}" "$@"\n')
    script.chmod(0o755)
    with Inferd(script, inferd.folder).serve(config) as server:
        with connections(server, 100) as many:
            many[0].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert many[0].recv(4096).startswith(b"HTTP/1.1 200 ")
        wait_for(lambda: server.client.get("/v2/health/live").is_success)
        server.process.terminate()
        output, errors = server.process.communicate(timeout=30)
    assert "accept()" not in errors
    assert '"connections":16' in output


def test_a_client_that_sends_on_gets_the_answer(inferd: Inferd) -> None:
    """It is refused at once, and only then reads what it was told."""
    head = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"
    with inferd.serve(inferd.configure([FLOAT])) as server:
        for data in (head + b" " * 20_000_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 3_000_000):
            with connections(server, 1) as (connection,):
                with contextlib.suppress(TimeoutError):
                    connection.settimeout(10)
                    connection.sendall(data)
                answer = connection.recv(4096)
                assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


def test_deadlines(inferd: Inferd) -> None:
    slow = {**X, "parameters": {"timeout": 1}}
    with inferd.serve(inferd.configure([FLOAT])) as server:
        answer = server.client.post(PATH, json=slow)
        assert answer.status_code == 504
        assert answer.json() == {"error": "the deadline passed before the model was free"}
        assert server.client.post(PATH, json=X).is_success
        assert metrics(server)['inferd_requests_total{model="fixture",code="504"}'] == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("queue", 0, "queue must be 1 to 100000"),
        ("connections", "many", "connections must be 1 to 10000"),
        ("deadline_ms", 3600001, "deadline_ms must be 1 to 3600000"),
        ("metrics", 1, "metrics must be true or false"),
        ("token_file", 7, "token_file must be a path, or null"),
    ],
)
def test_limits_that_are_none(inferd: Inferd, key: str, value: object, message: str) -> None:
    config = inferd.configure([FLOAT], **{key: value})
    result = inferd.run("selftest", "--config", config)
    assert (result.returncode, result.stderr) == (2, f"inferd: {config}: {message}\n")
