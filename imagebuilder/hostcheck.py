"""What a host has and what it lacks."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `mend` is what to do when it is not good."""

    what: str
    good: bool
    found: str
    mend: str


def module(name: str, extra: str) -> Finding:
    """A Python module, and the extra of ours that brings it."""
    found = importlib.util.find_spec(name) is not None
    mend = f"{sys.executable} -m pip install 'imagebuilder[{extra}]'"
    return Finding(f"Python module {name}", found, "installed" if found else "", mend)


def program(name: str, package: str) -> Finding:
    """A program in PATH, and the Debian package that has it."""
    path = shutil.which(name)
    return Finding(f"program {name}", path is not None, path or "", f"apt-get install {package}")
