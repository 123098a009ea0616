"""How two sealed models differ on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.errors import UserError
from imagebuilder.models.data import Array
from imagebuilder.models.runner import Runner


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over all samples: share with the same top-1, largest absolute and relative difference."""

    samples: int
    top1: float
    max_abs: float
    max_rel: float


def agreement(one: SealedBundle, other: SealedBundle) -> Agreement:
    """Run both on the golden inputs of the first, and compare their first outputs.

    Raises `UserError` when the second model has other inputs or outputs.
    """
    import safetensors.numpy

    if (one.description.inputs, one.description.outputs) != (
        other.description.inputs,
        other.description.outputs,
    ):
        raise UserError(f"{one.folder} and {other.folder} have other inputs or outputs")
    check = one.description.checks[0]
    tensors = safetensors.numpy.load_file(one.folder / check.file)
    runners = [Runner(b.folder / b.description.model.file) for b in (one, other)]
    pairs = []
    for number in range(check.samples):
        inputs = {s.name: tensors[f"{number:03}.input.{s.name}"] for s in one.description.inputs}
        pairs.append([runner.run(inputs)[0].astype(np.float64) for runner in runners])
    return _measure(pairs)


def _measure(pairs: list[list[Array]]) -> Agreement:
    off = [np.abs(a - b) for a, b in pairs]
    relative = [
        float((o[np.abs(a) > 0] / np.abs(a)[np.abs(a) > 0]).max(initial=0.0))
        for o, (a, _) in zip(off, pairs, strict=True)
    ]
    same = [bool((a.argmax(-1) == b.argmax(-1)).all()) for a, b in pairs]
    return Agreement(
        len(pairs),
        sum(same) / len(same),
        max(float(o.max(initial=0.0)) for o in off),
        max(relative),
    )
