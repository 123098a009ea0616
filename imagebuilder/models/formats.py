"""Formats of model files, told apart by their first bytes: a download has no suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Format = Literal["onnx", "ort", "tflite", "gguf"]


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
