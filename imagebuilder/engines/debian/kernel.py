"""The kernel package: its image, and the modules that are asked for with all they need."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.run import run


def extract_kernel(deb: Path, modules: Iterable[str], output: Path) -> None:
    """Write `vmlinuz`, `modules/NAME.ko`, `order` (in which to load them) and `copyright`.

    Raises `UnknownModule` for a module that the kernel neither has nor has built in.
    """
    found = _read(deb)
    (output / "vmlinuz").write_bytes(found.image)
    (output / "copyright").write_bytes(found.copyright)
    (output / "modules").mkdir()
    order = load_order(tuple(modules), found.modules, found.builtin)
    for name in order:
        (output / "modules" / f"{name}.ko").write_bytes(found.modules[name])
    (output / "order").write_text("".join(f"{name}\n" for name in order))


class UnknownModule(UserError):
    """A module that the kernel does not have."""

    def __init__(self, module: str) -> None:
        self.module = module
        super().__init__(f"the kernel has no module {module}")


@dataclass(frozen=True, slots=True)
class _Package:
    image: bytes
    modules: Mapping[str, bytes]
    builtin: frozenset[str]
    copyright: bytes


def _read(deb: Path) -> _Package:
    archive = run(["dpkg-deb", "--fsys-tarfile", deb]).stdout
    image, builtin, copyright_, files = b"", b"", b"", _Modules()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is None:
                continue
            if name.startswith("vmlinuz-") or name.startswith("vmlinux-"):
                image = stream.read()
            elif name == "modules.builtin":
                builtin = stream.read()
            elif name == "copyright":
                copyright_ = stream.read()
            elif match := re.fullmatch(r"(.+)\.ko(\.xz)?", name):
                files.packed[_canonical(match[1])] = stream.read()
    names = {_canonical(Path(line).stem) for line in builtin.decode().splitlines()}
    return _Package(image, files, frozenset(names), copyright_)


class _Modules(Mapping[str, bytes]):
    """Modules by name, decompressed on use: a kernel has thousands."""

    def __init__(self) -> None:
        self.packed: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        raw = self.packed[name]
        return lzma.decompress(raw) if raw.startswith(b"\xfd7zXZ") else raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.packed)

    def __len__(self) -> int:
        return len(self.packed)


def load_order(
    wanted: Iterable[str], files: Mapping[str, bytes], builtin: frozenset[str]
) -> tuple[str, ...]:
    """Modules so that each follows those it depends on; `UnknownModule` if there is none."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name in builtin:
            return
        if name not in files:
            raise UnknownModule(name)
        for needed in depends(files[name]):
            visit(_canonical(needed))
        order.append(name)

    for name in wanted:
        visit(_canonical(name))
    return tuple(order)


def depends(module: bytes) -> tuple[str, ...]:
    """The names in a module's `depends=` (its section .modinfo holds KEY=VALUE ended by zeros)."""
    match = re.search(rb"\0depends=([A-Za-z0-9_,-]*)\0", module)
    names = match[1].decode() if match else ""
    return tuple(name for name in names.split(",") if name)


def _canonical(name: str) -> str:
    return name.replace("-", "_")
