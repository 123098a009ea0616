"""The parity report of a model: parity.json, and one HTML page that needs no other file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebuilder.errors import UserError
from imagebuilder.models.differences import Difference
from imagebuilder.models.parity import Parity, Place, parity_data
from imagebuilder.report.parity_page import parity_page
from imagebuilder.state import write_if_changed

PARITY, PAGE = "parity.json", "parity.html"


def parity_files(data: Mapping[str, Any]) -> dict[str, bytes]:
    """The report's files by name, of what `parity_data` gives."""
    text = json.dumps(data, indent=2) + "\n"
    return {PARITY: text.encode(), PAGE: parity_page(data).encode()}


def write_parity(parity: Parity, folder: Path) -> dict[str, Any]:
    """Write both files into `folder`; what parity.json holds."""
    data = parity_data(parity)
    for name, raw in parity_files(data).items():
        write_if_changed(folder / name, raw)
    return data


def with_results(parity: Parity, results: Sequence[Mapping[str, Any]]) -> Parity:
    """The same with the machines and boards among `results` that ran this very bundle."""
    return dataclasses.replace(parity, places=(*parity.places, *_places(parity, results)))


def read_results(path: Path) -> list[Mapping[str, Any]]:
    """The results that `imagebuilder test` wrote; `UserError` if the file has none."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable results: {error}") from error
    if not isinstance(data, list) or not all(
        isinstance(one, dict) and {"machine", "target", "parity"} <= set(one) for one in data
    ):
        hint = "`imagebuilder test` writes results.json into its output folder"
        raise UserError(f"{path}: no results with parity", hint=hint)
    return data


def _places(parity: Parity, results: Sequence[Mapping[str, Any]]) -> Iterator[Place]:
    for result in results:
        found = result["parity"].get(parity.name)
        if found is None or found["digest"] != parity.digest:
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
            difference.within(parity.check),
        )


def _number(value: float | None) -> float:
    return math.inf if value is None else value
