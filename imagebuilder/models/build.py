"""Builds model bundles: source → optimized → evaluated → sealed, cached by all that goes in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder import __version__
from imagebuilder.bundle.reader import SealedBundle, open_bundle, read_bundle
from imagebuilder.catalog.bundle_source import BundleSource, FixShapes
from imagebuilder.errors import BuildError, UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.lock import ModelPin
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.seal_text import seal_text
from imagebuilder.source import Source
from imagebuilder.state import Cache, sha256_file, write_if_changed
from imagebuilder.yamlfile import Key

if TYPE_CHECKING:
    from imagebuilder.models.data import Split
    from imagebuilder.models.seal import Optimized

REVISION = "1"
"""Raised when the same inputs would give another bundle."""


def seal_models(
    sources: Sequence[BundleSource],
    fetcher: Fetcher,
    *,
    locked: Mapping[str, ModelPin],
    strict: bool,
) -> tuple[SealedBundle, ...]:
    """The sealed bundle of each source.

    A bundle that is locked and in the cache is used as it is: it is sealed once. With `strict` a
    rebuilt bundle must have the locked digest. Raises `UserError` or `BuildError`.
    """
    return tuple(_seal_one(source, fetcher, locked.get(source.name), strict) for source in sources)


def _seal_one(
    source: BundleSource, fetcher: Fetcher, pin: ModelPin | None, strict: bool
) -> SealedBundle:
    if strict and pin is None:
        raise UserError(f"the lock has no {source.name}", hint="run `imagebuilder lock`")
    if pin is not None and strict:
        folder = fetcher.cache.bundle(pin.bundle)
        if (folder / "bundle.json").is_file():
            return read_bundle(folder)
    bundle = build_bundle(source, fetcher)
    if pin is not None and strict and bundle.digest != pin.bundle:
        raise BuildError(
            f"{source.name}: the lock wants {pin.bundle}, this host builds {bundle.digest}",
            hint="copy the sealed bundle into the cache, since INT8 results depend on the host",
        )
    return bundle


def build_bundle(source: BundleSource, fetcher: Fetcher) -> SealedBundle:
    """The sealed bundle of one source; made once for the same inputs and tools."""
    cache, log = fetcher.cache, fetcher.log
    model = _fetch(source, fetcher, source.source, ("source",))
    files = {
        name: _fetch(source, fetcher, item, ("data", "sources", name))
        for name, item in _materials(source).items()
    }
    record = cache.root / "models" / fingerprint(source, model, files)
    known = _known(cache, record)
    if known is not None:
        log.debug(f"{source.name}: {known.digest} is in the cache")
        return known
    with log.task(f"model {source.name}") as task:
        with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
            bundle = _build(source, model, files, Path(folder), cache)
        task.note(f"model {source.name}: {summary(bundle)}")
    write_if_changed(record, bundle.digest.encode())
    return bundle


def summary(bundle: SealedBundle) -> str:
    """Scores of a bundle on one line."""
    accuracy = bundle.description.accuracy
    text = bundle.description.text
    if text is not None:
        return f"{text.architecture}, {text.parameters:,} parameters, context {text.context}"
    if accuracy is None:
        return bundle.digest
    return f"{accuracy.metric} {accuracy.source:.2f} % → {accuracy.optimized:.2f} %"


def _materials(source: BundleSource) -> Mapping[str, Source]:
    return {} if source.data is None else source.data.sources


def _known(cache: Cache, record: Path) -> SealedBundle | None:
    try:
        return open_bundle(cache.bundle(record.read_text().strip()))
    except (OSError, UserError):
        return None


def fingerprint(source: BundleSource, model: Path, files: Mapping[str, Path]) -> str:
    """Digest of everything that decides the bundle: definitions, files, tool versions."""
    own = [source.file.path, source.data.recipe if source.data else None, source.labels,
           source.license_file, *(check.file for check in source.text_checks)]  # fmt: skip
    tools = () if source.text_checks else ("onnx", "onnxruntime", "numpy", "safetensors")
    try:
        versions = {name: metadata.version(name) for name in tools}
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"the Python package {error.name} is missing", hint="pip install 'imagebuilder[models]'"
        ) from error
    parts = {
        "own": [sha256_file(path) for path in own if path is not None],
        "model": sha256_file(model),
        "files": {name: sha256_file(path) for name, path in files.items()},
        "tools": {**versions, "imagebuilder": __version__, "revision": REVISION},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _fetch(source: BundleSource, fetcher: Fetcher, item: Source, key: Key) -> Path:
    try:
        return fetch_source(fetcher, item, source.folder)
    except UserError as error:
        problems = (source.file.problem(key, p.what, p.hint) for p in error.problems)
        raise UserError(*problems) from error


def _build(
    source: BundleSource, model: Path, files: Mapping[str, Path], folder: Path, cache: Cache
) -> SealedBundle:
    if source.text_checks:
        return seal_text(source, model, cache)
    from imagebuilder.models.seal import seal

    check_model(source, _inspect(source, model))
    optimized, evaluation = measure(source, model, files, folder)
    return seal(source, optimized, evaluation, cache)


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


def _shape_fits(spec: tuple[int, ...], found: tuple[int | str, ...], fixed: bool) -> bool:
    if len(spec) != len(found):
        return False
    return all(
        want == have or ((not isinstance(have, int) or have < 0) and (fixed or (at == 0 > want)))
        for at, (want, have) in enumerate(zip(spec, found, strict=True))
    )


def measure(
    source: BundleSource, model: Path, files: Mapping[str, Path], folder: Path
) -> tuple[Optimized, Split]:
    """Optimize and evaluate; `BuildError` with the scores when the model is below its floor."""
    from imagebuilder.bundle.format import Accuracy
    from imagebuilder.models.data import load_split
    from imagebuilder.models.optimize import optimize
    from imagebuilder.models.ort_format import required_operators
    from imagebuilder.models.runner import Runner, top1
    from imagebuilder.models.seal import Optimized

    assert source.data is not None
    floor = source.accuracy
    assert floor is not None
    evaluation = load_split(source, source.data.evaluation, ("data", "evaluation"), files)
    wanted = max(check.samples for check in source.checks)
    if len(evaluation) < wanted:
        what = f"wants {wanted} golden samples, evaluation has {len(evaluation)}"
        raise UserError(source.file.problem(("checks",), what))
    calibration = None
    if source.data.calibration is not None:
        calibration = load_split(source, source.data.calibration, ("data", "calibration"), files)
    before = top1(Runner(model).first_output(evaluation), evaluation.labels)
    if before < floor.min:
        what = f"the model itself reaches {before:.2f} %, the floor is {floor.min:g} %"
        raise UserError(source.file.problem(("accuracy", "min"), what))
    graph, path, quantization = optimize(source, model, calibration, folder)
    scores = Runner(path).first_output(evaluation)
    after = top1(scores, evaluation.labels)
    accuracy = Accuracy(
        floor.metric, round(before, 4), round(after, 4), len(evaluation), floor.min, floor.max_drop
    )
    check_floor(source, accuracy, quantization)
    info = dataclasses.replace(inspect_model(graph), file_bytes=path.stat().st_size)
    report = _report(accuracy, info, model.stat().st_size, quantization)
    if path.suffix == ".ort":
        report["required_operators"] = required_operators(path)
    return Optimized(path, info, quantization, accuracy, report, sha256_file(model)), evaluation


def check_floor(source: BundleSource, accuracy: Any, quantization: str) -> None:
    """`BuildError` with the measured scores unless they hold the floor."""
    before, after = accuracy.source, accuracy.optimized
    measured = (
        f"{source.name}: {accuracy.metric} {after:.2f} % after {quantization}, "
        f"{before:.2f} % before, on {accuracy.samples} samples"
    )
    hint = "quantize fewer `operators`, exclude nodes, or use `quantize: dynamic`"
    if after < accuracy.min:
        raise BuildError(f"{measured}: below the floor of {accuracy.min:g} %", hint=hint)
    if accuracy.max_drop is not None and before - after > accuracy.max_drop:
        raise BuildError(f"{measured}: lost more than {accuracy.max_drop:g} points", hint=hint)


def _report(accuracy: Any, info: ModelInfo, source_bytes: int, quantization: str) -> dict[str, Any]:
    from imagebuilder.models.runner import wilson
    from imagebuilder.models.seal import cpu_features, runtime_version

    return {
        "accuracy": {
            "metric": accuracy.metric,
            "samples": accuracy.samples,
            "source": accuracy.source,
            "source_interval": [round(x, 2) for x in wilson(accuracy.source, accuracy.samples)],
            "optimized": accuracy.optimized,
            "optimized_interval": [
                round(x, 2) for x in wilson(accuracy.optimized, accuracy.samples)
            ],
        },
        "bytes": {"source": source_bytes, "optimized": info.file_bytes},
        "operators": info.operators,
        "optimization": quantization,
        "measured_with": {"onnxruntime": runtime_version(), "cpu": cpu_features()},
    }


def pins(sources: Sequence[BundleSource], bundles: Sequence[SealedBundle]
         ) -> tuple[dict[str, ModelPin], dict[str, dict[str, str]]]:  # fmt: skip
    """The lock's sections `models` and `data`."""
    models = {
        bundle.description.name: ModelPin(
            bundle.description.version, bundle.digest, bundle.description.provenance.source_sha256
        )
        for bundle in bundles
    }
    data = {
        source.name: {name: getattr(item, "sha256", None) or "" for name, item in
                      _materials(source).items()}
        for source in sources
    }  # fmt: skip
    return models, {name: entries for name, entries in data.items() if all(entries.values())}
