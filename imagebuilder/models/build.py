"""Builds model bundles: source → optimized → evaluated → sealed, cached by all that goes in."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import __version__
from imagebuilder.bundle.reader import SealedBundle, open_bundle
from imagebuilder.bundle.store import find_bundle, keep_bundle
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import (
    Auto,
    FixShapes,
    HalfWeights,
    OptimizeStep,
    Quantize,
    Requantize,
    show_score,
)
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.lock import LockUnfit, ModelPin
from imagebuilder.models.formats import model_format, tool_versions
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.llamacpp import unpack_llamacpp
from imagebuilder.models.seal_text import inspect_source, seal_text
from imagebuilder.models.steps.requantize import Requantized, requantize
from imagebuilder.models.trial import try_model
from imagebuilder.source import PathSource, Source
from imagebuilder.state import Cache, sha256_file, write_if_changed
from imagebuilder.yamlfile import Key

if TYPE_CHECKING:
    from imagebuilder.models.data import Split
    from imagebuilder.models.seal import Optimized
    from imagebuilder.models.search import Search
    from imagebuilder.models.tries import Workplace

REVISION = "7"
"""Raised when the same inputs would give another bundle."""


def locked_bundle(
    source: BundleSource, fetcher: Fetcher, pin: ModelPin | None, sealed: Path
) -> SealedBundle:
    """The bundle that a lock pins, from the project's folder `sealed` or the cache.

    It is sealed once: what was measured on a host is never made again on another. Only a language
    model that is left as it is may be sealed here. Raises `LockUnfit` or `UserError`.
    """
    name = source.name
    if pin is None:
        raise LockUnfit(f"the lock has no {name}", hint="run `imagebuilder lock`")
    if pin.definition != definition(source):
        what = f"{name} was changed since it was locked"
        raise LockUnfit(what, hint="run `imagebuilder lock`, or take the change back")
    found = find_bundle(name, pin.bundle, (sealed, fetcher.cache))
    if found is None and source.text_checks and not source.optimize:
        built = build_bundle(source, fetcher)
        found = built if built.digest == pin.bundle else None
    if found is None:
        what = f"the lock pins {name} {pin.bundle}, which is neither in {sealed} nor in the cache"
        hint = (f"a locked build never quantizes: bring {sealed / name} from the host that sealed "
                f"it (`imagebuilder model build {name} --output {sealed.name}`), or seal and lock "
                "it anew (`imagebuilder lock`)")  # fmt: skip
        raise UserError(what, hint=hint)
    keep_bundle(found, fetcher.cache)
    return found


def fresh_bundle(source: BundleSource, fetcher: Fetcher, sealed: Path) -> SealedBundle:
    """The bundle that the source gives; the copy in `sealed` if that is the same one."""
    bundle = build_bundle(source, fetcher)
    return find_bundle(source.name, bundle.digest, (sealed, fetcher.cache), verify=False) or bundle


def definition(source: BundleSource) -> str:
    """SHA-256 over the files of the bundle's folder that decide it, the same on every host."""
    parts = [source.source, *_materials(source).values()]
    local = [source.folder / part.path for part in parts if isinstance(part, PathSource)]
    files = [*_own_files(source), *local]
    digests = {str(path.relative_to(source.folder)): sha256_file(path)
               for path in files if path.is_file()}  # fmt: skip
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _own_files(source: BundleSource) -> tuple[Path, ...]:
    own = (source.file.path, source.data.recipe if source.data else None, source.labels,
           source.license_file, *(check.file for check in source.text_checks),
           *(source.folder / step.text for step in source.optimize
             if isinstance(step, Requantize)))  # fmt: skip
    return tuple(path for path in own if path is not None)


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
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        return search_source(source, model, files, _workplace(source, fetcher, Path(folder)))


def _workplace(source: BundleSource, fetcher: Fetcher, folder: Path) -> Workplace:
    """Where a search works; what its tries gave stays in the cache, should it be interrupted."""
    from imagebuilder.models.tries import Workplace

    def tell(words: str) -> None:
        fetcher.log.info(f"search {source.name} {words}")

    return Workplace(folder, fetcher.cache.root / "tries", tell)


def fetch_all(source: BundleSource, fetcher: Fetcher) -> tuple[Path, dict[str, Path]]:
    """The source model, and the recipe's material by name."""
    return fetch_model(source, fetcher), {
        name: _fetch(source, fetcher, item, ("data", "sources", name))
        for name, item in _materials(source).items()
    }


def fetch_model(source: BundleSource, fetcher: Fetcher) -> Path:
    """The source model."""
    return _fetch(source, fetcher, source.source, ("source",))


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
        digest = record.read_text().strip()
        found = open_bundle(cache.bundle(digest))
        return found if found.digest == digest else None
    except (OSError, UserError):
        return None


def fingerprint(source: BundleSource, model: Path, files: Mapping[str, Path]) -> str:
    """Digest of everything that decides the bundle: definitions, files, tool versions."""
    versions = {} if source.text_checks else tool_versions(model_format(model))
    parts = {
        "own": [sha256_file(path) for path in _own_files(source)],
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
    _try(source, model)
    check_steps(source, model)
    optimized, evaluation, _ = measure(source, model, files, _workplace(source, fetcher, folder))
    if any(check.measured for check in source.checks):
        source, optimized = _with_tolerance(source, optimized, evaluation, fetcher)
    return seal(source, optimized, evaluation, fetcher.cache)


def _with_tolerance(
    source: BundleSource, optimized: Optimized, evaluation: Split, fetcher: Fetcher
) -> tuple[BundleSource, Optimized]:
    """Both with the tolerance that emulated processors give."""
    from imagebuilder.models.processors import measured_tolerance, unpack_emulator

    found = measured_tolerance(optimized.path, evaluation, unpack_emulator(fetcher))
    checks = tuple(replace(check, rtol=found.rtol, atol=found.atol) if check.measured else check
                   for check in source.checks)  # fmt: skip
    report = {**optimized.report, "tolerance": asdict(found)}
    return replace(source, checks=checks), replace(optimized, report=report)


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
    if isinstance(step, Quantize) and (step.reduce_range or step.calibration != "minmax"):
        return "of a TensorFlow Lite model only `operators` and nodes can be chosen"
    if isinstance(step, Quantize | Auto | HalfWeights):
        return ""
    return "a TensorFlow Lite model can only be quantized"


def _unfit_for_onnx(step: OptimizeStep) -> str:
    if isinstance(step, Quantize) and step.mode == "weights":
        return "weights alone become INT8 in TensorFlow Lite models only; `fp16` halves these"
    return ""


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
            bundle.description.version,
            bundle.digest,
            bundle.description.provenance.source_sha256,
            definition(source),
        )
        for source, bundle in zip(sources, bundles, strict=True)
    }
    data = {
        source.name: {name: _sha256(source, item) for name, item in _materials(source).items()}
        for source in sources
    }
    return models, {name: entries for name, entries in data.items() if entries}


def _sha256(source: BundleSource, item: Source) -> str:
    if isinstance(item, PathSource) and item.sha256 is None:
        return sha256_file(source.folder / item.path)
    assert item.sha256 is not None
    return item.sha256
