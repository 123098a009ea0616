"""Simplification by onnxslim: constants folded, what has no effect dropped, doubles merged."""

from __future__ import annotations

import logging
from pathlib import Path


def simplify(model: Path, target: Path) -> None:
    """Write `model` with fewer nodes that computes the same."""
    import onnx
    import onnxslim

    logging.disable(logging.WARNING)
    try:
        slim = onnxslim.slim(onnx.load(model))
    finally:
        logging.disable(logging.NOTSET)
    # ONNX Runtime reads the older version as well, and so do more devices.
    slim.ir_version = min(slim.ir_version, onnx.load(model).ir_version)
    onnx.save(slim, target)
