"""Golden samples of a bundle as requests of the Open Inference Protocol, and their comparison."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.models.differences import differ, read_golden
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
    """How far answers are from the golden outputs, over all samples; as in `Difference`."""

    max_abs: float
    max_rel: float
    agreement: float
    used: float
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
        inputs, outputs = read_golden(bundle.folder, bundle.description)
        check = bundle.description.checks[0]
        return cls(bundle.description.name, check, tuple(inputs), tuple(outputs))

    def first(self, count: int) -> Goldens:
        """Those of the first `count` samples, for speed."""
        return dataclasses.replace(self, inputs=self.inputs[:count], outputs=self.outputs[:count])

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
        found = differ(answers, self.outputs, self.check)
        return Parity(
            found.max_abs, found.max_rel, found.top1, found.used, found.within(self.check)
        )


def infer_request(sample: Mapping[str, Array]) -> bytes:
    """A request for one sample in JSON, for an answer in bytes: JSON has no infinity and no NaN."""
    inputs = [
        {"name": name, "datatype": DATATYPES[str(array.dtype)], "shape": list(array.shape),
         "data": array.reshape(-1).tolist()}
        for name, array in sample.items()
    ]  # fmt: skip
    return json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()


def decode_answer(body: bytes) -> dict[str, Array]:
    """The outputs of an answer, by name: their values are bytes behind the JSON, or in it."""
    dtypes = {short: name for name, short in DATATYPES.items()}
    # A character for each byte tells where the JSON ends.
    _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    rest, arrays = body[end:], {}
    for item in json.loads(body[:end])["outputs"]:
        dtype = dtypes[item["datatype"]]
        if "data" in item:
            values = np.asarray(item["data"], dtype)
        else:
            size = item["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], dtype).copy(), rest[size:]
        arrays[item["name"]] = values.reshape(item["shape"])
    return arrays
