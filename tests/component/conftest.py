"""inferd built for this host with sanitizers, once per state of its sources."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuilder.crossbuild import tool as python_tool
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.hosttools import host_arch
from imagebuilder.log import QUIET, Log
from imagebuilder.run import run
from imagebuilder.state import default_cache, new_folder

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "inferd"


@pytest.fixture(scope="session")
def inferd_build() -> Path:
    """The folder of the build: `inferd`, `tests/inferd_tests`, `fuzz/fuzz_*`."""
    for need in ("/usr/include/event2/http.h", "/usr/include/doctest/doctest.h",
                 "/usr/include/nlohmann/json.hpp"):  # fmt: skip
        if not Path(need).exists():
            pytest.skip(f"{need} is missing; tests/run installs it as root")
    if not shutil.which("g++"):
        pytest.skip("g++ is missing; tests/run installs it as root")
    headers = onnxruntime_headers()
    build = default_cache().root / "tests" / f"inferd-{digest()}"
    flags = ["-DINFERD_TESTS=ON", "-DINFERD_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug",
             f"-DINFERD_ONNXRUNTIME_INCLUDE={headers}",
             f"-DCMAKE_MAKE_PROGRAM={python_tool('ninja')}"]  # fmt: skip
    run([python_tool("cmake"), "-S", SOURCE, "-B", build, "-G", "Ninja", *flags])
    run([python_tool("ninja"), "-C", build])
    return build


def digest() -> str:
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file())
    text = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256((str(ROOT) + text).encode()).hexdigest()[:16]


def onnxruntime_headers() -> Path:
    """The C API's header from Debian's package, which old hosts do not have."""
    cache = default_cache()
    folder = cache.root / "tests" / "onnxruntime-headers"
    if not folder.is_dir():
        archive = Archive(Fetcher(cache, Log(QUIET)), find_mirrors(None, None))
        packages = archive.resolve("trixie", host_arch(), ["libonnxruntime-dev"], closure=False)
        with new_folder(folder) as temporary:
            run(["dpkg-deb", "-x", archive.fetch(packages.packages[0]), temporary])
    return folder / "usr" / "include" / "onnxruntime"


@pytest.fixture(scope="session")
def run_checked():
    """Run a program; its output is the failure's text."""

    def call(*argv: str | Path) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call
