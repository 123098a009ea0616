"""How two sealed models differ on the same inputs."""

from __future__ import annotations

from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.errors import UserError
from imagebuilder.models.differences import Difference, differ, read_golden
from imagebuilder.models.runner import Runner


def agreement(one: SealedBundle, other: SealedBundle) -> Difference:
    """Run both on the golden inputs of the first, and compare their outputs by its tolerances.

    Raises `UserError` when the second model has other inputs or outputs.
    """
    if (one.description.inputs, one.description.outputs) != (
        other.description.inputs,
        other.description.outputs,
    ):
        raise UserError(f"{one.folder} and {other.folder} have other inputs or outputs")
    inputs, _ = read_golden(one.folder, one.description)
    want, got = (Runner(b.folder / b.description.model.file).named(inputs) for b in (one, other))
    return differ(got, want, one.description.checks[0])
