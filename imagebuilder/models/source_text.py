"""Where a model came from, as text."""

from __future__ import annotations

from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.source import DebSource, PathSource, PypiSource


def source_text(source: BundleSource) -> str:
    """Where the model came from, as text without a path of this host."""
    match source.source:
        case PathSource(path=path):
            return path
        case PypiSource(pin=pin, file=file, member=member):
            return " ".join(part for part in (pin, file, member) if part)
        case DebSource(pin=pin, file=file):
            return f"{pin} {file}"
        case other:
            return other.url
