"""The engine `debian`: a bootable image from Debian packages, without root, within seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.engines.debian.collect import collect
from imagebuilder.engines.debian.config import ignored
from imagebuilder.engines.debian.packages import requests
from imagebuilder.engines.debian.steps import ACTIONS, Tools
from imagebuilder.engines.debian.steps_plan import make_plan
from imagebuilder.engines.locking import lock_packages
from imagebuilder.errors import Problem
from imagebuilder.executor import Action
from imagebuilder.fetch.debian import Archive
from imagebuilder.lock import Lock
from imagebuilder.plan import Plan
from imagebuilder.resolve import Build


class DebianEngine:
    """Implements `imagebuilder.engines.Engine`."""

    variant = "dev"

    def problems(self, build: Build) -> Iterator[Problem]:
        """None: what it does not do is only warned of."""
        del build
        return iter(())

    def lock(self, build: Build, archive: Archive, *, update: bool, strict: bool) -> Lock:
        """Pin the packages that the build lacks; warn of what the engine does not do."""
        for problem in ignored(build):
            archive.fetcher.log.warning(str(problem))
        return lock_packages(build, requests(build), archive, update=update, strict=strict)

    def plan(self, build: Build) -> Plan:
        """The steps of the build."""
        return make_plan(build)

    def actions(self, build: Build, archive: Archive, folder: Path) -> Mapping[str, Action]:
        """The functions of the steps."""
        del folder
        tools = Tools(build, archive)
        return {name: partial(action, tools) for name, action in ACTIONS.items()}

    def collect(self, build: Build, outputs: Mapping[str, Path], folder: Path) -> Artifacts:
        """Put image, kernel and lists into the output folder."""
        return collect(build, outputs, folder)


ENGINE = DebianEngine()
