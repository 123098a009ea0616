"""How inferd is compiled for a machine, without compiling it."""

import importlib.util
import os
from importlib import metadata
from pathlib import Path

import pytest

from imagebuilder import crossbuild
from imagebuilder.errors import UserError

CORES = {
    "aarch64": ("aarch64-linux-gnu.2.41", "generic"),
    "armv7": ("arm-linux-gnueabihf.2.41", "generic+v7a"),
    "riscv64": ("riscv64-linux-gnu.2.41", "baseline_rv64"),
    "x86_64": ("x86_64-linux-gnu.2.41", "x86_64"),
}


def settings(arch: str) -> dict[str, str]:
    words = crossbuild.configure_command(Path("/s é"), Path("/root é"), arch, Path("/b é"))
    assert words[1:7] == ["-S", "/s é", "-B", "/b é", "-G", "Ninja"]
    pairs = (word.removeprefix("-D").partition("=") for word in words[7:])
    return {key: value for key, _, value in pairs}


@pytest.mark.parametrize("arch", CORES)
def test_the_compiler_is_told_target_and_oldest_core(arch: str) -> None:
    target, core = CORES[arch]
    zig, *rest = settings(arch)["CMAKE_CXX_COMPILER"].split(";")
    assert os.access(zig, os.X_OK)
    assert rest == ["c++", "-target", target, f"-mcpu={core}"]
    assert settings(arch)["CMAKE_SYSTEM_PROCESSOR"] == arch


def test_times_of_64_bits_where_the_libraries_have_them() -> None:
    assert "-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64" in settings("armv7")["CMAKE_CXX_FLAGS"]
    assert settings("aarch64")["CMAKE_CXX_FLAGS"] == "-g0 -flto"


def test_no_archiver_of_the_host_is_looked_for() -> None:
    got = settings("aarch64")
    assert (got["CMAKE_AR"], got["CMAKE_RANLIB"]) == ("/b é/ar", "/b é/ranlib")


@pytest.mark.parametrize("arch", CORES)
def test_libraries_come_from_the_sysroot_only(arch: str) -> None:
    got = settings(arch)
    assert got["CMAKE_FIND_ROOT_PATH"] == "/root é"
    assert got["CMAKE_FIND_ROOT_PATH_MODE_LIBRARY"] == "ONLY"
    assert got["CMAKE_FIND_ROOT_PATH_MODE_INCLUDE"] == "ONLY"
    assert got["INFERD_STATIC_LIBRARIES"] == "ON"


def write_source(folder: Path) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text("project(inferd)\n")
    (folder / "src" / "a.cpp").write_text("int a;\n")
    (folder / "src" / "b.cpp").write_text("int b;\n")
    return folder


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    one, other = write_source(tmp_path / "one"), write_source(tmp_path / "zwei é")
    (other / "tests").mkdir()
    (other / "tests" / "a_test.cpp").write_text("// no part of the program\n")
    assert crossbuild.source_digest(one) == crossbuild.source_digest(other)


def test_the_digest_sees_contents_names_and_new_files(tmp_path: Path) -> None:
    digests = [crossbuild.source_digest(write_source(tmp_path / "0"))]
    changed = write_source(tmp_path / "1")
    (changed / "src" / "a.cpp").write_text("int a2;\n")
    moved = write_source(tmp_path / "2")
    (moved / "src" / "b.cpp").rename(moved / "src" / "c.cpp")
    grown = write_source(tmp_path / "3")
    (grown / "src" / "empty.hpp").touch()
    project = write_source(tmp_path / "4")
    (project / "CMakeLists.txt").write_text("project(other)\n")
    digests += [crossbuild.source_digest(path) for path in (changed, moved, grown, project)]
    assert len(set(digests)) == len(digests)


def test_toolchain_version() -> None:
    assert crossbuild.toolchain_version() == (
        f"ziglang {metadata.version('ziglang')}, cmake {metadata.version('cmake')}"
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the Python package ninja is missing") as caught:
        crossbuild.tool("ninja")
    assert "hint: pip install 'imagebuilder[build]'" in str(caught.value)
