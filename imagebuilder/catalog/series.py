"""Series: Yocto releases and the layers that go with them, one YAML file each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagebuilder.errors import Problem
from imagebuilder.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository pinned by full commit; `layers` are folders in it that BitBake reads."""

    name: str
    url: str
    branch: str
    commit: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer by name: where it lies, and which layers it needs besides those of every build."""

    repository: str
    path: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Pinned layers of one release of OE-core, by which layers say what they are for.

    `always` are the layers of every build, `unpack_folder` BitBake's variable.
    """

    name: str
    release: str
    file: YamlFile
    description: str
    unpack_folder: str
    repositories: dict[str, Repository]
    layers: dict[str, Layer]
    always: tuple[str, ...]

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these layers that the series does not have."""
        return tuple(name for name in names if name not in self.layers)

    def selected(self, names: Iterable[str]) -> tuple[Repository, ...]:
        """BitBake and the repositories of these layers and all they need, in the file's order.

        Each with only the layers that are used. `KeyError` for a layer that is `missing`.
        """
        wanted = self._closure((*self.always, *names))
        paths: dict[str, list[str]] = {"bitbake": []}
        for name in self.layers:
            if name in wanted:
                layer = self.layers[name]
                paths.setdefault(layer.repository, []).append(layer.path)
        return tuple(
            dataclasses.replace(repository, layers=tuple(paths[name]))
            for name, repository in self.repositories.items()
            if name in paths
        )

    def _closure(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.layers[name].needs
        return found


def make_series(name: str, file: YamlFile) -> Series:
    """A series from a file that has passed the schema."""
    data = file.data
    return Series(
        name=name,
        release=data.get("release", name),
        file=file,
        description=data["description"],
        unpack_folder=data["unpack_folder"],
        repositories={
            key: Repository(key, entry["url"], str(entry["branch"]), entry["commit"], ())
            for key, entry in data["repositories"].items()
        },
        layers={key: _layer(key, entry) for key, entry in data["layers"].items()},
        always=tuple(data["always"]),
    )


def _layer(name: str, data: dict[str, Any]) -> Layer:
    return Layer(data.get("repository", name), data.get("path", "."), tuple(data.get("needs", ())))


def series_problems(series: Series) -> Iterator[Problem]:
    """References of the file that lead nowhere."""
    if "bitbake" not in series.repositories:
        yield series.file.problem(("repositories",), "has no bitbake")
    for name, layer in series.layers.items():
        if layer.repository not in series.repositories:
            what = f"{layer.repository} is not among the repositories"
            yield series.file.problem(("layers", name, "repository"), what)
        for need in series.missing(layer.needs):
            yield series.file.problem(("layers", name, "needs"), f"there is no layer {need}")
    for name in series.missing(series.always):
        yield series.file.problem(("always",), f"there is no layer {name}")
