"""Builds model bundles: source → optimized → evaluated → sealed, cached by all that goes in."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import __version__
from imagebuilder.bundle.reader import SealedBundle, open_bundle
from imagebuilder.bundle.store import find_bundle, keep_bundle
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import (
    Requantize,
    show_score,
)
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.models.formats import model_format, tool_versions
from imagebuilder.source import PathSource, Source
from imagebuilder.state import Cache, sha256_file, write_if_changed
from imagebuilder.yamlfile import Key

if TYPE_CHECKING:
    from imagebuilder.lock import ModelPin
    from imagebuilder.models.search import Search

REVISION = "7"
"""Raised when the same inputs would give another bundle."""


def locked_bundle(
    source: BundleSource, fetcher: Fetcher, pin: ModelPin | None, sealed: Path
) -> SealedBundle:
    """The bundle that a lock pins, from the project's folder `sealed` or the cache.

    It is sealed once: what was measured on a host is never made again on another. Only a language
    model that is left as it is may be sealed here. Raises `LockUnfit` or `UserError`.
    """
    from imagebuilder.lock import LockUnfit

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
    from imagebuilder.models.make import make_bundle

    with log.task(f"model {source.name}") as task:
        with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
            bundle = make_bundle(source, model, files, Path(folder), fetcher)
        task.note(f"model {source.name}: {summary(bundle)}")
    write_if_changed(record, bundle.digest.encode())
    return bundle


def search_bundle(source: BundleSource, fetcher: Fetcher) -> Search:
    """What `quantize: auto` finds for a bundle, in place of the quantization that it declares."""
    from imagebuilder.models.make import search_quantization

    model, files = fetch_all(source, fetcher)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        return search_quantization(source, model, files, Path(folder), fetcher)


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


def pins(sources: Sequence[BundleSource], bundles: Sequence[SealedBundle]
         ) -> tuple[dict[str, ModelPin], dict[str, dict[str, str]]]:  # fmt: skip
    """The lock's sections `models` and `data`."""
    from imagebuilder.lock import ModelPin

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
