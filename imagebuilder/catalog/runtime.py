"""Runtimes: the inference libraries, one YAML file each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagebuilder.source import PypiSource
from imagebuilder.units import parse_size
from imagebuilder.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class DebianRuntime:
    """Where the engine debian gets the library.

    Either a file in a wheel (`wheel`) or the file at `path` of `packages` on the device; `packages`
    also names what the library needs besides. With `suite` exactly these packages are taken, from
    that release.
    """

    wheel: PypiSource | None
    packages: tuple[str, ...]
    path: str | None
    suite: str | None = None


@dataclass(frozen=True, slots=True)
class RuntimeTarget:
    """A runtime on one architecture; `memory` and `storage` in bytes, without a model."""

    version: str
    max_opset: int | None
    max_ir: int | None
    memory: int
    storage: int
    debian: DebianRuntime | None
    yocto_recipe: str | None
    yocto_library: str | None
    yocto_cut: bool


@dataclass(frozen=True, slots=True)
class Runtime:
    """An inference library: the formats it reads and what there is for each architecture.

    `backend` is what the server calls it: the same for builds of one library with other contents,
    of which an image can have only one. `architectures` are the language models that it runs, None
    if it tells no difference.
    """

    name: str
    file: YamlFile
    description: str
    formats: tuple[str, ...]
    backend: str
    server: str
    license: str
    targets: dict[str, RuntimeTarget]
    architectures: tuple[str, ...] | None = None


def make_runtime(name: str, file: YamlFile) -> Runtime:
    """A runtime from a file that has passed the schema."""
    data = file.data
    return Runtime(
        name=name,
        file=file,
        description=data["description"],
        formats=tuple(data["formats"]),
        backend=data.get("backend", name),
        server=data["server"],
        license=data["license"],
        targets={arch: _target(target) for arch, target in data["targets"].items()},
        architectures=tuple(data["architectures"]) if "architectures" in data else None,
    )


def _target(data: dict[str, Any]) -> RuntimeTarget:
    return RuntimeTarget(
        version=data["version"],
        max_opset=data.get("max_opset"),
        max_ir=data.get("max_ir"),
        memory=parse_size(data["memory"]),
        storage=parse_size(data.get("storage", 0)),
        debian=_debian(data.get("debian")),
        yocto_recipe=data.get("yocto", {}).get("recipe"),
        yocto_library=data.get("yocto", {}).get("file"),
        yocto_cut=data.get("yocto", {}).get("cut", False),
    )


def _debian(data: dict[str, Any] | None) -> DebianRuntime | None:
    if data is None:
        return None
    packages = tuple(data.get("packages", ()))
    if "pypi" not in data:
        return DebianRuntime(None, packages, data["file"], data.get("suite"))
    wheel = PypiSource(
        data["pypi"], data["file"], data["sha256"], data.get("platform"), data.get("python")
    )
    return DebianRuntime(wheel, packages, None)
