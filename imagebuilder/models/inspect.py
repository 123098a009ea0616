"""What a model is made of; a hostile file is parsed in a process of limited memory and time."""

from __future__ import annotations

import collections
import json
import math
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.formats import model_format
from imagebuilder.models.peak import peak
from imagebuilder.run import run

MEMORY = 1 << 30
"""Bytes of address space for parsing a model of at most `SMALL` bytes."""
CPU_SECONDS = 5
"""Seconds of a processor for the same."""
SMALL = 128 << 20
WALL_SECONDS = 60
"""Seconds for the same on a host that is busy with something else."""

ELEMENT_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
"""Bytes of an element by onnx.TensorProto.DataType."""

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
          8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32",
          13: "uint64"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output; a free axis is shown by its name or as -1."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """An ONNX or TensorFlow Lite model.

    Sizes are in bytes, `operators` maps a type to how often it occurs.

    `activation_bytes` is the largest sum of all tensors that are alive at once when nodes run in
    the file's order, with free axes taken as 1; 0 where shapes cannot be inferred. Of TensorFlow
    Lite `ir` is the version of the schema, and there is no `opset`: 0.
    """

    ir: int
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]
    parameters: int
    weights_bytes: int
    activation_bytes: int
    file_bytes: int


def inspect_model(path: Path) -> ModelInfo:
    """Inspect an ONNX or TensorFlow Lite file.

    Raises `UserError` if it is none, is damaged, or is too much to parse.
    """
    module = [str(sys.executable), "-m", "imagebuilder.models.inspect", str(path.absolute())]
    # A numerical library reserves address space for each core, which the limit counts.
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        size = path.stat().st_size
        done = run(module, env=one_thread, check=False, timeout=WALL_SECONDS * share(size))
    except BuildError as error:
        raise UserError(f"{path.name}: takes too long to parse") from error
    if done.exit_code == 0:
        return parse_info(json.loads(done.stdout))
    reasons = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = reasons[-1] if reasons and done.exit_code == 2 else "it cannot be parsed"
    if done.exit_code == -signal.SIGXCPU:
        reason = "it takes too long to parse"
    name = {"tflite": "TensorFlow Lite"}.get(model_format(path), "ONNX")
    hint = f"a model in the {name} format is needed"
    raise UserError(f"{path.name}: not a valid {name} model: {reason}", hint=hint)


def share(size: int) -> int:
    """How many times the limits of a small model one of `size` bytes gets, at least 1."""
    return -(-max(size, 1) // SMALL)


def parse_info(data: dict[str, Any]) -> ModelInfo:
    """The reverse of `dataclasses.asdict`."""
    ports = {
        kind: tuple(Port(p["name"], p["dtype"], tuple(p["shape"])) for p in data[kind])
        for kind in ("inputs", "outputs")
    }
    return ModelInfo(**{**data, **ports})


def main(path: Path) -> int:
    """Parse one file within limits and print what is in it as JSON."""
    times = share(path.stat().st_size)
    resource.setrlimit(resource.RLIMIT_AS, (times * MEMORY, times * MEMORY))
    # The hard limit kills; the soft one, a second before it, says why.
    resource.setrlimit(resource.RLIMIT_CPU, (times * CPU_SECONDS, times * CPU_SECONDS + 1))
    try:
        info = _read_tflite(path) if model_format(path) == "tflite" else _read_onnx(path)
    except Exception as error:
        words = str(error).strip().splitlines()
        print(words[0][:200] if words else type(error).__name__, file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(asdict(info)))  # noqa: T201
    return 0


def _read_tflite(path: Path) -> ModelInfo:
    from imagebuilder.models.tflite import describe

    return parse_info(describe(path.read_bytes()))


def _read_onnx(path: Path) -> ModelInfo:
    import onnx

    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=False)
    return _describe(model, path)


def _describe(model: Any, path: Path) -> ModelInfo:
    graph = model.graph
    names = {tensor.name for tensor in graph.initializer}
    weights = [(math.prod(t.dims), ELEMENT_SIZES.get(t.data_type, 4)) for t in graph.initializer]
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return ModelInfo(
        ir=model.ir_version,
        opset=max(opsets, default=0),
        inputs=tuple(_port(value) for value in graph.input if value.name not in names),
        outputs=tuple(_port(value) for value in graph.output),
        operators=dict(sorted(collections.Counter(n.op_type for n in graph.node).items())),
        parameters=sum(count for count, _ in weights),
        weights_bytes=sum(count * size for count, size in weights),
        activation_bytes=_activations(model, names),
        file_bytes=path.stat().st_size,
    )


def _port(value: Any) -> Port:
    kind = value.type.tensor_type
    shape = [d.dim_value or d.dim_param or -1 for d in kind.shape.dim]
    return Port(value.name, DTYPES.get(kind.elem_type, "?"), tuple(shape))


def _activations(model: Any, weights: set[str]) -> int:
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:
        return 0
    values = [*graph.value_info, *graph.input, *graph.output]
    sizes = {value.name: _bytes(value) for value in values if value.name not in weights}
    return peak(
        [([*node.input], [*node.output]) for node in graph.node],
        sizes,
        {value.name for value in graph.output},
    )


def _bytes(value: Any) -> int:
    kind = value.type.tensor_type
    count = math.prod(max(1, int(d.dim_value)) for d in kind.shape.dim)
    return count * ELEMENT_SIZES.get(kind.elem_type, 4)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
