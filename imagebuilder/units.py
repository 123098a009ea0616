"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import re

MIB = 1 << 20

_FACTORS = {"": 1, "B": 1} | {
    f"{letter}{middle}B": (1024 if middle else 1000) ** power
    for power, letter in enumerate("KMGT", start=1)
    for middle in ("", "i")
}


def parse_size(text: str | int) -> int:
    """`"64MiB"` as bytes; a number is bytes already. `ValueError` if it is no size."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?B|B|)", text)
    if not match:
        raise ValueError(f"{text!r} is not a size such as 64MiB")
    return int(float(match[1]) * _FACTORS[match[2]])


def show_size(count: int) -> str:
    """Bytes as a person reads them, for example `1.5 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
