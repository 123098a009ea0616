"""Shape fixing: free axes get the sizes that a device serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagebuilder.catalog.bundle_source import TensorSpec


def fix_shapes(model: Path, target: Path, inputs: Sequence[TensorSpec]) -> None:
    """Give the inputs the shapes of `inputs`; a first axis of -1 there stays free."""
    import onnx

    loaded = onnx.load(model)
    declared = {spec.name: spec for spec in inputs}
    for value in loaded.graph.input:
        spec = declared.get(value.name)
        if spec is None:
            continue
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if size > 0:
                dimension.dim_value = size
            else:
                dimension.dim_param = "batch"
    del loaded.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(loaded), target)
