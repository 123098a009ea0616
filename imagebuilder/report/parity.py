"""The parity report of a model: parity.json, and one HTML page that needs no other file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.errors import UserError
from imagebuilder.models.differences import Difference
from imagebuilder.models.parity import Place, finite
from imagebuilder.models.tolerances import derive
from imagebuilder.report.parity_page import PAGE, PARITY, parity_page
from imagebuilder.state import write_if_changed

Data = Mapping[str, Any]


def complete(measured: Data, results: Sequence[Data]) -> dict[str, Any]:
    """What parity.json holds: what was measured here, and in images and on boards.

    Those of `results` are taken that ran this very bundle.
    """
    places = [*measured["places"], *(finite(asdict(p)) for p in _places(measured, results))]
    return {**measured, "places": places, "tolerance": _tolerance(measured["largest"], places)}


def parity_files(data: Data) -> dict[str, bytes]:
    """The report's files by name."""
    text = json.dumps(data, indent=2) + "\n"
    return {PARITY: text.encode(), PAGE: parity_page(data).encode()}


def write_parity(data: Data, folder: Path) -> None:
    """Write both files into `folder`."""
    for name, raw in parity_files(data).items():
        write_if_changed(folder / name, raw)


def read_results(path: Path) -> list[Data]:
    """The results that `imagebuilder test` wrote; `UserError` if the file has none."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no readable results: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: no readable results: {error}") from error
    if not isinstance(data, list) or not all(
        isinstance(one, dict) and {"machine", "target", "parity"} <= set(one) for one in data
    ):
        hint = "`imagebuilder test` writes results.json into its output folder"
        raise UserError(f"{path}: no results with parity", hint=hint)
    return data


def _tolerance(largest: float | None, places: Sequence[Data]) -> dict[str, Any] | None:
    """What the places that ran the sealed model give; None unless two of them did."""
    off = {place["name"]: place["difference"]["max_abs"] for place in places
           if place["kind"] != "float"}  # fmt: skip
    if len(off) < 2 or largest is None or None in off.values():
        return None
    return asdict(derive(largest, off))


def _places(measured: Data, results: Sequence[Data]) -> Iterator[Place]:
    check = TensorsCheck(**measured["check"])
    for result in results:
        found = result.get("parity", {}).get(measured["name"])
        if found is None or found["digest"] != measured["digest"]:
            continue
        emulated = result["target"] == "QEMU"
        off = {key: _number(value) for key, value in found.items() if key != "digest"}
        difference = Difference(
            int(off["samples"]), off["max_abs"], off["max_rel"],
            off["agreement"] / 100, off["tolerance_used"] / 100,
        )  # fmt: skip
        where = f"image, {result['machine']} ({result['engine']})"
        yield Place(
            "image" if emulated else "board",
            where if emulated else f"board, {result['target']}",
            f"{result['cpu']}, emulated" if emulated else result["machine"],
            difference,
            difference.within(check),
        )


def _number(value: float | None) -> float:
    return math.inf if value is None else value
