"""What both ways of quantization ask ONNX Runtime's quantizer."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Any

from imagebuilder.catalog.optimization import Quantize


def common_options(step: Quantize) -> dict[str, Any]:
    """A step's choices as the quantizer's keyword arguments."""
    return {
        "op_types_to_quantize": list(step.operators) if step.operators else None,
        "nodes_to_quantize": list(step.nodes) or None,
        "nodes_to_exclude": list(step.exclude_nodes),
        "per_channel": step.per_channel,
        "reduce_range": step.reduce_range,
    }


def silent(function: Any, *arguments: Any, **options: Any) -> None:
    """Call without the advice that the quantizer logs and prints for interactive users."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            function(*arguments, **options)
    finally:
        logging.disable(logging.NOTSET)
