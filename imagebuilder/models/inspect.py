"""What a model is made of; a hostile file is parsed in a process of limited memory and time."""

from __future__ import annotations

import json
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.formats import model_format
from imagebuilder.run import Completed, run

MEMORY = 1 << 30
"""Bytes of address space for parsing a model of at most `SMALL` bytes."""
CPU_SECONDS = 5
"""Seconds of a processor for the same."""
SMALL = 128 << 20
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""A numerical library reserves address space for each core, which the limit counts."""
WALL_SECONDS = 60
"""Seconds for the same on a host that is busy with something else."""


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
    the file's order, with free axes taken as 1; 0 where shapes cannot be inferred. `macs` are the
    multiplications with an addition of one run, likewise; those of `uncounted` nodes are not in it.
    `needs` are the kernels a runtime must have, each as `DOMAIN OPERATOR VERSION`. Of TensorFlow
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
    macs: int = 0
    uncounted: int = 0
    needs: tuple[str, ...] = ()


def inspect_model(path: Path) -> ModelInfo:
    """Inspect an ONNX or TensorFlow Lite file.

    Raises `UserError` if it is none, is damaged, or is too much to parse.
    """
    module = [str(sys.executable), "-m", "imagebuilder.models.inspect", str(path.absolute())]
    try:
        size = path.stat().st_size
        done = run(module, env=ONE_THREAD, check=False, timeout=WALL_SECONDS * share(size))
    except BuildError as error:
        raise UserError(f"{path.name}: takes too long to parse") from error
    return judge(path, done)


def judge(path: Path, done: Completed) -> ModelInfo:
    """What the parsing process found; `UserError` if it refused the file, or died of it."""
    if done.exit_code == 0:
        return parse_info(json.loads(done.stdout))
    reasons = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = reasons[-1] if reasons and done.exit_code == 2 else "it cannot be parsed"
    if done.exit_code == -signal.SIGXCPU:
        reason = "it takes too long to parse"
    name = {"tflite": "TensorFlow Lite"}.get(model_format(path), "ONNX")
    if name == "ONNX" and path.suffix != ".onnx":
        # What has no mark of another format is read as ONNX, which has none itself.
        name = "ONNX, TensorFlow Lite or GGUF"
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
    return ModelInfo(**{**data, **ports, "needs": tuple(data["needs"])})


def main(path: Path) -> int:
    """Parse one file within limits and print what is in it as JSON."""
    times = share(path.stat().st_size)
    resource.setrlimit(resource.RLIMIT_AS, (times * MEMORY, times * MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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
    from imagebuilder.models.onnx_graph import describe

    return parse_info(describe(path))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
