"""inferd built for this host with sanitizers, and a running server."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagebuilder.catalog import make_catalog
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.log import QUIET, Log
from imagebuilder.state import default_cache

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "bundles"
HEADERS = {
    "libevent-dev": "event2/http.h",
    "libsodium-dev": "sodium.h",
    "nlohmann-json3-dev": "nlohmann/json.hpp",
    "doctest-dev": "doctest/doctest.h",
}
DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
# The runtime's library keeps what it allocates for the life of the process.
ENVIRONMENT = {
    "LSAN_OPTIONS": f"print_suppressions=0:suppressions='{Path(__file__).with_name('leaks.txt')}'",
    "ASAN_OPTIONS": "detect_leaks=1",
}


def build() -> Path:
    """The folder of the host build; skips with the reason when this host cannot build it."""
    check_tools()
    folder = build_folder("inferd")
    compile_into(folder, {"INFERD_SANITIZE": "ON"}, "all")
    return folder


def check_tools() -> None:
    """Skip with the reason when this host cannot build inferd."""
    tools = [name for name in ("g++", "cmake", "ninja") if shutil.which(name) is None]
    roots = [Path("/usr/include"), *Path("/usr/include").glob("*-linux-gnu*")]
    missing = tools + [
        package
        for package, header in HEADERS.items()
        if not any((root / header).exists() for root in roots)
    ]
    if missing:
        pytest.skip(f"not run: {', '.join(missing)} is not installed")


def build_folder(kind: str) -> Path:
    """Where a kind of build is kept: checkouts share the cache, not the build."""
    checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    return default_cache().root / "tests" / f"{kind}-{checkout}"


def compile_into(folder: Path, settings: Mapping[str, str], target: str) -> None:
    """Configure and build a target of inferd, with its tests.

    Once for all processes of a run (pytest-xdist), which use the programs at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    with (folder / f"made-{target}").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        if not run or made.read() != run:
            made.truncate(0)
            _compile(folder, settings, target)
            made.write(run)


def _compile(folder: Path, settings: Mapping[str, str], target: str) -> None:
    all_settings = {
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        # Compiles in two thirds of the time of -O2.
        "CMAKE_CXX_FLAGS_RELWITHDEBINFO": "-O1 -g",
        "INFERD_TESTS": "ON",
        "INFERD_ONNXRUNTIME_INCLUDE": str(runtime_header()),
        **settings,
    }
    words = [f"-D{key}={value}" for key, value in all_settings.items()]
    # Anew, since a compiler that has moved would else lose the other settings.
    _run("cmake", "--fresh", "-S", ROOT / "inferd", "-B", folder, "-G", "Ninja", *words)
    _run("cmake", "--build", folder, "--target", target)


def _run(*argv: str | Path) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def runtime_header() -> Path:
    """The folder with ONNX Runtime's C header, out of Debian's package."""
    folder = default_cache().root / "inferd-host-include"
    header = folder / "usr" / "include" / "onnxruntime"
    if not (header / "onnxruntime_c_api.h").exists():
        try:
            fetcher = Fetcher(default_cache(), Log(QUIET))
            mirror = os.environ.get("IMAGEBUILDER_DEBIAN_MIRROR")
            archive = Archive(fetcher, lambda: find_mirrors(mirror, None))
            arch = DEBIAN_ARCH[platform.machine()]
            request = ("libonnxruntime-dev",)
            (package,) = archive.resolve("trixie", arch, request, closure=False).packages
            _run("dpkg-deb", "-x", archive.fetch(package), folder)
        except UserError as error:
            pytest.skip(f"not run: no header of ONNX Runtime: {error}")
    return header


def runtime_library() -> Path:
    """The library in the onnxruntime package of this Python."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("not run: the Python package onnxruntime is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "capi"
    return next(iter(sorted(folder.glob("libonnxruntime.so.*"))))


def tflite_library() -> Path:
    """TensorFlow Lite's library for this host, as a firmware gets it."""
    target = make_catalog().runtime("tflite").targets.get(platform.machine())
    if target is None or target.debian is None or target.debian.wheel is None:
        pytest.skip(f"not run: no library of TensorFlow Lite for {platform.machine()}")
    try:
        return fetch_source(Fetcher(default_cache(), Log(QUIET)), target.debian.wheel, ROOT)
    except UserError as error:
        pytest.skip(f"not run: no library of TensorFlow Lite: {error}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Inferd:
    """The program and the folder for its configuration."""

    program: Path
    folder: Path

    def configure(self, bundles: Sequence[Path], **changes: Any) -> Path:
        """Write a configuration; `changes` are keys of the file, `model` ones of every model."""
        model = changes.pop("model", {})
        data = {
            "format": 1,
            "listen": f"127.0.0.1:{free_port()}",
            "runtimes": {"onnxruntime": str(runtime_library())},
            "models": [{"bundle": str(bundle), **model} for bundle in bundles],
            **changes,
        }
        path = self.folder / "inferd é.json"
        path.write_text(json.dumps(data))
        return path

    def run(
        self, *words: str | Path, user: int | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, as another user if one is named."""
        return subprocess.run(
            [self.program, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=user,
            env={**os.environ, **ENVIRONMENT, **variables},
        )

    @contextlib.contextmanager
    def serve(self, config: Path, ends: int = 0) -> Iterator[Running]:
        """A server that answers; stopped and found free of leaks at the end, or ended by itself."""
        address = json.loads(config.read_text())["listen"]
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        process = subprocess.Popen(
            [self.program, "serve", "--config", config, "--ready-file", ready],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        try:
            deadline = time.monotonic() + 30
            while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
                yield Running(process, client, address, ready)
        finally:
            process.terminate()
            try:
                _, errors = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                _, errors = process.communicate()
        assert process.returncode in (ends, -9), errors


@dataclass(frozen=True, slots=True)
class Running:
    """A running server."""

    process: subprocess.Popen[str]
    client: httpx.Client
    address: str
    ready: Path

    def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own; all that comes back until the server closes."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=15) as connection:
            # It may answer and close before it has read all; the answer is still there to read.
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    parts.append(part)
            return b"".join(parts)
