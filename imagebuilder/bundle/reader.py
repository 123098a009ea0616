"""Reads sealed bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagebuilder.bundle.format import Description


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A sealed bundle in `folder`; `digest` is `sha256:` and the SHA-256 of its bundle.json."""

    folder: Path
    digest: str
    description: Description
