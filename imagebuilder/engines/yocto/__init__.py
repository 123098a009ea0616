"""The engine `yocto`: a plain kas project for the build, and BitBake through kas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.catalog import shipped
from imagebuilder.engines.yocto.collect import collect
from imagebuilder.engines.yocto.pins import lock_layers
from imagebuilder.engines.yocto.steps import make_image, make_plan, make_project
from imagebuilder.errors import Problem
from imagebuilder.executor import Action
from imagebuilder.fetch.debian import Archive
from imagebuilder.kasproject.problems import project_problems
from imagebuilder.lock import Lock
from imagebuilder.plan import Plan
from imagebuilder.resolve import Build


class YoctoEngine:
    """Implements `imagebuilder.engines.Engine`."""

    variant = "release"

    def problems(self, build: Build) -> Iterator[Problem]:
        """What keeps the build from becoming a project."""
        assert build.series is not None
        return project_problems(build, build.series, shipped("layers"))

    def lock(self, build: Build, archive: Archive, *, update: bool, strict: bool) -> Lock:
        """Pin the series' layers."""
        del archive
        return dataclasses.replace(build.lock, layers=lock_layers(build, update, strict))

    def plan(self, build: Build) -> Plan:
        """The project, then the image."""
        return make_plan(build)

    def actions(self, build: Build, archive: Archive, folder: Path) -> Mapping[str, Action]:
        """The functions of the steps; the project and BitBake's own folders are in `folder`."""
        del archive
        return {
            "project": partial(make_project, build),
            "image": partial(make_image, build, folder),
        }

    def collect(self, build: Build, outputs: Mapping[str, Path], folder: Path) -> Artifacts:
        """Put the images into the output folder."""
        return collect(build, outputs["image"], folder)


ENGINE = YoctoEngine()
