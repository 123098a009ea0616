"""Golden samples of a bundle as requests of the Open Inference Protocol, and their comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.target import api
from imagebuilder.target.reachable import Reachable

Array = npt.NDArray[Any]

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "int8": "INT8", "uint16": "UINT16", "int16": "INT16",
    "uint32": "UINT32", "int32": "INT32", "uint64": "UINT64", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
"""numpy's name → the protocol's."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far answers are from the golden outputs, over all samples."""

    max_abs: float
    max_rel: float
    agreement: float
    within: bool


@dataclass(frozen=True, slots=True)
class Goldens:
    """The samples of one check."""

    name: str
    check: TensorsCheck
    inputs: tuple[Mapping[str, Array], ...]
    outputs: tuple[Mapping[str, Array], ...]

    @classmethod
    def read(cls, bundle: SealedBundle) -> Goldens:
        """The samples of a bundle's first check."""
        check = bundle.description.checks[0]
        tensors = safetensors.numpy.load_file(bundle.folder / check.file)
        parts = {
            kind: tuple(
                {
                    spec.name: tensors[f"{number:03}.{kind}.{spec.name}"]
                    for spec in getattr(bundle.description, f"{kind}s")
                }
                for number in range(check.samples)
            )
            for kind in ("input", "output")
        }
        return cls(bundle.description.name, check, parts["input"], parts["output"])

    def ask(self, target: Reachable) -> tuple[Mapping[str, Array], ...]:
        """The server's answers to all samples; `AssertionError` for any but status 200."""
        return tuple(self._ask(target, sample) for sample in self.inputs)

    def _ask(self, target: Reachable, sample: Mapping[str, Array]) -> Mapping[str, Array]:
        path = f"/v2/models/{self.name}/infer"
        answer = api.request(target, "POST", path, infer_request(sample))
        assert answer.status == 200, f"{answer.status}: {answer.body[:500]!r}"
        return decode_answer(answer.body)

    def compare(self, answers: tuple[Mapping[str, Array], ...]) -> Parity:
        """Compare answers with the golden outputs by the check's tolerances."""
        pairs = [
            (answer[name], want)
            for answer, wanted in zip(answers, self.outputs, strict=True)
            for name, want in wanted.items()
        ]
        first = next(iter(self.outputs[0]))
        same = [
            bool((answer[first].argmax(-1) == wanted[first].argmax(-1)).all())
            for answer, wanted in zip(answers, self.outputs, strict=True)
        ]
        differences = [_difference(got, want) for got, want in pairs]
        close = all(
            np.allclose(got, want, self.check.rtol, self.check.atol, equal_nan=True)
            for got, want in pairs
        )
        agreement = sum(same) / len(same)
        return Parity(
            max_abs=max(absolute for absolute, _ in differences),
            max_rel=max(relative for _, relative in differences),
            agreement=agreement,
            within=close and (not self.check.top1 or agreement == 1.0),
        )


def infer_request(sample: Mapping[str, Array]) -> bytes:
    """A JSON request for one sample."""
    inputs = [
        {"name": name, "datatype": DATATYPES[str(array.dtype)], "shape": list(array.shape),
         "data": array.reshape(-1).tolist()}
        for name, array in sample.items()
    ]  # fmt: skip
    return json.dumps({"inputs": inputs}).encode()


def decode_answer(body: bytes) -> dict[str, Array]:
    """The outputs of a JSON answer, by name."""
    dtypes = {short: name for name, short in DATATYPES.items()}
    return {
        item["name"]: np.asarray(item["data"], dtypes[item["datatype"]]).reshape(item["shape"])
        for item in json.loads(body)["outputs"]
    }


def _difference(got: Array, want: Array) -> tuple[float, float]:
    off = np.abs(got.astype(np.float64) - want.astype(np.float64))
    size = np.abs(want.astype(np.float64))
    relative = off[size > 0] / size[size > 0]
    return float(off.max(initial=0.0)), float(relative.max(initial=0.0))
