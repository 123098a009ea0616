"""Formats of model files, told apart by their first bytes: a download has no suffix."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Literal

from imagebuilder.errors import UserError

Format = Literal["onnx", "ort", "tflite", "gguf"]

LIBRARIES: dict[Format, str] = {
    "onnx": "onnxruntime",
    "ort": "onnxruntime",
    "tflite": "ai-edge-litert",
}
"""The Python package that runs a format."""
TOOLS: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime", "onnxslim", "numpy", "safetensors"),
    "tflite": ("ai-edge-litert", "ai-edge-quantizer", "numpy", "safetensors"),
}
"""The Python packages that decide what becomes of a model."""


def model_format(path: Path) -> Format:
    """What the file says it is; ONNX, which has no mark of its own, where it says nothing.

    A flat buffer has its mark behind the first 4 bytes.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
    if head[:4] == b"GGUF":
        return "gguf"
    marks: dict[bytes, Format] = {b"TFL3": "tflite", b"ORTM": "ort"}
    return marks.get(head[4:], "onnx")


def tool_versions(kind: Format) -> dict[str, str]:
    """Versions of the packages that decide what becomes of a model; `UserError` without them."""
    try:
        return {name: metadata.version(name) for name in TOOLS.get(kind, TOOLS["onnx"])}
    except metadata.PackageNotFoundError as error:
        raise missing(str(error.name)) from error


def missing(package: str) -> UserError:
    """What to say where a package is not installed."""
    extra = "tflite" if package.startswith("ai-edge") else "models"
    hint = f"pip install 'imagebuilder[{extra}]'"
    return UserError(f"the Python package {package} is missing", hint=hint)
