"""Sessions of the libraries that run models on the host, each on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from imagebuilder.errors import UserError
from imagebuilder.models.data import Array
from imagebuilder.models.formats import LIBRARIES, Format, missing, model_format
from imagebuilder.models.quiet import quiet

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""Keeps 8-bit products of x86 processors with AVX2 and without VNNI from saturating at 16 bits."""


class Session(Protocol):
    """A loaded model; `free_batch` if many samples at once give what each gives alone.

    `shared` if several threads may run it.
    """

    @property
    def output_names(self) -> tuple[str, ...]: ...
    @property
    def free_batch(self) -> bool: ...
    @property
    def shared(self) -> bool: ...

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run; the outputs in the model's order."""
        ...


def open_session(model: Path) -> Session:
    """Load a model; `UserError` if its library is missing or refuses it."""
    kind = model_format(model)
    try:
        return TfliteSession(model) if kind == "tflite" else OnnxSession(model)
    except ModuleNotFoundError as error:
        raise missing(LIBRARIES[kind]) from error
    except Exception as error:
        words = str(error).strip().splitlines() or [repr(error)]
        name = "LiteRT" if kind == "tflite" else "ONNX Runtime"
        raise UserError(f"{model.name}: {name} cannot load it: {words[0][:300]}") from error


def library_version(kind: Format) -> tuple[str, str]:
    """Name and version of the library that runs a format, without importing it."""
    name = LIBRARIES[kind]
    return name, metadata.version(name)


class OnnxSession:
    """ONNX Runtime's."""

    shared = True

    def __init__(self, model: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry(*EXACT_PRODUCTS)
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self.output_names = tuple(value.name for value in self._session.get_outputs())
        shapes = [value.shape for value in self._session.get_inputs()]
        free = all(not isinstance(shape[0], int) for shape in shapes if shape)
        # It takes one scale for a whole batch: a sample's result would depend on the others.
        self.free_batch = free and b"DynamicQuantizeLinear" not in model.read_bytes()

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run."""
        result: list[Array] = self._session.run(None, dict(inputs))
        return result


class TfliteSession:
    """LiteRT's, with XNNPACK."""

    shared = False

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with quiet():
            self._interpreter: Any = Interpreter(str(model), num_threads=1)
            self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.output_names = tuple(detail["name"] for detail in self._outputs)
        self.free_batch = all(d["shape_signature"][:1] == [-1] for d in self._inputs)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One run; the tensors take the sizes of these inputs."""
        shapes = {d["index"]: inputs[d["name"]].shape for d in self._inputs}
        changed = [
            d["index"]
            for d in self._interpreter.get_input_details()
            if tuple(d["shape"]) != shapes[d["index"]]
        ]
        for index in changed:
            self._interpreter.resize_tensor_input(index, shapes[index])
        if changed:
            self._interpreter.allocate_tensors()
        for detail in self._inputs:
            self._interpreter.set_tensor(detail["index"], inputs[detail["name"]])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._outputs]
