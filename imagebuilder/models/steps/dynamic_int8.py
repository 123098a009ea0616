"""Dynamic INT8: weights are quantized now, activations at run time."""

from __future__ import annotations

from pathlib import Path

from imagebuilder.catalog.optimization import Quantize
from imagebuilder.models.steps.quantizer import common_options, silent


def quantize_dynamic(step: Quantize, model: Path, target: Path) -> None:
    """Signed weights; needs no data."""
    from onnxruntime import quantization as q

    silent(
        q.quantize_dynamic,
        str(model),
        str(target),
        weight_type=q.QuantType.QInt8,
        **common_options(step),
    )
