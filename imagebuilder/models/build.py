"""Builds model bundles: source → optimized → evaluated → sealed, cached by all that goes in."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import __version__
from imagebuilder.bundle.reader import SealedBundle, open_bundle, read_bundle
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import FixShapes, Quantize, Requantize, show_score
from imagebuilder.errors import BuildError, UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.lock import ModelPin
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.llamacpp import unpack_llamacpp
from imagebuilder.models.seal_text import inspect_source, seal_text
from imagebuilder.models.sessions import missing
from imagebuilder.models.steps.requantize import Requantized, requantize
from imagebuilder.source import Source
from imagebuilder.state import Cache, sha256_file, write_if_changed
from imagebuilder.yamlfile import Key

if TYPE_CHECKING:
    from imagebuilder.models.search import Search

TOOLS = {
    "onnx": ("onnx", "onnxruntime", "onnxslim", "numpy", "safetensors"),
    "tflite": ("ai-edge-litert", "ai-edge-quantizer", "numpy", "safetensors"),
}
REVISION = "4"
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
    model, files = fetch_all(source, fetcher)
    record = cache.root / "models" / fingerprint(source, model, files)
    known = _known(cache, record)
    if known is not None:
        log.debug(f"{source.name}: {known.digest} is in the cache")
        return known
    with log.task(f"model {source.name}") as task:
        with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
            bundle = _build(source, model, files, Path(folder), fetcher)
        task.note(f"model {source.name}: {summary(bundle)}")
    write_if_changed(record, bundle.digest.encode())
    return bundle


def search_bundle(source: BundleSource, fetcher: Fetcher) -> Search:
    """What `quantize: auto` finds for a bundle, in place of the quantization that it declares."""
    from imagebuilder.models.evaluate import search_source

    model, files = fetch_all(source, fetcher)
    check_model(source, _inspect(source, model))
    if model_format(model) == "tflite":
        raise UserError(source.file.problem(("source",), "the search knows ONNX models only"))
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        return search_source(source, model, files, Path(folder))


def fetch_all(source: BundleSource, fetcher: Fetcher) -> tuple[Path, dict[str, Path]]:
    """The source model, and the recipe's material by name."""
    return _fetch(source, fetcher, source.source, ("source",)), {
        name: _fetch(source, fetcher, item, ("data", "sources", name))
        for name, item in _materials(source).items()
    }


def summary(bundle: SealedBundle) -> str:
    """Scores of a bundle on one line."""
    accuracy = bundle.description.accuracy
    text = bundle.description.text
    if text is not None and accuracy is None:
        return f"{text.architecture}, {text.parameters:,} parameters, context {text.context}"
    if accuracy is None:
        return bundle.digest
    before, after = (show_score(accuracy.metric, x) for x in (accuracy.source, accuracy.optimized))
    return f"{accuracy.metric} {before} → {after}"


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
           source.license_file, *(check.file for check in source.text_checks),
           *(source.folder / step.text for step in source.optimize
             if isinstance(step, Requantize))]  # fmt: skip
    tools = () if source.text_checks else TOOLS.get(model_format(model), TOOLS["onnx"])
    try:
        versions = {name: metadata.version(name) for name in tools}
    except metadata.PackageNotFoundError as error:
        raise missing(str(error.name)) from error
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
    source: BundleSource, model: Path, files: Mapping[str, Path], folder: Path, fetcher: Fetcher
) -> SealedBundle:
    if source.text_checks:
        return seal_text(source, model, fetcher.cache, _requantized(source, model, fetcher))
    from imagebuilder.models.evaluate import measure
    from imagebuilder.models.seal import seal

    check_model(source, _inspect(source, model))
    check_steps(source, model)
    optimized, evaluation, _ = measure(source, model, files, folder)
    return seal(source, optimized, evaluation, fetcher.cache)


def _requantized(source: BundleSource, model: Path, fetcher: Fetcher) -> Requantized | None:
    """What becomes of a language model, None if it is taken as it is."""
    from imagebuilder.models.evaluate import check_floor

    for step in source.optimize:
        if isinstance(step, Requantize):
            inspect_source(source, model)
            made = requantize(source, step, model, unpack_llamacpp(fetcher), fetcher.cache)
            hint = "take a type with more bits"
            check_floor(source, made.accuracy(source.floor), f"requantize {step.kind}", hint)
            return made
    return None


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
    if model_format(model) != "tflite":
        return
    problems = []
    for index, step in enumerate(source.optimize):
        if not isinstance(step, Quantize):
            what = "a TensorFlow Lite model can only be quantized, static or dynamic"
            problems.append(source.file.problem(("optimize", index), what))
        elif step.nodes or step.exclude_nodes or step.reduce_range or step.calibration != "minmax":
            what = "of a TensorFlow Lite model only `operators` can be chosen"
            problems.append(source.file.problem(("optimize", index), what))
    if problems:
        raise UserError(*problems)


def _shape_fits(spec: tuple[int, ...], found: tuple[int | str, ...], fixed: bool) -> bool:
    if len(spec) != len(found):
        return False
    return all(
        want == have or ((not isinstance(have, int) or have < 0) and (fixed or (at == 0 > want)))
        for at, (want, have) in enumerate(zip(spec, found, strict=True))
    )


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
