"""The source form of model bundles: `bundle.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imagebuilder import yamlfile
from imagebuilder.catalog.optimization import (
    METRICS,
    OptimizeStep,
    OrtFormat,
    metric_problems,
    parse_step,
    step_problems,
    text_step_problems,
)
from imagebuilder.errors import Problem, UserError
from imagebuilder.source import Source, parse_source, source_name
from imagebuilder.yamlfile import Key, YamlFile

TENSOR_KEYS = ("inputs", "outputs", "data", "accuracy")
"""What every model needs that is not a language model."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output; a dimension of -1 is free, which only the first may be."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The data recipe, its material, and the names of the splits."""

    recipe: Path
    sources: dict[str, Source]
    calibration: str | None
    evaluation: str


@dataclass(frozen=True, slots=True)
class AccuracyFloor:
    """What the optimized model must reach; percent and percentage points.

    Perplexity is a plain number. `bound` is the most where less is better, the least otherwise;
    `max_drop` is how much worse the optimized model may be.
    """

    metric: str
    bound: float
    max_drop: float | None

    @property
    def less_is_better(self) -> bool:
        """Whether a smaller score is the better one."""
        return METRICS[self.metric].less_is_better

    def holds(self, score: float) -> bool:
        """Whether a score is within the bound."""
        return score <= self.bound if self.less_is_better else score >= self.bound

    def loss(self, before: float, after: float) -> float:
        """How much worse `after` is; negative where it is better."""
        return after - before if self.less_is_better else before - after

    def passes(self, before: float, after: float) -> bool:
        """Whether bound and drop are both held."""
        loss = self.loss(before, after)
        return self.holds(after) and (self.max_drop is None or loss <= self.max_drop)


@dataclass(frozen=True, slots=True)
class TensorCheck:
    """Golden pairs and how near the device must come.

    With `measured`, `rtol` and `atol` are measured when the bundle is built.
    """

    samples: int
    rtol: float
    atol: float
    top1: bool
    measured: bool = False


@dataclass(frozen=True, slots=True)
class TextGolden:
    """What the host's language model gave, in `file`, and how near the device must come."""

    file: Path
    agreement: float
    perplexity: float


@dataclass(frozen=True, slots=True)
class BundleSource:
    """A checked `bundle.yaml`; `file` keeps the place of every key for later errors.

    A language model has `text_checks` and none of `inputs`, `outputs`, `data`, `labels` and
    `checks`; `accuracy` only where it is requantized.
    """

    name: str
    file: YamlFile
    version: str
    task: str
    license_code: str
    license_weights: str
    license_file: Path | None
    source: Source
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: Path | None
    data: DataSpec | None
    optimize: tuple[OptimizeStep, ...]
    accuracy: AccuracyFloor | None
    checks: tuple[TensorCheck, ...]
    text_checks: tuple[TextGolden, ...] = ()
    rollback_version: int = 0

    @property
    def folder(self) -> Path:
        """The folder of the bundle; its paths are relative to it."""
        return self.file.path.parent

    @property
    def final_format(self) -> str | None:
        """The sealed model's format, where the steps or the source's name tell it."""
        if self.text_checks:
            return "gguf"
        if self.optimize and isinstance(self.optimize[-1], OrtFormat):
            return "ort"
        suffix = PurePosixPath(source_name(self.source)).suffix
        return suffix[1:] if suffix in (".onnx", ".tflite") else None

    @property
    def floor(self) -> AccuracyFloor:
        """The floor of a model that is evaluated, which all but language models are."""
        assert self.accuracy is not None
        return self.accuracy


def load_bundle_source(path: Path) -> BundleSource:
    """Read and check a `bundle.yaml`; `UserError` with every problem found."""
    file = yamlfile.load(path.absolute(), "bundle-source")
    problems = tuple(_problems(file))
    if problems:
        raise UserError(*problems)
    return _bundle_source(file)


def _bundle_source(file: YamlFile) -> BundleSource:
    data, folder = file.data, file.path.parent
    licence = data["license"]
    return BundleSource(
        name=data["name"],
        file=file,
        version=data["version"],
        task=data["task"],
        license_code=licence["code"],
        license_weights=licence["weights"],
        license_file=folder / licence["file"] if "file" in licence else None,
        source=parse_source(data["source"]),
        inputs=tuple(_tensor(item) for item in data.get("inputs", ())),
        outputs=tuple(_tensor(item) for item in data.get("outputs", ())),
        labels=folder / data["labels"] if "labels" in data else None,
        data=_data(data["data"], folder) if "data" in data else None,
        optimize=tuple(parse_step(item) for item in data.get("optimize", ())),
        accuracy=_floor(data["accuracy"]) if "accuracy" in data else None,
        checks=tuple(_check(item) for item in data["checks"] if item["kind"] == "tensors"),
        text_checks=tuple(
            TextGolden(folder / item["file"], item["agreement"], item["perplexity"])
            for item in data["checks"]
            if item["kind"] == "text"
        ),
        rollback_version=data.get("rollback_version", 0),
    )


