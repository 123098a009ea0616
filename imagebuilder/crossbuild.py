"""Compiles inferd for a machine with the Zig toolchain, which comes as a Python package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.run import run

GLIBC = "2.41"
"""Debian trixie's C library: what the static libraries were compiled for."""

# The core is the oldest that a machine of the architecture may have.
TARGETS = {
    "aarch64": (f"aarch64-linux-gnu.{GLIBC}", "generic", "aarch64-linux-gnu"),
    "x86_64": (f"x86_64-linux-gnu.{GLIBC}", "x86_64", "x86_64-linux-gnu"),
    "riscv64": (f"riscv64-linux-gnu.{GLIBC}", "baseline_rv64", "riscv64-linux-gnu"),
    "armv7": (f"arm-linux-gnueabihf.{GLIBC}", "generic+v7a", "arm-linux-gnueabihf"),
}

DEFINITIONS = {"armv7": ("-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64")}
"""Debian's libraries for it have times of 64 bits since trixie, the compiler's default is 32."""

ARCHIVERS = ("ar", "ranlib")


def build_inferd(
    source: Path, sysroot: Path, arch: str, build: Path, output: Path, *, zig_cache: Path
) -> Path:
    """Compile inferd into the file `output`.

    `sysroot` holds the unpacked development packages of the architecture. The same source and
    sysroot give the same bytes in every folder. Raises `CommandFailed` with the compiler's words.
    """
    environment = {
        "ZIG_GLOBAL_CACHE_DIR": str(zig_cache),
        "ZIG_LOCAL_CACHE_DIR": str(zig_cache / "local"),
        "SOURCE_DATE_EPOCH": "0",
        "NINJA_STATUS": "",
    }
    build.mkdir(parents=True, exist_ok=True)
    for name in ARCHIVERS:
        _write_archiver(build / name, name)
    run(configure_command(source, sysroot, arch, build), env=environment)
    run([tool("ninja"), "-C", build, "inferd"], env=environment)
    shutil.copyfile(build / "inferd", output)
    output.chmod(0o755)
    return output


def _write_archiver(path: Path, name: str) -> None:
    """Zig's `ar` and `ranlib` as programs of their own: CMake takes no arguments for them.

    A host without binutils has no others.
    """
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(str(_zig()))} {name} "$@"\n', "utf-8")
    path.chmod(0o755)


def compiler_flags(arch: str) -> str:
    """Flags of the compiler, besides those of the target."""
    return " ".join(["-g0", "-flto", *DEFINITIONS.get(arch, ())])


def configure_command(source: Path, sysroot: Path, arch: str, build: Path) -> list[str]:
    """The words that configure the build."""
    target, core, triplet = TARGETS[arch]
    compiler = f"{_zig()};c++;-target;{target};-mcpu={core}"
    settings = {
        "CMAKE_MAKE_PROGRAM": tool("ninja"),
        "CMAKE_BUILD_TYPE": "MinSizeRel",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": arch,
        "CMAKE_CXX_COMPILER": compiler,
        **{f"CMAKE_{name.upper()}": str(build / name) for name in ARCHIVERS},
        # A check that links would compile libc++ a second time, for another kind of program.
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        # Without debug information and assertions no path of this host gets into the program.
        # Link-time optimization takes 8 % off the program.
        "CMAKE_CXX_FLAGS": compiler_flags(arch),
        "CMAKE_EXE_LINKER_FLAGS": "-s -Wl,--gc-sections",
        "CMAKE_FIND_ROOT_PATH": str(sysroot),
        "CMAKE_FIND_ROOT_PATH_MODE_LIBRARY": "ONLY",
        "CMAKE_FIND_ROOT_PATH_MODE_INCLUDE": "ONLY",
        "CMAKE_LIBRARY_ARCHITECTURE": triplet,
        "INFERD_STATIC_LIBRARIES": "ON",
    }
    words = [tool("cmake"), "-S", str(source), "-B", str(build), "-G", "Ninja"]
    return words + [f"-D{key}={value}" for key, value in settings.items()]


def source_digest(source: Path) -> str:
    """Digest of inferd's sources: relative paths and contents of all that goes into the program."""
    hasher = hashlib.sha256()
    files = [source / "CMakeLists.txt", *sorted((source / "src").rglob("*"))]
    for path in files:
        if path.is_file():
            hasher.update(f"{path.relative_to(source)}\0".encode())
            hasher.update(hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()


def toolchain_version() -> str:
    """Versions of the tools that compile."""
    try:
        return ", ".join(f"{name} {metadata.version(name)}" for name in ("ziglang", "cmake"))
    except metadata.PackageNotFoundError as error:
        raise _missing(str(error.name)) from error


def _zig() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise _missing("ziglang")
    return Path(spec.submodule_search_locations[0]) / "zig"


def tool(name: str) -> str:
    """A program that a Python package brought, whether or not its folder is in PATH."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name)
    package = Path(spec.submodule_search_locations[0])
    for path in (package / "data" / "bin" / name, Path(sys.executable).parent / name):
        if os.access(path, os.X_OK):
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise _missing(name)
    return found


def _missing(name: str) -> UserError:
    return UserError(
        f"the Python package {name} is missing", hint="pip install 'imagebuilder[build]'"
    )
