"""The lock: everything a build consumes, pinned by version and SHA-256."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.package import Package, PackageSet
from imagebuilder.state import write_if_changed
from imagebuilder.yamlfile import dotted, read_schema

MAX_BYTES = 64 << 20


class LockUnfit(UserError):
    """The lock does not have, or has otherwise, what a build is asked for."""


@dataclass(frozen=True, slots=True)
class LayerPin:
    """A Yocto layer's repository and full commit."""

    url: str
    commit: str


@dataclass(frozen=True, slots=True)
class ModelPin:
    """A sealed bundle by digest (`sha256:...`), and the SHA-256 of the model it was made from.

    `definition` is the SHA-256 over all files of the model's folder that decide the bundle.
    """

    version: str
    bundle: str
    source_sha256: str
    definition: str


@dataclass(frozen=True, slots=True)
class Lock:
    """All pins, by host architecture and use; machine and role; series and layer; bundle."""

    tools: Mapping[str, Mapping[str, PackageSet]] = field(default_factory=dict)
    packages: Mapping[str, Mapping[str, PackageSet]] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, LayerPin]] = field(default_factory=dict)
    models: Mapping[str, ModelPin] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def lock_path(manifest: Path) -> Path:
    """`firmware.lock` beside `firmware.yaml`."""
    return manifest.with_suffix(".lock")


def read_lock(path: Path) -> Lock:
    """Read a lock; an empty one if there is no file. `UserError` if it is not a lock."""
    try:
        raw = path.read_bytes()[: MAX_BYTES + 1]
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise UserError(Problem(f"cannot read: {error.strerror}", Location(path))) from error
    hint = "remove it and run `imagebuilder lock`"
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError(Problem("not a lock: not JSON", Location(path), hint=hint)) from error
    _check(path, data, hint)
    return _parse(data)


def write_lock(path: Path, lock: Lock) -> bool:
    """Write a lock unless the file holds it already; tells whether it wrote."""
    return write_if_changed(path, lock_bytes(lock))


def lock_bytes(lock: Lock) -> bytes:
    """The canonical form of a lock: sorted, two spaces, one newline at the end."""
    data = {"format": 1, **dataclasses.asdict(lock)}
    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()


def _check(path: Path, data: Any, hint: str) -> None:
    from jsonschema import Draft202012Validator

    errors = list(Draft202012Validator(read_schema("lock")).iter_errors(data))
    if errors:
        raise UserError(
            *(
                Problem(
                    error.message[:200], Location(path), dotted(tuple(error.absolute_path)), hint
                )
                for error in errors[:10]
            )
        )


def _parse(data: dict[str, Any]) -> Lock:
    return Lock(
        tools=_sets(data["tools"]),
        packages=_sets(data["packages"]),
        layers={
            series: {name: LayerPin(**pin) for name, pin in layers.items()}
            for series, layers in data["layers"].items()
        },
        models={name: ModelPin(**pin) for name, pin in data["models"].items()},
        data=data["data"],
    )


def _sets(data: dict[str, dict[str, Any]]) -> dict[str, dict[str, PackageSet]]:
    return {
        outer: {inner: _set(entry) for inner, entry in sets.items()} for outer, sets in data.items()
    }


def _set(data: dict[str, Any]) -> PackageSet:
    return PackageSet(
        data["suite"],
        data["arch"],
        tuple(data["request"]),
        tuple(Package(**package) for package in data["packages"]),
    )
