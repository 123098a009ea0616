"""inferd beside named peers on this host: `python benchmarks/serving.py`.

It compiles inferd, a bare program with the same session and a load generator, and puts FastAPI,
uvicorn and ONNX Runtime into an environment of their own; see benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imagebuilder.catalog import make_catalog
from imagebuilder.conformance.bundles import write_bundles
from imagebuilder.conformance.cases import Case, Named
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.hosttools import host_arch
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.state import default_cache

HERE = Path(__file__).parent
INFERD = HERE.parent / "inferd"
PEERS = ("fastapi", "uvicorn[standard]", "numpy")
ROWS = ("latency", "slow", "throughput", "start")
SLOW = 5000.0
"""What the slow model takes, in microseconds."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model with one input of one row, and the request for it."""

    name: str
    bundle: Path
    input: str
    output: str
    row: int
    request: Path


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw: seconds, microseconds, and the server's CPU microseconds."""

    requests: int
    seconds: float
    median: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The compiled programs, the runtime's library and the peers' Python."""

    folder: Path
    library: Path
    python: Path

    def bare(self, model: Model, runs: int) -> tuple[float, float, int]:
        """Seconds to the session, median of a run in microseconds, resident KiB."""
        begin = time.monotonic()
        words = [self.folder / "bare", self.library, model.bundle / "model.onnx", model.input,
                 model.output, str(model.row), str(runs)]  # fmt: skip
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "session\n"
            ready = time.monotonic() - begin
            median, resident = process.stdout.readline().split()
        return ready, float(median), int(resident)

    @contextlib.contextmanager
    def inferd(self, model: Model) -> Iterator[tuple[int, int, float]]:
        """Process, port and seconds to ready."""
        port, ready = free_port(), self.folder / "ready"
        ready.unlink(missing_ok=True)
        config = self.folder / "inferd.json"
        config.write_text(json.dumps({
            "format": 1, "listen": f"127.0.0.1:{port}", "queue": 1000,
            "runtimes": {"onnxruntime": str(self.library)},
            "models": [{"bundle": str(model.bundle)}],
        }))  # fmt: skip
        words = [self.folder / "inferd", "serve", "--config", config, "--ready-file", ready]
        begin = time.monotonic()
        with stopped(subprocess.Popen(words, stdout=subprocess.DEVNULL)) as process:
            while not ready.exists():
                assert process.poll() is None, "inferd ended"
                time.sleep(0.0005)
            yield process.pid, port, time.monotonic() - begin

    @contextlib.contextmanager
    def fastapi(self, model: Model) -> Iterator[tuple[int, int, float]]:
        """The same for the peer."""
        port = free_port()
        words = [self.python, "-m", "uvicorn", "fastapi_peer:app", "--port", str(port),
                 "--log-level", "error"]  # fmt: skip
        environment = {**os.environ, "MODEL": str(model.bundle / "model.onnx")}
        begin = time.monotonic()
        process = subprocess.Popen(words, cwd=HERE, env=environment)
        with stopped(process):
            while not listening(port):
                assert process.poll() is None, "the peer ended"
                time.sleep(0.01)
            yield process.pid, port, time.monotonic() - begin

    def load(self, pid: int, port: int, model: Model, connections: int, requests: int) -> Load:
        """Send requests; `AssertionError` for a wrong answer."""
        before = cpu_seconds(pid)
        words = [self.folder / "load", str(port), model.request, str(connections), str(requests)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        count, _, seconds, median, p99 = done.stdout.split()
        cpu = (cpu_seconds(pid) - before) / requests * 1e6
        return Load(int(count), float(seconds), float(median), float(p99), cpu)


@contextlib.contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends the process at the end."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether a server takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid: int) -> float:
    """Processor time of the threads of a process, user's and system's, by the scheduler's clock.

    Like the time of `/proc/PID/stat`, but in nanoseconds instead of ticks. Neither server ends a
    thread while it is measured.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def busy_seconds() -> float:
    """Processor time of all that ran on this host."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = [int(word) for word in words[:8]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def others() -> Iterator[None]:
    """Tells at the end how much of the processors was taken by what is no part of the benchmark."""
    begin, busy, own = time.monotonic(), busy_seconds(), sum(os.times()[:4])
    yield
    taken = busy_seconds() - busy - (sum(os.times()[:4]) - own)
    share = taken / (time.monotonic() - begin) / (os.cpu_count() or 1)
    print(f"other work on this host: {share:.0%} of its processors")


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20000, help="of each measurement")
    parser.add_argument("--runs", type=int, default=20, help="starts of each program")
    parser.add_argument("--work", type=Path, help="folder that keeps the programs and the peers")
    parser.add_argument("--only", choices=ROWS, action="append", help="rows to measure, else all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bench = prepare(work)
        digits = digits_model(work)
        rows = options.only or ROWS
        print(f"{'what':46} {'inferd':>10} {'peer':>10} {'ratio':>7}  peer")
        with others():
            if "latency" in rows:
                latency(bench, digits, options.requests)
            if "slow" in rows:
                latency(bench, slow_model(bench, work), options.requests // 20)
            if "throughput" in rows:
                throughput(bench, digits, options.requests)
            if "start" in rows:
                size_and_start(bench, digits, options.runs)


def show(what: str, ours: float, peer: float, name: str) -> None:
    """A row."""
    print(f"{what:46} {ours:10.2f} {peer:10.2f} {ours / peer:7.3f}  {name}", flush=True)


def latency(bench: Bench, model: Model, requests: int) -> None:
    """One request after the other on one connection, and the same runs without a server."""
    with bench.inferd(model) as (pid, port, _):
        bench.load(pid, port, model, 1, requests // 10)
        pairs = [(bench.load(pid, port, model, 1, requests // 5).median,
                  bench.bare(model, requests // 5)[1]) for _ in range(5)]  # fmt: skip
    ours, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
    show(f"{model.name}: median of a request, µs", ours, peer, "C API in a loop")
    print(f"{'  more':46} {ours - peer:10.2f}")


def throughput(bench: Bench, model: Model, requests: int) -> None:
    """Processor time and 99th percentile at several numbers of connections."""
    for connections in (1, 8, 64):
        found = []
        for server, share in ((bench.inferd, 1), (bench.fastapi, 10)):
            with server(model) as (pid, port, _):
                bench.load(pid, port, model, connections, 1000)
                found.append(bench.load(pid, port, model, connections, requests // share))
        ours, peer = found
        name = f"{model.name}, {connections} connections"
        show(f"{name}: CPU of a request, µs", ours.cpu, peer.cpu, "FastAPI")
        show(f"{name}: p99, µs", ours.p99, peer.p99, "FastAPI")
        rates = (ours.requests / ours.seconds, peer.requests / peer.seconds)
        show(f"{name}: requests/s", *rates, "FastAPI")


def size_and_start(bench: Bench, model: Model, runs: int) -> None:
    """Memory after 1000 requests, time to ready, size of the program."""
    starts, peers = [], []
    for _ in range(runs):
        with bench.inferd(model) as (pid, port, ready):
            bench.load(pid, port, model, 1, 1000)
            starts.append((ready * 1e3, resident_kib(pid)))
        seconds, _, resident = bench.bare(model, 1000)
        peers.append((seconds * 1e3, resident))
    for at, what in enumerate((f"{model.name}: start to ready, ms", f"{model.name}: RSS, KiB")):
        ours, peer = (statistics.median(row[at] for row in rows) for rows in (starts, peers))
        show(what, ours, peer, "bare C program")
    print(f"{'program, stripped, bytes':46} {(bench.folder / 'inferd').stat().st_size:10}")


def prepare(work: Path) -> Bench:
    """Compile the programs and install the peers."""
    import importlib.util

    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    library = next((Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*"))
    header = runtime_header(work)
    build = work / "build"
    configure = ["cmake", "-S", INFERD, "-B", build, "-G", "Ninja",
                 "-DCMAKE_BUILD_TYPE=MinSizeRel", "-DCMAKE_CXX_FLAGS=-flto",
                 "-DCMAKE_EXE_LINKER_FLAGS=-s -Wl,--gc-sections",
                 f"-DINFERD_ONNXRUNTIME_INCLUDE={header}"]  # fmt: skip
    run(configure)
    run(["cmake", "--build", build, "--target", "inferd"])
    (work / "inferd").unlink(missing_ok=True)
    (work / "inferd").symlink_to(build / "inferd")
    for name in ("bare", "load"):
        source = HERE / f"{name}.c"
        run(["gcc", "-O2", f"-I{header}", source, "-o", work / name, "-ldl"])
    python = work / "peers" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", work / "peers"])
        run([python, "-m", "pip", "install", "--quiet", f"onnxruntime=={version()}", *PEERS])
    return Bench(work, library, python)


def version() -> str:
    """That of this Python's ONNX Runtime, so that the peer has the same."""
    import importlib.metadata

    return importlib.metadata.version("onnxruntime")


