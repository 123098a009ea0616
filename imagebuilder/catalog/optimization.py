"""The steps that `optimize` of a `bundle.yaml` declares, and what its metrics are about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from imagebuilder.errors import Problem
from imagebuilder.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class FixShapes:
    """Give every free axis the shape declared in `inputs`."""


@dataclass(frozen=True, slots=True)
class Simplify:
    """Fold constants and drop what has no effect."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Zero the share `sparsity` (0 to 1) of each weight with the least magnitudes."""

    sparsity: float


@dataclass(frozen=True, slots=True)
class HalfWeights:
    """Store float32 weights as float16; computation stays in float32."""


@dataclass(frozen=True, slots=True)
class Quantize:
    """INT8 quantization; `operators` None means all that the quantizer knows.

    The mode `weights` stores weights as INT8 and computes in float32. `nodes`, unless empty, are
    the only ones that are quantized. The calibration `average` is TensorFlow Lite's only.
    """

    mode: Literal["static", "dynamic", "weights"]
    operators: tuple[str, ...] | None = None
    nodes: tuple[str, ...] = ()
    exclude_nodes: tuple[str, ...] = ()
    per_channel: bool = False
    reduce_range: bool = False
    calibration: Literal["minmax", "average", "entropy", "percentile"] = "minmax"


@dataclass(frozen=True, slots=True)
class Auto:
    """Search the other steps for the smallest model that holds the floor."""


@dataclass(frozen=True, slots=True)
class OrtFormat:
    """Convert to ONNX Runtime's own format; always the last step."""


@dataclass(frozen=True, slots=True)
class Requantize:
    """Quantize a language model anew to llama.cpp's `kind`; its perplexity is that of `text`.

    `text` is the name of a file in the bundle's folder.
    """

    kind: str
    text: str


OptimizeStep = FixShapes | Simplify | Prune | HalfWeights | Quantize | Auto | OrtFormat | Requantize

PLAIN: dict[str, OptimizeStep] = {
    "fix-shapes": FixShapes(),
    "simplify": Simplify(),
    "fp16": HalfWeights(),
    "ort-format": OrtFormat(),
}


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """Which tasks a metric judges, and whether less is better."""

    tasks: frozenset[str]
    less_is_better: bool = False
    labels: Literal["class", "text", "tokens", "values", "none"] = field(default="class")


METRICS = {
    "top1": MetricFacts(frozenset({"classification", "speech", "other"})),
    "f1": MetricFacts(frozenset({"classification", "detection", "speech", "other"})),
    "auc": MetricFacts(frozenset({"classification", "detection", "speech", "other"})),
    "cer": MetricFacts(frozenset({"speech", "generation", "other"}), True, "text"),
    "perplexity": MetricFacts(frozenset({"generation"}), True, "tokens"),
    "r2": MetricFacts(frozenset({"regression", "other"}), False, "values"),
    "agreement": MetricFacts(
        frozenset({"classification", "detection", "speech", "other"}), False, "none"
    ),
}


def parse_step(data: str | dict[str, Any]) -> OptimizeStep:
    """A step that has passed the schema."""
    if isinstance(data, str):
        return PLAIN[data]
    if "prune" in data:
        return Prune(data["prune"])
    if "requantize" in data:
        return Requantize(data["requantize"], data["text"])
    if data["quantize"] == "auto":
        return Auto()
    operators = data.get("operators", "all")
    return Quantize(
        mode=data["quantize"],
        operators=None if operators == "all" else tuple(operators),
        nodes=tuple(data.get("nodes", ())),
        exclude_nodes=tuple(data.get("exclude_nodes", ())),
        per_channel=data.get("per_channel", False),
        reduce_range=data.get("reduce_range", False),
        calibration=data.get("calibration", "minmax"),
    )


