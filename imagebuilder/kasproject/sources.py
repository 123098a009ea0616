"""What a project copies: the static layers, inferd, layers of the user's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

STATIC_LAYERS = ("meta-imagebuilder", "meta-imagebuilder-distro")
SKIPPED = {".git", "__pycache__", "build"}


def folder_files(folder: Path) -> dict[str, bytes]:
    """Relative path → contents of all regular files below a folder, version control left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(_walk(folder))
    }


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in SKIPPED or path.name.endswith(".pyc"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_file():
            yield path


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents."""
    hasher = hashlib.sha256()
    for name, data in sorted(files.items()):
        hasher.update(f"{name}\0{len(data)}\0".encode())
        hasher.update(data)
    return hasher.hexdigest()


def server_files(source: Path) -> dict[str, bytes]:
    """The files of inferd that its recipe compiles or installs; no tests."""
    skip = ("tests/", "fuzz/")
    return {k: v for k, v in folder_files(source).items() if not k.startswith(skip)}


def server_version(files: Mapping[str, bytes]) -> str:
    """inferd's version, from its CMakeLists.txt."""
    found = re.search(rb"project\(inferd VERSION ([0-9.]+)", files["CMakeLists.txt"])
    assert found is not None
    return found[1].decode()
