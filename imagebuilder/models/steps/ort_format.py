"""Conversion to ONNX Runtime's own model format, the only one that its minimal builds read."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

from imagebuilder.operators import operators_text, parse_operators


def convert(model: Path, target: Path) -> None:
    """Write `model` in the ORT format, with all optimizations that hold on every architecture.

    A runtime reads only what its own version wrote. The bytes differ from run to run.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.optimized_model_filepath = str(target)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    # The layout NCHWc depends on the host's vector width.
    onnxruntime.InferenceSession(
        str(model),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["NchwcTransformer"],
    )


def required_operators(model: Path) -> tuple[str, ...]:
    """The lines of the operator configuration of a model in the ORT format."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        path = Path(folder) / "operators.config"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves the model's file open
            create_config_from_models([model], path, True)
        operators = parse_operators(path.read_text("utf-8").splitlines())
    return tuple(operators_text(operators).splitlines())
