"""What is in a built image, by its engine's own list, and where two images differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.artifact import Artifacts, ImageModel
from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.kasproject.names import bundle_recipe

PACKAGES = "packages.json"
"""Name of the list with sizes; without it the engine yocto has a plain manifest."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an image: `kind` is package, runtime, server or model.

    `size` in bytes and `sha256` (empty where the engine knows none) are those of the installed
    files.
    """

    kind: str
    name: str
    version: str = ""
    size: int = 0
    sha256: str = ""
    licenses: tuple[str, ...] = ()


def image_parts(artifacts: Artifacts) -> tuple[Part, ...]:
    """The parts, the largest first; `UserError` if the list is damaged."""
    if not artifacts.has("packages"):
        return ()
    path = artifacts.path("packages")
    models = {bundle_recipe(model.name): model for model in artifacts.models}
    found = [_as_model(part, models) for part in read_parts(path)]
    return tuple(sorted(found, key=lambda part: (-part.size, part.kind, part.name)))


def _as_model(part: Part, models: Mapping[str, ImageModel]) -> Part:
    """The package of a bundle of the engine yocto as the model that it holds."""
    model = models.get(part.name)
    if model is None or part.kind != "package":
        return part
    digest = model.digest.removeprefix("sha256:")
    return Part("model", model.name, model.version, part.size, digest, part.licenses)


def read_parts(path: Path) -> tuple[Part, ...]:
    """A list as an engine wrote it: JSON, or lines of name, architecture and version."""
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            return tuple(_part(row) for row in json.loads(text))
        lines = [line.split() for line in text.splitlines() if line]
        return tuple(Part("package", name, version) for name, _, version in lines)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(Problem("is no list of packages", Location(path))) from error


def _part(row: Mapping[str, Any]) -> Part:
    return Part(row["kind"], row["name"], row["version"], row.get("size", 0),
                row.get("sha256", ""), tuple(row["licenses"]))  # fmt: skip


Sizes = dict[str, tuple[int, str]]
"""Part → size in bytes and SHA-256."""


def sizes(artifacts: Artifacts) -> Sizes:
    """Files by their kind, then what is in the image, the largest first."""
    found = {file.kind: (file.size, file.sha256) for file in artifacts.files}
    models = {f"model {m.name}": (0, m.digest.removeprefix("sha256:")) for m in artifacts.models}
    parts = {f"{p.kind} {p.name}": (p.size, p.sha256) for p in image_parts(artifacts)}
    return found | parts | {name: size for name, size in models.items() if name not in parts}


def differences(one: Sizes, other: Sizes) -> list[tuple[str, int | None, int | None]]:
    """What is not the same, with both sizes (None where it is not), what grew most first."""
    rows = [
        (name, one[name][0] if name in one else None, other[name][0] if name in other else None)
        for name in {*one, *other}
        if one.get(name) != other.get(name)
    ]
    return sorted(rows, key=lambda row: ((row[1] or 0) - (row[2] or 0), row[0]))
