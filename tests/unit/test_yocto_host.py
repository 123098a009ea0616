"""What `doctor --engine yocto` says of a host."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuilder.engines.yocto import host
from imagebuilder.errors import BuildError

GIB = 1 << 30


def ran(exit_code: int, stdout: bytes = b"") -> Callable[..., object]:
    return lambda *_, **__: SimpleNamespace(exit_code=exit_code, stdout=stdout)


@pytest.fixture(autouse=True)
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has everything."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=80 * GIB))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=9, f_favail=9_000_000))
    monkeypatch.setattr(host, "run", ran(0, b"C.utf8\nen_US.utf8\n"))


def lacks(folder: Path) -> dict[str, str]:
    """What is not good, and how it is mended."""
    found = host.examine(folder)
    return {one.what: one.mend for one in found if not one.good and "kas" not in one.what}


def test_a_host_that_has_everything(tmp_path: Path) -> None:
    assert lacks(tmp_path) == {}


def test_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert lacks(tmp_path) == {"normal user": "BitBake refuses root: log in as another user"}


def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n: None if n in ("xz", "rpcgen") else have(n))
    assert lacks(tmp_path) == {
        "program rpcgen": "apt-get install rpcsvc-proto",
        "program xz": "apt-get install xz-utils",
    }


@pytest.mark.parametrize("answer", [ran(1, b"C\nPOSIX\n"), None])
def test_namespaces_and_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., object] | None
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BuildError("no such program")

    monkeypatch.setattr(host, "run", answer or fails)
    assert lacks(tmp_path) == {
        "user namespaces": host.NAMESPACES,
        "locale en_US.UTF-8": "apt-get install locales && echo 'en_US.UTF-8 UTF-8' "
        ">>/etc/locale.gen && locale-gen",
    }


def test_room_and_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=59 * GIB))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=9, f_favail=99))
    assert lacks(tmp_path) == {
        "room for BitBake": "free some: a first build takes about 60.0 GiB",
        "inodes": "use a file system with more inodes",
    }
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_favail=0))
    assert "inodes" not in lacks(tmp_path), "one that makes them as it goes"
