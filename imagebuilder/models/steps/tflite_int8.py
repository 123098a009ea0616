"""INT8 of TensorFlow Lite models, by ai-edge-quantizer; inputs and outputs stay as they are."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagebuilder.catalog.optimization import Quantize
from imagebuilder.errors import BuildError
from imagebuilder.models.data import Array, Split
from imagebuilder.models.steps.static_int8 import CALIBRATION_SAMPLES


def quantize_tflite(step: Quantize, model: Path, target: Path, calibration: Split | None) -> None:
    """Weights with a scale for each channel; activations by calibration, or at run time."""
    from ai_edge_quantizer import quantizer

    own = quantizer.Quantizer(str(model))
    own.load_quantization_recipe(_recipe(step))
    ranges = None
    # It shows a bar of its own, and warns of the mode that calibration needs.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
        if step.mode == "static":
            assert calibration is not None
            ranges = own.calibrate(_samples(model, calibration), num_threads=1)
        own.quantize(ranges, target, enable_progress_report=False)
    _keep_names(model, target)


def _keep_names(model: Path, target: Path) -> None:
    """Give inputs and outputs the names of the source: the quantizer puts tensors in between."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    before, after = (
        schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0) for path in (model, target)
    )
    source, graph = before.subgraphs[0], after.subgraphs[0]
    for old, new in ((source.inputs, graph.inputs), (source.outputs, graph.outputs)):
        for there, here in zip(old, new, strict=True):
            name = source.tensors[there].name
            for tensor in graph.tensors:
                if tensor.name == name:
                    tensor.name += b".inner"
            graph.tensors[here].name = name
    builder = flatbuffers.Builder(target.stat().st_size)
    builder.Finish(after.Pack(builder), b"TFL3")
    target.write_bytes(builder.Output())


def _recipe(step: Quantize) -> Any:
    from ai_edge_quantizer import recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    add = manager.add_static_config if step.mode == "static" else manager.add_dynamic_config
    widths: dict[str, int] = {"weight_num_bits": 8}
    if step.mode == "static":
        widths["activation_num_bits"] = 8
    names = step.operators or (recipe.TFLOperationName.ALL_SUPPORTED,)
    for name in names:
        add(regex=".*", operation_name=recipe.TFLOperationName(name), **widths)
    for end in (recipe.TFLOperationName.INPUT, recipe.TFLOperationName.OUTPUT):
        manager.add_quantization_config(
            regex=".*", operation_name=end, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE
        )
    return manager.get_quantization_recipe()


def _samples(model: Path, calibration: Split) -> dict[str, Iterable[dict[str, Array]]]:
    """The samples by signature, under the names that the signature gives the inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    details = {detail["index"]: detail["name"] for detail in interpreter.get_input_details()}
    found = interpreter._get_full_signature_list()  # no public call gives the tensors' indices
    if len(found) != 1:
        raise BuildError(
            f"the model has {len(found)} signatures, calibration needs one",
            hint="convert it again with a signature, or use `quantize: dynamic`",
        )
    ((key, signature),) = found.items()
    names = {name: details[index] for name, index in signature["inputs"].items()}
    chosen = calibration.first(CALIBRATION_SAMPLES)
    samples = (chosen.sample(index) for index in range(len(chosen)))
    return {key: [{name: one[own] for name, own in names.items()} for one in samples]}
