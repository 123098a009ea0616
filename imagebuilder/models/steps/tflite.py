"""INT8 and FP16 of TensorFlow Lite models by ai-edge-quantizer; inputs and outputs stay."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from imagebuilder.catalog.optimization import HalfWeights, Quantize
from imagebuilder.errors import BuildError
from imagebuilder.models.data import Array, Split
from imagebuilder.models.quiet import quiet
from imagebuilder.models.steps.half import LARGEST
from imagebuilder.models.steps.static_int8 import CALIBRATION_SAMPLES


def quantize_tflite(
    step: Quantize | HalfWeights, model: Path, target: Path, calibration: Split | None
) -> None:
    """Weights with a scale for each channel; activations by calibration, at run time, or float."""
    from ai_edge_quantizer import quantizer

    own = quantizer.Quantizer(str(model))
    left = _too_large(model) if isinstance(step, HalfWeights) else step.exclude_nodes
    recipes = _recipes(step, left)
    own.load_quantization_recipe(recipes.get_quantization_recipe())
    ranges = None
    # It shows a bar of its own, and warns of the mode that calibration needs.
    bar, warned = contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings()
    with quiet(), bar, warned:
        warnings.simplefilter("ignore")
        if isinstance(step, Quantize) and step.mode == "static":
            assert calibration is not None
            ranges = _ranges(step, model, recipes, calibration)
        own.quantize(ranges, target, enable_progress_report=False)
    _keep_names(model, target)


def _keep_names(model: Path, target: Path) -> None:
    """Give inputs and outputs names and free axes of the source: tensors were put in between."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    before = schema.ModelT.InitFromPackedBuf(model.read_bytes(), 0)
    raw = target.read_bytes()
    after = schema.ModelT.InitFromPackedBuf(raw, 0)
    source, graph = before.subgraphs[0], after.subgraphs[0]
    for old, new in ((source.inputs, graph.inputs), (source.outputs, graph.outputs)):
        for there, here in zip(old, new, strict=True):
            name = source.tensors[there].name
            for tensor in graph.tensors:
                if tensor.name == name:
                    tensor.name += b".inner"
            graph.tensors[here].name = name
            graph.tensors[here].shapeSignature = source.tensors[there].shapeSignature
    for buffer in after.buffers:
        if buffer.offset > 1:  # the quantizer may put it behind the flat buffer
            buffer.data = np.frombuffer(raw, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(raw))
    builder.Finish(after.Pack(builder), b"TFL3")
    target.write_bytes(builder.Output())


def _too_large(model: Path) -> tuple[str, ...]:
    """The nodes with a weight that float16 cannot hold."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flat

    read = schema.ModelT.InitFromPackedBuf(model.read_bytes(), 0)
    tensors = read.subgraphs[0].tensors

    def largest(at: int) -> float:
        data = read.buffers[tensors[at].buffer].data if at >= 0 else None
        if data is None or tensors[at].type != schema.TensorType.FLOAT32:
            return 0.0
        return float(np.abs(np.asarray(data, np.uint8).view(np.float32)).max(initial=0.0))

    return tuple(
        flat.get_op_scope(op, tensors).rstrip(";")
        for op in read.subgraphs[0].operators
        if max(map(largest, op.inputs), default=0.0) > LARGEST
    )


def _ranges(step: Quantize, model: Path, recipes: Any, calibration: Split) -> Any:
    """Least and largest value of every tensor, over all samples or averaged over them.

    An average, 0.95 of it the samples before, cuts off what is rare.
    """
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update, moving_average_update

    update = moving_average_update if step.calibration == "average" else min_max_update
    calibrator = Calibrator(str(model), num_threads=1, qsv_update_func=update)
    calibrator.calibrate(_samples(model, calibration), recipes)
    return calibrator.get_model_qsvs()


def _recipes(step: Quantize | HalfWeights, left: Sequence[str]) -> Any:
    from ai_edge_quantizer import recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    plain = recipe.AlgorithmName.NO_QUANTIZE
    every = recipe.TFLOperationName.ALL_SUPPORTED
    operators = step.operators if isinstance(step, Quantize) else None
    nodes = step.nodes if isinstance(step, Quantize) else ()
    for scope in [_scope(name) for name in nodes] or [".*"]:
        for name in operators or (every,):
            _add(step, manager, scope, recipe.TFLOperationName(name))
    for name in left:
        manager.add_quantization_config(_scope(name), every, algorithm_key=plain)
    for end in (recipe.TFLOperationName.INPUT, recipe.TFLOperationName.OUTPUT):
        manager.add_quantization_config(".*", end, algorithm_key=plain)
    return manager


def _scope(node: str) -> str:
    """What the quantizer finds a node by: the names of its outputs."""
    return f"^{re.escape(node)};$"


def _add(step: Quantize | HalfWeights, manager: Any, scope: str, operator: Any) -> None:
    from ai_edge_quantizer import recipe

    if isinstance(step, HalfWeights):
        casting = recipe.AlgorithmName.FLOAT_CASTING
        manager.add_weight_only_config(scope, operator, num_bits=16, algorithm_key=casting)
    elif step.mode == "static":
        manager.add_static_config(scope, operator, activation_num_bits=8, weight_num_bits=8)
    elif step.mode == "dynamic":
        manager.add_dynamic_config(scope, operator, num_bits=8)
    else:
        manager.add_weight_only_config(scope, operator, num_bits=8)


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
