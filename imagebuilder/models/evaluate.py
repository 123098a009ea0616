"""Measures a model before and after optimization, and holds it to its floor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.bundle.format import Accuracy
from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource
from imagebuilder.catalog.optimization import (
    METRICS,
    Auto,
    HalfWeights,
    OrtFormat,
    Quantize,
    show_score,
)
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.data import Array, Split, load_split
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.metrics import Metric, bootstrap_loss, metric_named
from imagebuilder.models.optimize import Steps, apply_steps
from imagebuilder.models.runner import Runner
from imagebuilder.models.seal import Optimized, cpu_features
from imagebuilder.models.search import Search, search
from imagebuilder.models.sessions import library_version
from imagebuilder.models.steps.ort_format import required_operators
from imagebuilder.models.tries import Workplace
from imagebuilder.state import sha256_file


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores models on one split by the bundle's metric."""

    floor: AccuracyFloor
    metric: Metric
    split: Split

    def evidence(self, model: Path) -> Array:
        """What the metric keeps of each sample."""
        return Runner(model).evidence(self.split, self.metric)

    def score(self, model: Path) -> float:
        """The score of a model file."""
        return self.metric.score(self.evidence(model))


def make_judge(source: BundleSource, model: Path, evaluation: Split) -> Judge:
    """A judge by the metric of `source`; for `agreement`, `model` is what to agree with."""
    alphabet: tuple[str, ...] = ()
    if source.labels is not None:
        alphabet = tuple(source.labels.read_text("utf-8").removesuffix("\n").split("\n"))
    metric = metric_named(source.floor.metric, alphabet)
    if METRICS[source.floor.metric].labels == "none":
        evaluation = dataclasses.replace(evaluation, labels=Runner(model).choices(evaluation))
    return Judge(source.floor, metric, evaluation)


def measure(
    source: BundleSource, model: Path, files: Mapping[str, Path], at: Workplace
) -> tuple[Optimized, Split, Search | None]:
    """Optimize and evaluate; `BuildError` with the scores when the model is below its floor."""
    judge, calibration, before = prepare(source, model, files)
    steps, found = _optimize(source, model, calibration, judge, at)
    after = judge.evidence(steps.path)
    accuracy = _accuracy(judge, before, after)
    check_floor(source, accuracy, steps.done)
    info = dataclasses.replace(inspect_model(steps.graph), file_bytes=steps.path.stat().st_size)
    report = _report(judge, (before, after), info, model.stat().st_size, steps)
    if found is not None:
        report["search"] = found.sealed()
    if model_format(steps.path) == "ort":
        report["required_operators"] = required_operators(steps.path)
    made = Optimized(steps.path, info, steps.done, accuracy, report, sha256_file(model))
    return made, judge.split, found


def prepare(
    source: BundleSource, model: Path, files: Mapping[str, Path]
) -> tuple[Judge, Split | None, Array]:
    """Judge, calibration data and the source model's evidence; `UserError` where it is unfit."""
    assert source.data is not None
    evaluation = load_split(source, source.data.evaluation, ("data", "evaluation"), files)
    wanted = max(check.samples for check in source.checks)
    if len(evaluation) < wanted:
        what = f"wants {wanted} golden samples, evaluation has {len(evaluation)}"
        raise UserError(source.file.problem(("checks",), what))
    calibration = None
    if source.data.calibration is not None:
        calibration = load_split(source, source.data.calibration, ("data", "calibration"), files)
    judge = make_judge(source, model, evaluation)
    before = judge.evidence(model)
    score, floor = judge.metric.score(before), source.floor
    if not floor.holds(score):
        key = "max" if floor.less_is_better else "min"
        unit = "" if floor.metric == "perplexity" else " %"
        reached = show_score(floor.metric, score)
        what = f"the model itself reaches {reached}, the floor is {floor.bound:g}{unit}"
        raise UserError(source.file.problem(("accuracy", key), what))
    return judge, calibration, before


def _optimize(
    source: BundleSource, model: Path, calibration: Split | None, judge: Judge, at: Workplace
) -> tuple[Steps, Search | None]:
    auto = next((i for i, s in enumerate(source.optimize) if isinstance(s, Auto)), None)
    start = Steps(model, model)
    steps = apply_steps(source, source.optimize[:auto], start, calibration, at.folder)
    if auto is None:
        return steps, None
    assert calibration is not None
    found = search(source, steps, calibration, judge, at)
    rest = source.optimize[auto + 1 :]
    return apply_steps(source, rest, found.steps, calibration, at.folder, auto + 1), found


def search_source(
    source: BundleSource, model: Path, files: Mapping[str, Path], at: Workplace
) -> Search:
    """What a search finds after the steps that come before a quantization.

    `UserError` without a calibration split.
    """
    judge, calibration, _ = prepare(source, model, files)
    if calibration is None:
        raise UserError(source.file.problem(("data",), "a search needs `data.calibration`"))
    steps = []
    for step in source.optimize:
        if isinstance(step, Auto | Quantize | HalfWeights | OrtFormat):
            break
        steps.append(step)
    start = apply_steps(source, steps, Steps(model, model), calibration, at.folder)
    return search(source, start, calibration, judge, at)


def _accuracy(judge: Judge, before: Array, after: Array) -> Accuracy:
    floor, score = judge.floor, judge.metric.score
    return Accuracy(
        floor.metric,
        round(score(before), 4),
        round(score(after), 4),
        len(judge.split),
        floor.bound,
        floor.max_drop,
    )


QUANTIZE_LESS = "quantize fewer `operators`, exclude nodes, or use `quantize: auto`"


def check_floor(
    source: BundleSource, accuracy: Accuracy, quantization: str, hint: str = QUANTIZE_LESS
) -> None:
    """`BuildError` with the measured scores unless they hold the floor."""
    floor, before, after = source.floor, accuracy.source, accuracy.optimized
    unit = "" if floor.metric == "perplexity" else " %"
    measured = (
        f"{source.name}: {accuracy.metric} {show_score(floor.metric, after)} after {quantization}, "
        f"{show_score(floor.metric, before)} before, on {accuracy.samples} samples"
    )
    if not floor.holds(after):
        side = "above" if floor.less_is_better else "below"
        raise BuildError(f"{measured}: {side} the floor of {floor.bound:g}{unit}", hint=hint)
    if not floor.passes(before, after):
        raise BuildError(f"{measured}: lost more than {floor.max_drop:g} points", hint=hint)


def _report(
    judge: Judge, pair: tuple[Array, Array], info: ModelInfo, source_bytes: int, steps: Steps
) -> dict[str, Any]:
    metric = judge.metric
    library, version = library_version(model_format(steps.path))
    before, after = pair
    return {
        "accuracy": {
            "metric": judge.floor.metric,
            "samples": len(judge.split),
            "source": round(metric.score(before), 4),
            "source_interval": _rounded(metric.interval(before)),
            "optimized": round(metric.score(after), 4),
            "optimized_interval": _rounded(metric.interval(after)),
            "change_interval": _rounded(bootstrap_loss(metric.score, before, after)),
        },
        "bytes": {"source": source_bytes, "optimized": info.file_bytes},
        "operators": info.operators,
        "optimization": steps.done,
        **steps.details,
        "measured_with": {library: version, "cpu": cpu_features()},
    }


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(x, 2) for x in interval]
