"""How far outputs are from the golden ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagebuilder.bundle.format import Description, TensorsCheck
from imagebuilder.models.data import Array

Tensors = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Difference:
    """Over all samples and outputs: the largest differences, and the share of the same top-1.

    `max_rel` is over the elements that are not 0 in the golden output. `used` is the largest share
    of its tolerance that an element takes, |got - want| / (atol + rtol |want|): above 1 is too far.
    """

    samples: int
    max_abs: float
    max_rel: float
    top1: float
    used: float

    def within(self, check: TensorsCheck) -> bool:
        """Whether a check passes."""
        return self.used <= 1 and (not check.top1 or self.top1 == 1)


def read_golden(
    folder: Path, description: Description
) -> tuple[Sequence[Tensors], Sequence[Tensors]]:
    """Inputs and outputs of the samples of a bundle's first check."""
    import safetensors.numpy

    check = description.checks[0]
    tensors = safetensors.numpy.load_file(folder / check.file)
    inputs, outputs = (
        [
            {spec.name: tensors[f"{number:03}.{kind}.{spec.name}"] for spec in specs}
            for number in range(check.samples)
        ]
        for kind, specs in (("input", description.inputs), ("output", description.outputs))
    )
    return inputs, outputs


def differ(got: Sequence[Tensors], want: Sequence[Tensors], check: TensorsCheck) -> Difference:
    """Compare samples by the tolerances of a check; the top-1 is that of the first output."""
    pairs = [
        (mine[name], theirs) for mine, one in zip(got, want, strict=True)
        for name, theirs in one.items()
    ]  # fmt: skip
    first = next(iter(want[0]))
    same = [bool((mine[first].argmax(-1) == one[first].argmax(-1)).all())
            for mine, one in zip(got, want, strict=True)]  # fmt: skip
    absolute, relative, used = zip(*(_difference(*pair, check) for pair in pairs), strict=True)
    return Difference(len(want), max(absolute), max(relative), sum(same) / len(same), max(used))


def farthest(got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
    """The largest absolute difference over all samples and outputs."""
    return differ(got, want, TensorsCheck("", len(want), 0.0, 0.0, top1=False)).max_abs


def largest(samples: Iterable[Tensors]) -> float:
    """The largest absolute value of an element that is a number, 0 if there is none."""
    parts = (np.abs(array.astype(np.float64)) for sample in samples for array in sample.values())
    return max((float(part[np.isfinite(part)].max(initial=0.0)) for part in parts), default=0.0)


def _difference(got: Array, want: Array, check: TensorsCheck) -> tuple[float, float, float]:
    """Largest absolute and relative difference and share of the tolerance.

    Two NaN are equal, infinities must be equal, whole numbers are compared by `atol` alone and
    truth exactly, as docs/reference/bundle-format.md has it.
    """
    one, other = got.astype(np.float64), want.astype(np.float64)
    if one.shape != other.shape:
        return float("inf"), float("inf"), float("inf")
    same = (got == want) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(one - other))
    off[np.isnan(off)] = np.inf
    if want.dtype.kind in "iu":
        # As doubles, two large ones may look equal.
        off[~same] = np.maximum(off[~same], 1.0)
    rtol, atol = _allowed(want.dtype.kind, check)
    size = np.where(np.isfinite(other), np.abs(other), 0.0)
    return (
        float(off.max(initial=0.0)),
        _ratio(off, size, where=size > 0),
        _ratio(off, atol + rtol * size, where=off > 0),
    )


def _allowed(kind: str, check: TensorsCheck) -> tuple[float, float]:
    """rtol and atol for a kind of numpy's: whole numbers may be names of classes."""
    if kind == "b":
        return 0.0, 0.0
    return (0.0 if kind in "iu" else check.rtol), check.atol


def _ratio(off: Array, size: Array, where: Array) -> float:
    with np.errstate(divide="ignore", over="ignore"):
        return float((off[where] / size[where]).max(initial=0.0))
