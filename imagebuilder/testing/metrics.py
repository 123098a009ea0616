"""Reads Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations


def parse_metrics(text: str) -> dict[str, float]:
    """Samples by `name{labels}`, as the server wrote it; comments and timestamps are left out."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            end = line.rfind("}") + 1 or line.index(" ")
            found[line[:end]] = float(line[end:].split()[0])
    return found
