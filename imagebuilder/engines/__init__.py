"""Engines: what builds images. One row of the table and one package each."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from imagebuilder.artifact import Artifacts
from imagebuilder.errors import Problem
from imagebuilder.executor import Action
from imagebuilder.fetch.debian import Archive
from imagebuilder.lock import Lock
from imagebuilder.plan import Plan
from imagebuilder.resolve import Build

ENGINES = {
    "debian": "imagebuilder.engines.debian",
    "yocto": "imagebuilder.engines.yocto",
}
"""Name → module with an object `ENGINE`."""


class Engine(Protocol):
    """What an engine can do."""

    variant: str

    def problems(self, build: Build) -> Iterator[Problem]:
        """What keeps this engine from building it, though machine and models fit."""

    def lock(self, build: Build, archive: Archive, *, update: bool, strict: bool) -> Lock:
        """`build.lock` with all that this build lacks; only `strict` refuses to add to it.

        `update` renews also what is there. Raises `UserError`.
        """

    def plan(self, build: Build) -> Plan:
        """The steps of a build whose lock is complete. Pure."""

    def actions(self, build: Build, archive: Archive, folder: Path) -> Mapping[str, Action]:
        """Action name → function; what is kept between builds lies in the output `folder`."""

    def collect(self, build: Build, outputs: Mapping[str, Path], folder: Path) -> Artifacts:
        """Put the results of the steps into the output folder."""


def load_engine(name: str) -> Engine:
    """The engine of a name; `KeyError` if there is none."""
    engine: Engine = importlib.import_module(ENGINES[name]).ENGINE
    return engine