def runtime_header(work: Path) -> Path:
    """The folder with ONNX Runtime's C header, out of Debian's package."""
    header = work / "header" / "usr" / "include" / "onnxruntime"
    if not header.is_dir():
        archive = Archive(Fetcher(default_cache(), Log(QUIET)), partial(find_mirrors, None, None))
        found = archive.resolve("trixie", host_arch(), ("libonnxruntime-dev",), closure=False)
        run(["dpkg-deb", "-x", archive.fetch(found.packages[0]), work / "header"])
    return header


def run(words: Sequence[str | Path]) -> None:
    """Run a program; its output is shown if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def digits_model(work: Path) -> Model:
    """The shipped model."""
    fetcher = Fetcher(default_cache(), Log(QUIET))
    bundle = build_bundle(make_catalog().bundle_source("digits"), fetcher)
    row = [float(n % 17) for n in range(64)]
    request = write_request(work, "digits", "pixels", row)
    return Model("digits", bundle.folder, "pixels", "scores", 64, request)


def slow_model(bench: Bench, work: Path) -> Model:
    """A convolutional network that takes about 5 ms here, by the C API in a loop."""
    layers = 8
    _, median, _ = bench.bare(convolutions(work, layers), 50)
    return convolutions(work, max(1, round(layers * SLOW / median)))


def convolutions(work: Path, layers: int) -> Model:
    """As many convolutions of 64 channels over 32 by 32 points."""
    chance = np.random.default_rng(1)
    side, channels = 32, 64
    weights = {"w0": chance.normal(0, 0.1, (64, 16 * side * side))}
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["m"]),
             helper.make_node("Reshape", ["m", "image"], ["c0"])]  # fmt: skip
    for n in range(1, layers + 1):
        shape = (channels, 16 if n == 1 else channels, 3, 3)
        weights[f"w{n}"] = chance.normal(0, 0.05, shape)
        nodes += [helper.make_node("Conv", [f"c{n - 1}", f"w{n}"], [f"d{n}"], pads=[1] * 4),
                  helper.make_node("Relu", [f"d{n}"], [f"c{n}"])]  # fmt: skip
    nodes.append(helper.make_node("ReduceMean", [f"c{layers}"], ["y"], axes=[2, 3], keepdims=0))
    info = helper.make_tensor_value_info
    constants = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1, 16, side, side]), "image"))
    graph = helper.make_graph(nodes, "slow", [info("x", TensorProto.FLOAT, [1, 64])],
                              [info("y", TensorProto.FLOAT, [1, 64])], constants)  # fmt: skip
    path = work / "slow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                ir_version=8), path)  # fmt: skip
    zeros = np.zeros((1, 64), np.float32)
    case = Case("slow", path, (), (Named("x", zeros),), (Named("y", zeros),))
    folder = Path(tempfile.mkdtemp(dir=work))
    write_bundles([case], folder)
    request = write_request(work, "slow", "x", [1.0] * 64)
    return Model("slow", folder / "slow", "x", "y", 64, request)


def write_request(work: Path, name: str, tensor: str, row: Sequence[float]) -> Path:
    """The request for one row, as JSON."""
    inputs = [{"name": tensor, "datatype": "FP32", "shape": [1, len(row)], "data": list(row)}]
    body = json.dumps({"inputs": inputs}).encode()
    head = (f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
    path = work / f"{name}.request"
    path.write_bytes(head.encode() + body)
    return path


if __name__ == "__main__":
    main()