def show_step(step: OptimizeStep) -> str:
    """A quantization or a step without options as a line of `optimize`: `parse_step` reversed."""
    import yaml

    for name, plain in PLAIN.items():
        if step == plain:
            return name
    assert isinstance(step, Quantize)
    keys: dict[str, Any] = {"quantize": step.mode}
    for key in ("operators", "nodes", "exclude_nodes"):
        if getattr(step, key):
            keys[key] = list(getattr(step, key))
    for key in ("per_channel", "reduce_range"):
        if getattr(step, key):
            keys[key] = True
    if step.calibration != "minmax":
        keys["calibration"] = step.calibration
    text: str = yaml.safe_dump(keys, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()


def step_problems(file: YamlFile) -> Iterator[Problem]:
    """What is wrong with `optimize` beyond its schema."""
    steps = file.data.get("optimize", ())
    calibrated = "calibration" in file.data["data"]
    for index, step in enumerate(steps):
        if step == "ort-format" and index + 1 < len(steps):
            yield file.problem(("optimize", index), "ort-format must be the last step")
        if isinstance(step, dict) and "requantize" in step:
            what = "only a language model, with checks of kind text, is requantized"
            yield file.problem(("optimize", index), what, "use `quantize`")
        mode = step.get("quantize") if isinstance(step, dict) else None
        if mode in ("static", "auto") and not calibrated:
            words = {"static": "static quantization", "auto": "the search for a quantization"}
            what = f"{words[mode]} needs `data.calibration`"
            yield file.problem(("optimize", index, "quantize"), what)
    quantized = [i for i, s in enumerate(steps) if isinstance(s, dict) and "quantize" in s]
    for index in quantized[1:]:
        yield file.problem(("optimize", index), "a model is quantized once")


def text_step_problems(file: YamlFile) -> Iterator[Problem]:
    """What is wrong with `optimize` and `accuracy` of a language model beyond their schema."""
    steps, floor = file.data.get("optimize", ()), file.data.get("accuracy")
    foreign = [i for i, step in enumerate(steps) if "requantize" not in step]
    for index in range(len(steps)):
        if index in foreign:
            yield file.problem(("optimize", index), "a language model is requantized only")
        elif index:
            yield file.problem(("optimize", index), "a model is quantized once")
    if floor is None:
        if len(foreign) < len(steps):
            hint = "accuracy: {metric: perplexity, max: 30, max_drop: 1}"
            yield file.problem(("optimize",), "requantizing needs a floor in `accuracy`", hint)
    elif not steps:
        yield file.problem(("accuracy",), "a model with checks of kind text has none")
    elif floor["metric"] != "perplexity":
        yield file.problem(("accuracy", "metric"), "a language model is judged by perplexity")
    else:
        yield from _bound_problems(file)


def metric_problems(file: YamlFile) -> Iterator[Problem]:
    """Where the metric does not fit the task, or the floor not the metric."""
    floor, task = file.data["accuracy"], file.data["task"]
    facts = METRICS[floor["metric"]]
    if task not in facts.tasks:
        fitting = ", ".join(name for name, other in METRICS.items() if task in other.tasks)
        what = f"{floor['metric']} does not judge the task {task}"
        yield file.problem(("accuracy", "metric"), what, f"fitting: {fitting or 'none'}")
    shape = file.data["outputs"][0]["shape"]
    what = _unfit_output(floor["metric"], shape)
    if what:
        yield file.problem(("outputs", 0, "shape"), what)
    if floor["metric"] == "cer" and "labels" not in file.data:
        what = "cer needs `labels`, one character a line, the first for the blank"
        yield file.problem(("accuracy", "metric"), what)
    yield from _bound_problems(file)


def _bound_problems(file: YamlFile) -> Iterator[Problem]:
    floor = file.data["accuracy"]
    facts = METRICS[floor["metric"]]
    wanted, other = ("max", "min") if facts.less_is_better else ("min", "max")
    if wanted not in floor:
        yield file.problem(("accuracy",), f"{floor['metric']} needs `{wanted}`")
    if other in floor:
        what = f"{floor['metric']} is bounded by `{wanted}`, not by `{other}`"
        yield file.problem(("accuracy", other), what)


def _unfit_output(metric: str, shape: list[int]) -> str:
    if metric in ("cer", "perplexity") and len(shape) != 3:
        return f"{metric} needs an output of [samples, steps, classes]"
    if metric == "top1" and shape[-1] < 2:
        return "top1 needs an output of at least two classes"
    return ""


def show_score(metric: str, score: float) -> str:
    """A score with its unit."""
    return f"{score:.2f}" if metric == "perplexity" else f"{score:.2f} %"