def _data(recipe: dict[str, Any], folder: Path) -> DataSpec:
    return DataSpec(
        recipe=folder / recipe["recipe"],
        sources={name: parse_source(item) for name, item in recipe.get("sources", {}).items()},
        calibration=recipe.get("calibration"),
        evaluation=recipe["evaluation"],
    )


def _tensor(data: dict[str, Any]) -> TensorSpec:
    return TensorSpec(data["name"], data["dtype"], tuple(data["shape"]))


def _floor(data: dict[str, Any]) -> AccuracyFloor:
    bound = data["max"] if METRICS[data["metric"]].less_is_better else data["min"]
    return AccuracyFloor(data["metric"], bound, data.get("max_drop"))


def _check(data: dict[str, Any]) -> TensorCheck:
    return TensorCheck(
        data.get("samples", 16),
        data.get("rtol", 1e-3),
        data.get("atol", 1e-5),
        data.get("top1", True),
        data.get("tolerance") == "measured",
    )


def _problems(file: YamlFile) -> Iterator[Problem]:
    data, folder = file.data, file.path.parent
    if data["name"] != folder.name:
        yield file.problem(
            ("name",), f"{data['name']!r} is not the name of its folder, {folder.name!r}"
        )
    if any(check["kind"] == "text" for check in data["checks"]):
        yield from _text_problems(file)
        return
    missing = [name for name in TENSOR_KEYS if name not in data]
    if missing:
        yield from (file.problem((), f"the key `{name}` is missing") for name in missing)
    else:
        yield from _tensor_problems(file)
    yield from _missing_files(file)


def _tensor_problems(file: YamlFile) -> Iterator[Problem]:
    data = file.data
    for kind in ("inputs", "outputs"):
        for index, item in enumerate(data[kind]):
            if any(size < 1 and (at > 0 or size != -1) for at, size in enumerate(item["shape"])):
                key = (kind, index, "shape")
                yield file.problem(key, "only the first axis may be -1, all others are at least 1")
    recipe = data["data"]
    if recipe.get("calibration") == recipe["evaluation"]:
        yield file.problem(
            ("data", "calibration"), "calibration and evaluation must not be the same split"
        )
    for index, check in enumerate(data["checks"]):
        for name in ("rtol", "atol"):
            if name in check and check.get("tolerance") == "measured":
                hint = "leave it out, or have `tolerance: declared`"
                yield file.problem(("checks", index, name), "the tolerance is measured", hint)
    yield from step_problems(file)
    yield from metric_problems(file)


def _text_problems(file: YamlFile) -> Iterator[Problem]:
    data = file.data
    if data["task"] != "generation":
        yield file.problem(("task",), "checks of kind text are for the task generation")
    for key in ("inputs", "outputs", "data", "labels"):
        if key in data:
            yield file.problem((key,), "a model with checks of kind text has none")
    yield from text_step_problems(file)
    for index, check in enumerate(data["checks"]):
        if check["kind"] != "text":
            yield file.problem(("checks", index, "kind"), "kinds cannot be mixed with text")
    yield from _missing_files(file)


def _missing_files(file: YamlFile) -> Iterator[Problem]:
    data, folder = file.data, file.path.parent.resolve()
    named: list[tuple[Key, str | None]] = [
        (("labels",), data.get("labels")),
        (("license", "file"), data["license"].get("file")),
        (("data", "recipe"), data.get("data", {}).get("recipe")),
        *(
            (("checks", index, "file"), check.get("file"))
            for index, check in enumerate(data["checks"])
        ),
        *(
            (("optimize", index, "text"), step.get("text"))
            for index, step in enumerate(data.get("optimize", ()))
            if isinstance(step, dict)
        ),
        (("source", "path"), data["source"].get("path")),
    ]
    for key, text in named:
        if text is None:
            continue
        path = (folder / text).resolve()
        if not path.is_file():
            yield file.problem(key, f"{text}: no such file", f"looked for {path}")
        elif not path.is_relative_to(folder):
            yield file.problem(key, f"{text} leads out of the bundle's folder, to {path}")
