"""Makes a sealed bundle: the model is checked, optimized, evaluated and sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import (
    Auto,
    FixShapes,
    HalfWeights,
    OptimizeStep,
    Quantize,
    Requantize,
)
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.models.data import Split
from imagebuilder.models.evaluate import check_floor, measure, search_source
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.llamacpp import unpack_llamacpp
from imagebuilder.models.processors import measured_tolerance, unpack_emulator
from imagebuilder.models.seal import Optimized, seal
from imagebuilder.models.seal_text import inspect_source, seal_text
from imagebuilder.models.search import Search
from imagebuilder.models.steps.requantize import Requantized, requantize
from imagebuilder.models.trial import try_model
from imagebuilder.models.tries import Workplace


def make_bundle(
    source: BundleSource, model: Path, files: Mapping[str, Path], folder: Path, fetcher: Fetcher
) -> SealedBundle:
    """Optimize, evaluate and seal; raises as its parts do. `folder` takes models in between."""
    if source.text_checks:
        return seal_text(source, model, fetcher.cache, _requantized(source, model, fetcher))
    check_model(source, _inspect(source, model))
    _try(source, model)
    check_steps(source, model)
    optimized, evaluation, _ = measure(source, model, files, _workplace(source, fetcher, folder))
    if any(check.measured for check in source.checks):
        source, optimized = _with_tolerance(source, optimized, evaluation, fetcher)
    return seal(source, optimized, evaluation, fetcher.cache)


def search_quantization(
    source: BundleSource, model: Path, files: Mapping[str, Path], folder: Path, fetcher: Fetcher
) -> Search:
    """What `quantize: auto` finds for a model, in place of the quantization that is declared."""
    check_model(source, _inspect(source, model))
    return search_source(source, model, files, _workplace(source, fetcher, folder))


def _workplace(source: BundleSource, fetcher: Fetcher, folder: Path) -> Workplace:
    """Where a search works; what its tries gave stays in the cache, should it be interrupted."""

    def tell(words: str) -> None:
        fetcher.log.info(f"search {source.name} {words}")

    return Workplace(folder, fetcher.cache.root / "tries", tell)


def _with_tolerance(
    source: BundleSource, optimized: Optimized, evaluation: Split, fetcher: Fetcher
) -> tuple[BundleSource, Optimized]:
    """Both with the tolerance that emulated processors give."""
    found = measured_tolerance(optimized.path, evaluation, unpack_emulator(fetcher))
    checks = tuple(replace(check, rtol=found.rtol, atol=found.atol) if check.measured else check
                   for check in source.checks)  # fmt: skip
    report = {**optimized.report, "tolerance": asdict(found)}
    return replace(source, checks=checks), replace(optimized, report=report)


def _requantized(source: BundleSource, model: Path, fetcher: Fetcher) -> Requantized | None:
    """What becomes of a language model, None if it is taken as it is."""
    for step in source.optimize:
        if isinstance(step, Requantize):
            inspect_source(source, model)
            made = requantize(source, step, model, unpack_llamacpp(fetcher), fetcher.cache)
            hint = "take a type with more bits"
            check_floor(source, made.accuracy(source.floor), f"requantize {step.kind}", hint)
            return made
    return None


def _try(source: BundleSource, model: Path) -> None:
    try:
        try_model(model, source.inputs)
    except UserError as error:
        problems = (source.file.problem(("source",), p.what, p.hint) for p in error.problems)
        raise UserError(*problems) from error


def _inspect(source: BundleSource, model: Path) -> ModelInfo:
    try:
        return inspect_model(model)
    except UserError as error:
        problems = (source.file.problem(("source",), p.what, p.hint) for p in error.problems)
        raise UserError(*problems) from error


def check_model(source: BundleSource, info: ModelInfo) -> None:
    """`UserError` where the model is not what `bundle.yaml` declares."""
    problems = []
    fixed = any(isinstance(step, FixShapes) for step in source.optimize)
    for kind, declared, found in (
        ("inputs", source.inputs, {port.name: port for port in info.inputs}),
        ("outputs", source.outputs, {port.name: port for port in info.outputs}),
    ):
        for index, spec in enumerate(declared):
            port = found.get(spec.name)
            if port is None:
                hint = f"it has {', '.join(found)}"
                what = f"the model has no {kind.removesuffix('s')} {spec.name!r}"
                problems.append(source.file.problem((kind, index, "name"), what, hint))
            elif port.dtype != spec.dtype:
                what = f"the model has {port.dtype}, not {spec.dtype}"
                problems.append(source.file.problem((kind, index, "dtype"), what))
            elif kind == "inputs" and not _shape_fits(spec.shape, port.shape, fixed):
                what = f"the model has {list(port.shape)}, not {list(spec.shape)}"
                hint = "" if fixed else "the step fix-shapes gives free axes the declared sizes"
                problems.append(source.file.problem((kind, index, "shape"), what, hint))
        for name in sorted(set(found) - {spec.name for spec in declared}):
            problems.append(source.file.problem((kind,), f"the model also has {name!r}"))
    if problems:
        raise UserError(*problems)


def check_steps(source: BundleSource, model: Path) -> None:
    """`UserError` for steps that the model's format does not have."""
    unfit = _unfit_for_tflite if model_format(model) == "tflite" else _unfit_for_onnx
    problems = [
        source.file.problem(("optimize", index), what)
        for index, step in enumerate(source.optimize)
        if (what := unfit(step))
    ]
    if problems:
        raise UserError(*problems)


def _unfit_for_tflite(step: OptimizeStep) -> str:
    if isinstance(step, Quantize) and (step.reduce_range or step.calibration not in RANGES):
        return "of a TensorFlow Lite model only operators, nodes and `average` can be chosen"
    if isinstance(step, Quantize | Auto | HalfWeights):
        return ""
    return "a TensorFlow Lite model can only be quantized"


RANGES = ("minmax", "average")
"""How ranges are found for TensorFlow Lite."""


def _unfit_for_onnx(step: OptimizeStep) -> str:
    if isinstance(step, Quantize) and step.mode == "weights":
        return "weights alone become INT8 in TensorFlow Lite models only; `fp16` halves these"
    if isinstance(step, Quantize) and step.calibration == "average":
        return "ranges are averaged in TensorFlow Lite models only; `percentile` is like it"
    return ""


def _shape_fits(spec: tuple[int, ...], found: tuple[int | str, ...], fixed: bool) -> bool:
    if len(spec) != len(found):
        return False
    return all(
        want == have or ((not isinstance(have, int) or have < 0) and (fixed or (at == 0 > want)))
        for at, (want, have) in enumerate(zip(spec, found, strict=True))
    )
