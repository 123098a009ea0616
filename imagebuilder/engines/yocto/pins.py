"""The layers in the lock."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from imagebuilder.catalog.series import Series
from imagebuilder.engines.locking import lock_python
from imagebuilder.kasproject.settings import yocto_machine
from imagebuilder.kasproject.sources import digest, folder_files
from imagebuilder.lock import LayerPin, Lock, LockUnfit
from imagebuilder.resolve import Build

PYTHON = ("imagebuilder", "jinja2", "kas")
"""What writes the project, and what runs BitBake."""


def lock_project(build: Build, *, update: bool, strict: bool) -> Lock:
    """The build's lock with layers, the user's own layers, and tools.

    Raises `LockUnfit` when `strict` and what is locked differs.
    """
    layers, folders = _lock_layers(build, update, strict), _lock_folders(build, strict)
    lock = dataclasses.replace(build.lock, layers=layers, folders=folders)
    return lock_python(lock, PYTHON, strict=strict)


def _lock_layers(build: Build, update: bool, strict: bool) -> dict[str, Mapping[str, LayerPin]]:
    """All layer pins, those of the build's series taken from the series' file.

    Raises `LockUnfit` when `strict` and the locked ones differ.
    """
    series = build.series
    assert series is not None
    wanted = series_pins(series, build)
    have = build.lock.layers.get(series.name, {})
    if strict and not update and any(have.get(name) != pin for name, pin in wanted.items()):
        what = f"the lock does not have the layers of {series.name}"
        raise LockUnfit(what, hint="run `imagebuilder lock --engine yocto`")
    return {**build.lock.layers, series.name: {**have, **wanted}}


def _lock_folders(build: Build, strict: bool) -> dict[str, str]:
    """The digests of the user's own layers; raises `LockUnfit` when `strict` and one differs."""
    manifest, have = build.manifest, build.lock.folders
    found = {
        os.path.relpath(layer, manifest.folder): digest(folder_files(layer.resolve()))
        for layer in manifest.yocto.layers
    }
    problems = [
        manifest.problem(
            ("yocto", "layers", index, "path"),
            f"{name} was changed since it was locked" if name in have else f"{name} is not locked",
            "run `imagebuilder lock --engine yocto`, or take the change back",
        )
        for index, (name, sha256) in enumerate(found.items())
        if have.get(name) != sha256
    ]
    if strict and problems:
        raise LockUnfit(*problems)
    return {**have, **found}


def series_pins(series: Series, build: Build) -> dict[str, LayerPin]:
    """Repository → pin of those that the build's machine needs."""
    return {
        repository.name: LayerPin(repository.url, repository.commit)
        for repository in series.selected(yocto_machine(build, series).layers)
    }
