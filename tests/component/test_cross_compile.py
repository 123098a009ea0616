"""inferd compiled for this host's architecture by the toolchain that compiles it for devices."""

import platform
import shutil
import subprocess
from pathlib import Path

import inferd_host
import pytest

from imagebuilder.crossbuild import TARGETS, build_inferd
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.log import QUIET, Log
from imagebuilder.run import run
from imagebuilder.state import default_cache

pytestmark = pytest.mark.network

ARCH = platform.machine()
PACKAGES = ("libevent-dev", "libonnxruntime-dev", "libsodium-dev", "nlohmann-json3-dev")


@pytest.fixture(scope="module")
def sysroot(tmp_path_factory) -> Path:
    if ARCH not in TARGETS:
        pytest.skip(f"not run: no target for {ARCH}")
    folder = tmp_path_factory.mktemp("sysroot é")
    archive = Archive(Fetcher(default_cache(), Log(QUIET)), lambda: find_mirrors(None, None))
    arch = inferd_host.DEBIAN_ARCH[ARCH]
    for package in archive.resolve("trixie", arch, PACKAGES, closure=False).packages:
        run(["dpkg-deb", "-x", archive.fetch(package), folder])
    return folder


@pytest.fixture(scope="module")
def program(sysroot: Path, tmp_path_factory) -> Path:
    return compile_in(tmp_path_factory.mktemp("one"), sysroot)


def compile_in(folder: Path, sysroot: Path) -> Path:
    source = shutil.copytree(
        inferd_host.ROOT / "inferd", folder / "inferd", ignore=shutil.ignore_patterns("build")
    )
    build, output = folder / "build", folder / "program"
    cache = default_cache().root / "zig"
    return build_inferd(source, sysroot, ARCH, build, output, zig_cache=cache)


def test_the_same_bytes_in_every_folder(program: Path, sysroot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "zwei é"
    shutil.copytree(sysroot, folder / "sysroot", symlinks=True)
    other = compile_in(folder, folder / "sysroot")
    assert program.read_bytes() == other.read_bytes()


def test_the_hosts_binutils_are_not_used(program: Path) -> None:
    build = program.parent / "build"
    rules = (build / "CMakeFiles" / "rules.ninja").read_text()
    archivers = [line for line in rules.splitlines() if " qc " in line]
    assert archivers
    assert all(f"{build}/ar qc " in line for line in archivers)
    done = subprocess.run([build / "ar", "t", build / "libinferd_core.a"], capture_output=True,
                          env={"PATH": "", "HOME": "/nonexistent"}, check=False)  # fmt: skip
    assert b"main.cpp.o" not in done.stdout
    assert b"server.cpp.o" in done.stdout, done.stderr


def test_no_path_of_this_host_and_at_most_1_mb(program: Path) -> None:
    raw = program.read_bytes()
    assert str(program.parent).encode() not in raw
    assert str(default_cache().root).encode() not in raw
    assert len(raw) <= 1_000_000


def test_needs_no_library_but_those_of_the_c_library(program: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("not run: this host has no readelf")
    text = subprocess.run(
        ["readelf", "-d", program], capture_output=True, text=True, check=True
    ).stdout
    needed = {line.split("[")[1].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line}
    assert "libc.so.6" in needed
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
                      "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}  # fmt: skip
