"""Reference histograms of what a model is asked and answers (docs/reference/bundle-format.md)."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.bundle.errors import BundleError, no_doubled_keys
from imagebuilder.bundle.format import Description

MAX_BYTES = 1 << 20
MAX_STATISTICS = 512
MAX_BOUNDS = 64
MAX_COUNT = 1 << 53
STATISTICS = ("mean", "deviation", "values", "top", "choice")
KEYS = {"side", "tensor", "statistic", "bounds", "counts"}


@dataclass(frozen=True, slots=True)
class Histogram:
    """One statistic of a tensor; `side` is input or output.

    `counts[i]` is how many were at most `bounds[i]` and above the bound before, the last how many
    were above all.
    """

    side: str
    tensor: str
    statistic: str
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """The histograms over `samples` samples."""

    samples: int
    statistics: tuple[Histogram, ...]


def drift_bytes(drift: Drift) -> bytes:
    """The text of drift.json; the same bytes for the same histograms."""
    data = {"format": 1, **dataclasses.asdict(drift)}
    return (json.dumps(data, sort_keys=True) + "\n").encode()


def read_drift(path: Path, description: Description) -> Drift:
    """Read drift.json; `BundleError` drift-malformed or drift-mismatch for anything unfit."""
    if path.stat().st_size > MAX_BYTES:
        raise malformed(f"{path.name} is over 1 MiB")
    try:
        data = json.loads(
            path.read_bytes().decode("utf-8"),
            object_pairs_hook=no_doubled_keys,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise malformed(f"{path.name} is not JSON") from error
    if not _is_drift(data):
        raise malformed(f"{path.name}: it has format 1, samples and 1 to 512 statistics")
    found = tuple(_histogram(path, item, description) for item in data["statistics"])
    if len({(h.side, h.tensor, h.statistic) for h in found}) != len(found):
        raise malformed(f"{path.name}: a statistic is doubled")
    return Drift(data["samples"], found)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_drift(data: Any) -> bool:
    return (
        isinstance(data, dict)
        and set(data) == {"format", "samples", "statistics"}
        and type(data["format"]) is int
        and data["format"] == 1
        and _is_count(data["samples"])
        and isinstance(data["statistics"], list)
        and 1 <= len(data["statistics"]) <= MAX_STATISTICS
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _histogram(path: Path, item: Any, description: Description) -> Histogram:
    if not isinstance(item, dict) or set(item) != KEYS or item["statistic"] not in STATISTICS:
        raise malformed(f"{path.name}: a statistic has side, tensor, statistic, bounds and counts")
    if item["side"] not in ("input", "output"):
        raise malformed(f"{path.name}: a side is input or output")
    specs = description.inputs if item["side"] == "input" else description.outputs
    if not any(s.name == item["tensor"] and s.dtype != "string" for s in specs):
        what = f"{path.name}: bundle.json has no numbers called {str(item['tensor'])[:100]}"
        raise BundleError("drift-mismatch", what)
    bounds, counts = item["bounds"], item["counts"]
    if not _are_bounds(bounds):
        raise malformed(f"{path.name}: bounds must be 1 to 64 rising numbers")
    if not isinstance(counts, list) or len(counts) != len(bounds) + 1:
        raise malformed(f"{path.name}: counts must be one more than bounds")
    if not all(map(_is_count, counts)) or not any(counts):
        raise malformed(f"{path.name}: counts must be whole numbers, not all 0")
    return Histogram(
        item["side"], item["tensor"], item["statistic"],
        tuple(float(b) for b in bounds), tuple(counts),
    )  # fmt: skip


def _are_bounds(bounds: Any) -> bool:
    return (
        isinstance(bounds, list)
        and 1 <= len(bounds) <= MAX_BOUNDS
        and all(type(b) in (int, float) and _is_finite(b) for b in bounds)
        and all(float(a) < float(b) for a, b in itertools.pairwise(bounds))
    )


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Population stability index of two histograms with as many bins, as inferd computes it.

    The sum of (a - e) ln(a / e) over the bins' shares (N. Siddiqi, Credit Risk Scorecards, 2006);
    half a count is added to every bin, so that an empty one has a share.
    """
    total = 0.0
    for e, a in zip(_shares(expected), _shares(actual), strict=True):
        total += (a - e) * math.log(a / e)
    return total


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def malformed(what: str) -> BundleError:
    """The file breaks a rule of its format."""
    return BundleError("drift-malformed", what)
