"""The real server, with sanitizers, on a real ONNX Runtime."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import onnxruntime
import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
LIBRARY = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
# The library keeps memory until the process ends, which is not ours to free.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "PATH": os.environ["PATH"]}
X = {"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 1, 1]}


def config(folder: Path, port: int, bundle: Path, **model: object) -> Path:
    path = folder / "inferd é.json"
    path.write_text(json.dumps({
        "format": 1, "listen": f"127.0.0.1:{port}", "runtimes": {"onnxruntime": str(LIBRARY)},
        "models": [{"bundle": str(bundle), **model}],
    }))  # fmt: skip
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def inferd(build: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [build / "inferd", *map(str, words)], capture_output=True, text=True, check=False,
        env=ENVIRONMENT, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(inferd_build: Path, tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    path = config(folder, port, FIXTURES / "good-float")
    ready = folder / "ready"
    command = [inferd_build / "inferd", "serve", "--config", path, "--ready-file", ready]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert not ready.exists()


def test_unit_tests(inferd_build: Path, run_checked) -> None:
    assert "SUCCESS" in run_checked(inferd_build / "tests" / "inferd_tests")


@pytest.mark.parametrize("target", ["description", "golden", "infer"])
def test_fuzz_targets_survive_changes(inferd_build: Path, run_checked, tmp_path, target) -> None:
    (tmp_path / "infer").write_text(json.dumps({"id": "1", "inputs": [X], "outputs": []}))
    files = {
        "description": sorted(FIXTURES.glob("*/bundle.json")),
        "golden": sorted(FIXTURES.glob("*/golden.safetensors")),
        "infer": [tmp_path / "infer"],
    }[target]
    runs = 20000 // len(files)
    run_checked(inferd_build / "fuzz" / f"fuzz_{target}", str(runs), *files)


def test_health_and_metadata(server: httpx.Client) -> None:
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v2").json()["name"] == "inferd"
    metadata = server.get("/v2/models/fixture").json()
    assert metadata["inputs"] == [{"name": "x0", "datatype": "FP32", "shape": [-1, 3]}]
    assert metadata["parameters"]["provider"] == "CPUExecutionProvider"
    assert metadata["parameters"]["runtime_version"] == onnxruntime.__version__
    assert server.get("/v2/models/fixture/versions/1.0.0/ready").json()["ready"]


def test_infer_gives_what_the_model_gives(server: httpx.Client) -> None:
    body = {"id": "42", "inputs": [{**X, "shape": [2, 3], "data": [[1, 1, 1], [2, 2, 2]]}]}
    answer = server.post("/v2/models/fixture/infer", json=body)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "42", "model_name": "fixture", "model_version": "1.0.0",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2],
                     "data": [1.5, 2.25, 3.0, 4.5]}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", "", 404),
        ("GET", "/v2/models/nope", "", 404),
        ("GET", "/v2/models/fixture/nope", "", 404),
        ("GET", "/v2/models/fixture/versions/9", "", 404),
        ("GET", "/v2/models/fixture/infer", "", 405),
        ("POST", "/v2/health/live", "", 405),
        ("POST", "/v2/models/fixture/infer", "", 400),
        ("POST", "/v2/models/fixture/infer", "{", 400),
        ("POST", "/v2/models/fixture/infer", "[" * 50000, 400),
        ("POST", "/v2/models/fixture/infer", '{"inputs": 1}', 400),
        ("POST", "/v2/models/fixture/infer", json.dumps({"inputs": [{**X, "shape": [1]}]}), 400),
        ("POST", "/v2/models/fixture/infer", json.dumps({"inputs": [{**X, "data": [1]}]}), 400),
        ("POST", "/v2/models/fixture/infer", "x" * 200_000, 413),
    ],
)
def test_wrong_requests(server: httpx.Client, method, path, body, status) -> None:
    answer = server.request(method, path, content=body)
    assert answer.status_code == status
    if status != 413:
        assert set(answer.json()) == {"error"}
    assert server.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\0" * 100,
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v2/models/fixture/infer HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 40000,
    ],
)
def test_broken_connections_do_not_hurt(server: httpx.Client, raw: bytes) -> None:
    with socket.create_connection((server.base_url.host, server.base_url.port)) as connection:
        connection.sendall(raw)
    assert server.get("/v2/health/live").status_code == 200


def test_selftest_and_bench(inferd_build: Path, tmp_path: Path) -> None:
    path = config(tmp_path, 8080, FIXTURES / "good-two-inputs")
    done = inferd(inferd_build, "selftest", "--config", path)
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)["models"][0]["checks"][0]
    assert check["samples"] == 2
    assert check["pass"]
    bench = inferd(inferd_build, "bench", "--config", path, "--runs", "5")
    assert json.loads(bench.stdout)["models"][0]["runs"] == 5


def test_selftest_fails_for_another_output(inferd_build: Path, tmp_path: Path) -> None:
    """A bundle that is whole, with goldens of another model: only running it shows that."""
    import hashlib

    folder = tmp_path / "bundle"
    shutil.copytree(FIXTURES / "good-float", folder)
    golden = folder / "golden.safetensors"
    raw = bytearray(golden.read_bytes())
    raw[-3:] = b"\x00\x80\x41"
    golden.write_bytes(raw)
    data = json.loads((folder / "bundle.json").read_text())
    data["files"]["golden.safetensors"]["sha256"] = hashlib.sha256(raw).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(data))
    done = inferd(inferd_build, "selftest", "--config", config(tmp_path, 8080, folder))
    assert done.returncode == 1
    assert not json.loads(done.stdout)["pass"]


@pytest.mark.parametrize(
    ("bundle", "model", "message"),
    [
        ("invalid-digest-mismatch", {}, "digest-mismatch: model.onnx is another file"),
        ("invalid-extra-file", {}, "extra-file: surprise.bin is not listed"),
        ("good-float", {"device": "npu"}, "no provider for the device npu, and falling back"),
        ("good-float", {"memory_limit": 1}, "the limit is 1"),
    ],
)
def test_refuses(inferd_build: Path, tmp_path: Path, bundle, model, message) -> None:
    path = config(tmp_path, 8080, FIXTURES / bundle, **model)
    done = inferd(inferd_build, "serve", "--config", path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_said(inferd_build: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = config(tmp_path, port, FIXTURES / "good-float")
        done = inferd(inferd_build, "serve", "--config", path)
    assert done.returncode == 2
    assert done.stderr == f"inferd: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_wrong_words(inferd_build: Path) -> None:
    assert inferd(inferd_build, "dance").stderr == (
        "inferd: unknown verb dance; try inferd --help\n"
    )
    assert inferd(inferd_build, "--help").stdout.startswith("usage: inferd VERB")
    assert inferd(inferd_build, "serve", "--nope", "1").returncode == 2
