"""Writes `bundle.json` in its canonical form."""

from __future__ import annotations

import dataclasses
import json

from imagebuilder.bundle.format import Description


def description_bytes(description: Description) -> bytes:
    """Keys sorted, two spaces, ASCII, one newline at the end."""
    data = {"format": 1, **dataclasses.asdict(description)}
    texts = data.pop("text_checks")
    data["checks"] = [
        *({"kind": "tensors", **check} for check in data["checks"]),
        *({"kind": "text", **check} for check in texts),
    ]
    if data["text"] is None:
        del data["text"]
    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode("ascii")
