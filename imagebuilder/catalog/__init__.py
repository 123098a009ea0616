"""The catalog: which machines, runtimes and model bundles exist."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder import yamlfile
from imagebuilder.catalog.bundle_source import BundleSource, load_bundle_source
from imagebuilder.errors import Problem, UserError
from imagebuilder.yamlfile import YamlFile

if TYPE_CHECKING:
    from imagebuilder.catalog.machine import Machine
    from imagebuilder.catalog.runtime import Runtime
    from imagebuilder.catalog.series import Series

KINDS = ("machines", "models", "runtimes", "series")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Definitions found in search folders; an earlier folder hides the same name in a later one.

    A search folder may hold machines (`NAME.yaml` with `arch`), runtimes (`NAME.yaml` with
    `formats`), series (`NAME.yaml` with `repositories`) and models (`NAME/bundle.yaml`).
    """

    folders: tuple[Path, ...]

    def names(self, kind: str) -> tuple[str, ...]:
        """All names of a kind of `KINDS`, sorted."""
        return tuple(sorted(self._paths(kind)))

    def machine(self, name: str) -> Machine:
        """A machine by name; `UserError` if there is none or its file is wrong."""
        file, data = self._machine_data(name, ())
        like = (data.get("qemu") or {}).get("like")
        base = self._machine_data(like, (name,))[1].get("qemu") if like else None
        if like and not base:
            raise UserError(file.problem(("qemu", "like"), f"{like} has no `qemu` of its own"))
        if data.get("qemu") is not None:
            qemu = {**(base or {}), **data["qemu"]}
            missing = [key for key in ("system", "machine", "cpu") if key not in qemu]
            if missing:
                raise UserError(
                    *(file.problem(("qemu",), f"the key `{key}` is missing") for key in missing)
                )
        from imagebuilder.catalog.machine import make_machine

        return make_machine(name, file, data, base or {})

    def runtime(self, name: str) -> Runtime:
        """A runtime by name; `UserError` if there is none or its file is wrong."""
        from imagebuilder.catalog.runtime import make_runtime

        return make_runtime(name, yamlfile.load(self.path("runtimes", name), "runtime"))

    def bundle_source(self, name: str) -> BundleSource:
        """A model bundle's source form by name; `UserError` if there is none or it is wrong."""
        return load_bundle_source(self.path("models", name))

    def series(self, name: str) -> Series:
        """A series by name; `UserError` if there is none or its file is wrong."""
        file = yamlfile.load(self.path("series", name), "series")
        from imagebuilder.catalog.series import make_series, series_problems

        series = make_series(name, file)
        problems = tuple(series_problems(series))
        if problems:
            raise UserError(*problems)
        return series

    def path(self, kind: str, name: str) -> Path:
        """The file that defines a name; `UserError` with near names if there is none."""
        paths = self._paths(kind)
        if name not in paths:
            raise UserError(self.unknown(kind, name))
        return paths[name]

    def unknown(self, kind: str, name: str) -> Problem:
        """The problem that there is no definition of this name."""
        names = self.names(kind)
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        singular = kind if kind == "series" else kind.removesuffix("s")
        return Problem(f"no {singular} is called {name!r}", hint=hint)

    def _paths(self, kind: str) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self.folders:
            for name, path in _definitions(folder, kind):
                found.setdefault(name, path)
        return found

    def _machine_data(self, name: str, via: tuple[str, ...]) -> tuple[YamlFile, dict[str, Any]]:
        file = yamlfile.parse(self.path("machines", name))
        base = file.data.get("inherits")
        if not isinstance(base, str):
            return yamlfile.load(file.path, "machine"), file.data
        if base in (*via, name):
            raise UserError(file.problem(("inherits",), f"{base} inherits from {name}"))
        # What was proven for the other machine is not proven for this one.
        inherited = {**self._machine_data(base, (*via, name))[1], "status": {}}
        merged = {**inherited, **file.data}
        merged.pop("inherits")
        problems = tuple(
            yamlfile.schema_problems(YamlFile(file.path, merged, file.marks), "machine")
        )
        if problems:
            raise UserError(*problems)
        return file, merged


def _definitions(folder: Path, kind: str) -> Iterable[tuple[str, Path]]:
    if kind == "models":
        return ((path.parent.name, path) for path in folder.glob("*/bundle.yaml"))
    key = {"machines": "arch:", "runtimes": "formats:", "series": "repositories:"}[kind]
    return (
        (path.stem, path)
        for path in folder.glob("*.yaml")
        if path.is_file() and _has_key(path, key, inherits=kind == "machines")
    )


def _has_key(path: Path, key: str, *, inherits: bool) -> bool:
    # A full parse of every file would make `validate` slow; the schema check follows on use.
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(1 << 16)
    except OSError:
        return False
    keys = (key, "inherits:") if inherits else (key,)
    return any(line.startswith(keys) for line in head.splitlines())


def shipped(kind: str) -> Path:
    """The folder with what is shipped: `machine-configs`, `model-bundles`, `inferd`, `qemu-tests`.

    In a checkout it is beside the package, in a wheel below `imagebuilder/data`.
    """
    package = Path(__file__).resolve().parent.parent
    beside = package.parent / kind
    return beside if beside.is_dir() else package / "data" / kind


def make_catalog(search: Iterable[Path] = ()) -> Catalog:
    """The catalog of the user's search folders, of `$IMAGEBUILDER_PATH`, and of what is shipped."""
    named = [Path(p) for p in os.environ.get("IMAGEBUILDER_PATH", "").split(os.pathsep) if p]
    own = (shipped("machine-configs"), shipped("model-bundles"))
    data = Path(__file__).resolve().parent.parent / "data"
    return Catalog((*search, *named, *own, data / "runtimes", data / "series"))
