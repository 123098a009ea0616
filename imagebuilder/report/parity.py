"""The parity report of a model: parity.json, and one HTML page that needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebuilder.models.parity import Parity, parity_data
from imagebuilder.state import write_if_changed

PARITY = "parity.json"


def parity_bytes(parity: Parity) -> bytes:
    """The text of parity.json."""
    return (json.dumps(parity_data(parity), indent=2) + "\n").encode()


def write_parity(parity: Parity, folder: Path) -> None:
    """Write parity.json into `folder`."""
    write_if_changed(folder / PARITY, parity_bytes(parity))


PLACES_HEADER = ("where", "max abs off golden", "max rel", "same top-1", "of tolerance", "")


def place_rows(data: Mapping[str, Any]) -> Sequence[tuple[str, ...]]:
    """A row a place of parity.json."""
    rows = []
    for place in data["places"]:
        off = place["difference"]
        verdict = {None: "", True: "within", False: "TOO FAR"}[place["within"]]
        rows.append((
            place["name"], show(off["max_abs"]), show(off["max_rel"]), f"{100 * off['top1']:.4g} %",
            "" if place["within"] is None else f"{percent(off['used'])}", verdict,
        ))  # fmt: skip
    return rows


def show(number: float | None) -> str:
    """Three digits; what is not finite was null in JSON."""
    return "not finite" if number is None else f"{number:.3g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "not finite" if share is None else f"{100 * share:.3g} %"
