"""The layers in the lock. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from imagebuilder.catalog.series import Series
from imagebuilder.kasproject.settings import yocto_machine
from imagebuilder.lock import LayerPin, LockUnfit
from imagebuilder.resolve import Build


def lock_layers(build: Build, update: bool, strict: bool) -> dict[str, Mapping[str, LayerPin]]:
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


def series_pins(series: Series, build: Build) -> dict[str, LayerPin]:
    """Repository → pin of those that the build's machine needs."""
    return {
        repository.name: LayerPin(repository.url, repository.commit)
        for repository in series.selected(yocto_machine(build, series).layers)
    }
