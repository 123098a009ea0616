"""Resolve: from what was asked and what exists to what was decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.catalog.machine import Machine
from imagebuilder.catalog.runtime import Runtime, RuntimeTarget
from imagebuilder.lock import Lock
from imagebuilder.manifest import Manifest, ModelRequest


@dataclass(frozen=True, slots=True)
class BuildModel:
    """A model of the image: its sealed bundle and the runtime that will run it."""

    request: ModelRequest
    bundle: SealedBundle
    runtime: Runtime
    target: RuntimeTarget


@dataclass(frozen=True, slots=True)
class Build:
    """The complete build: everything is decided, nothing is done."""

    manifest: Manifest
    machine: Machine
    engine: str
    variant: str
    models: tuple[BuildModel, ...]
    lock: Lock
