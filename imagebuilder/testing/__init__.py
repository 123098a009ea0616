"""Tests of images: the target and its verbs, and the pytest plugin with its fixtures.

`Target`, `EmulatedTarget` and `emulated` are loaded on use: the commands start without numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagebuilder.testing.emulation import EmulatedTarget, emulated
    from imagebuilder.testing.target import Target

__all__ = ("EmulatedTarget", "Target", "emulated")

PLACES = {"EmulatedTarget": "emulation", "Target": "target", "emulated": "emulation"}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"imagebuilder.testing has no {name!r}")
    return getattr(import_module(f"imagebuilder.testing.{PLACES[name]}"), name)
