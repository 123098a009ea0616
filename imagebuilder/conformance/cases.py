"""The operator models of Debian's libonnx-testdata: one small model each, with input and output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from imagebuilder.bundle.golden import DTYPES, TEXT
from imagebuilder.errors import UserError

Array = npt.NDArray[Any]

FOLDER = "usr/share/libonnx-testdata/data"
"""Where the models are in the unpacked package; those in `light` have no inputs."""
MAX_AXES = 8


@dataclass(frozen=True, slots=True)
class Named:
    """A tensor by the model's name of it; text is an array of `bytes`."""

    name: str
    array: Array

    @property
    def dtype(self) -> str:
        """As bundle.json names it."""
        return TEXT if self.array.dtype == np.object_ else str(self.array.dtype)


@dataclass(frozen=True, slots=True)
class Case:
    """An operator model; `unsupported` tells why no bundle can carry it, empty if one can.

    `operators` are those of its graph, with their domain but for ONNX's own, sorted.
    """

    name: str
    model: Path
    operators: tuple[str, ...]
    inputs: tuple[Named, ...] = ()
    outputs: tuple[Named, ...] = ()
    unsupported: str = ""


class Uncarried(Exception):
    """Why a model cannot be carried."""


def find_models(root: Path) -> list[Path]:
    """The models of an unpacked package, sorted by name; `UserError` if there are none."""
    found = sorted((root / FOLDER).glob("*/*/model.onnx"), key=lambda path: path.parent.name)
    if not found:
        raise UserError(f"{root / FOLDER}: there are no operator models here")
    return found


def model_name(path: Path) -> str:
    """The name of the model in this file."""
    return path.parent.name.removeprefix("test_")


def spread(items: Sequence[Path], count: int | None) -> list[Path]:
    """`count` of the models, evenly spread; all without a count."""
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def read_case(path: Path) -> Case:
    """The model in a folder with its first data set."""
    model = onnx.load(path)
    name = model_name(path)
    operators = tuple(sorted({_operator(node) for node in model.graph.node}))
    try:
        inputs = _tensors(path.parent, "input", _fed(model.graph))
        outputs = _tensors(path.parent, "output", model.graph.output)
    except Uncarried as reason:
        return Case(name, path, operators, unsupported=str(reason))
    return Case(name, path, operators, inputs, outputs)


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _fed(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that have no value of their own."""
    own = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in own]


def _tensors(folder: Path, kind: str, values: Iterable[onnx.ValueInfoProto]) -> tuple[Named, ...]:
    values = list(values)
    if not values:
        raise Uncarried(f"a model has at least one {kind}")
    files = [folder / "test_data_set_0" / f"{kind}_{number}.pb" for number in range(len(values))]
    return tuple(_tensor(value, file) for value, file in zip(values, files, strict=True))


def _tensor(value: onnx.ValueInfoProto, file: Path) -> Named:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise Uncarried(f"bundles have tensors, no {str(kind).removesuffix('_type')}")
    if not file.is_file():
        raise Uncarried(f"the package has no {file.name}")
    tensor = onnx.load_tensor(file)
    found = _array(tensor)
    named = Named(value.name, found)
    if tensor.data_type != value.type.tensor_type.elem_type:
        raise Uncarried("the package's data have another type than the model")
    if found.ndim > MAX_AXES:
        raise Uncarried(f"a tensor has at most {MAX_AXES} axes")
    return named


def _array(tensor: onnx.TensorProto) -> Array:
    if tensor.data_type == onnx.TensorProto.STRING:
        found = np.empty(len(tensor.string_data), np.object_)
        found[:] = list(tensor.string_data)
        return found.reshape(tuple(tensor.dims))
    known = {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in DTYPES}
    if tensor.data_type not in known:
        raise Uncarried(f"there is no dtype {onnx.TensorProto.DataType.Name(tensor.data_type)}")
    return np.asarray(numpy_helper.to_array(tensor))
