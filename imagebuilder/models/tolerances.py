"""Tolerances from measured differences between processors.

The largest difference D between any two places that ran the same model on the same inputs, as a
share of the largest output S, is what processors were seen to differ by: t = max(M D / S, F) with
M = `MARGIN` for the processors that were not measured, and F = `FLOOR` for sums of float32 in
another order. A check takes rtol = t and atol = t S, so that a value near 0 may be off by a share
of the largest one and a large value by about twice as much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from imagebuilder.errors import BuildError

MARGIN = 4.0
FLOOR = 2.0**-16
"""128 units in the last place of a float32."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What was derived, and from what: place or processor → its largest absolute difference."""

    rtol: float
    atol: float
    largest: float
    differences: Mapping[str, float]
    margin: float = MARGIN
    floor: float = FLOOR


def derive(largest: float, differences: Mapping[str, float]) -> Tolerance:
    """The tolerance for outputs of at most `largest`; `BuildError` where a value is no number."""
    for name, off in differences.items():
        if not math.isfinite(off):
            raise BuildError(f"{name}: values that are no numbers here or there: no tolerance fits")
    scale = largest if math.isfinite(largest) and largest > 0 else 1.0
    share = max(MARGIN * max(differences.values(), default=0.0) / scale, FLOOR)
    return Tolerance(rounded_up(share), rounded_up(share * scale), largest, dict(differences))


def rounded_up(value: float) -> float:
    """The next number of two digits."""
    exponent = math.floor(math.log10(value)) - 1
    # What is two digits already must not be taken for more by the last bit of its quotient.
    return float(f"{math.ceil(round(value / 10.0**exponent, 9))}e{exponent}")
