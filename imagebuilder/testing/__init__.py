"""Tests of images: the target and its verbs, and the pytest plugin with its fixtures."""

from imagebuilder.testing.emulated import EmulatedTarget, emulated
from imagebuilder.testing.target import Target

__all__ = ("EmulatedTarget", "Target", "emulated")
