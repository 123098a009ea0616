"""Collects the evidence of a built image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from imagebuilder.artifact import (
    BUILD_HINT,
    FILE_NAME,
    Artifacts,
    ImageModel,
    read_artifacts,
    testable,
)
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.bundle.store import find_bundle
from imagebuilder.cli.app import App
from imagebuilder.cli.inspect import contents
from imagebuilder.cli.model_report import measure
from imagebuilder.cli.pipeline import Asked
from imagebuilder.errors import UserError
from imagebuilder.lock import lock_path, read_lock
from imagebuilder.report.contents import image_parts
from imagebuilder.report.engine_sbom import ENGINE_SBOM, read_engine_document
from imagebuilder.report.evidence import SBOM, Evidence, bundle_evidence
from imagebuilder.report.sbom import Materials, sbom
from imagebuilder.state import Cache, sha256_file

PAGES = ("report.html", "report.md")
RESULTS = "tests/results.json"


def collect(app: App, asked: Asked, folder: Path) -> Evidence:
    """All files of the archive; `UserError` if the image is not there, damaged, or not the lock's.

    The SBOM is dated by SOURCE_DATE_EPOCH, if that is set.
    """
    cache = app.fetcher.cache
    if not (folder / FILE_NAME).is_file():
        raise UserError(f"{folder}: there is no built image", hint=BUILD_HINT)
    contents(folder)
    artifacts = read_artifacts(folder)
    path = lock_path(asked.manifest.file.path)
    lock = read_lock(path)
    bundles = [_bundle(asked, model, cache) for model in artifacts.models]
    for bundle in bundles:
        pin = lock.models.get(bundle.description.name)
        if pin is None or pin.bundle != bundle.digest:
            raise UserError(
                f"the image was built with another {bundle.description.name} than {path} has",
                hint=BUILD_HINT,
            )
    files = dict(_files(asked, artifacts, bundles))
    files.update(_parity(app, asked, bundles, files))
    parts = [part for part in image_parts(artifacts) if part.kind != "model"]
    engine = read_engine_document(files.get(ENGINE_SBOM, b""))
    materials = Materials(artifacts, parts, bundles, lock.data, engine)
    text = json.dumps(sbom(materials, _now()), indent=2, sort_keys=True) + "\n"
    return Evidence({**files, SBOM: text.encode()})


def _bundle(asked: Asked, model: ImageModel, cache: Cache) -> SealedBundle:
    found = find_bundle(model.name, model.digest, (asked.sealed, cache))
    if found is None:
        raise UserError(
            f"{model.name} {model.digest} is neither in {asked.sealed} nor in the cache"
        )
    return found


def _files(
    asked: Asked, artifacts: Artifacts, bundles: list[SealedBundle]
) -> Iterator[tuple[str, bytes]]:
    manifest = asked.manifest.file.path
    yield "firmware.yaml", manifest.read_bytes()
    yield "firmware.lock", lock_path(manifest).read_bytes()
    yield FILE_NAME, (artifacts.folder / FILE_NAME).read_bytes()
    if artifacts.has("packages"):
        yield artifacts.path("packages").name, artifacts.path("packages").read_bytes()
    if artifacts.has("sbom"):
        yield ENGINE_SBOM, artifacts.path("sbom").read_bytes()
    for bundle in bundles:
        yield from bundle_evidence(bundle, signed=asked.trust is not None)
    yield from run_reports(artifacts)


def _parity(
    app: App, asked: Asked, bundles: list[SealedBundle], files: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """The parity report of every model, as `model report` left it or else made now.

    A model whose source cannot be had here has none, which is said.
    """
    from imagebuilder.models.parity import kept_parity
    from imagebuilder.report.parity import complete, parity_files

    sources = {source.name: source for source in asked.sources}
    results = json.loads(files.get(RESULTS, b"[]"))
    for bundle in bundles:
        name = bundle.description.name
        if bundle.description.text is not None:
            continue
        try:
            measured = kept_parity(bundle, app.fetcher.cache) or measure(
                app, sources[name], bundle, search=False, processors=False)  # fmt: skip
        except UserError as error:
            app.log.warning(f"{name}: no parity report: {error}")
            continue
        for file, raw in parity_files(complete(measured, results)).items():
            yield f"models/{name}/{file}", raw


def run_reports(artifacts: Artifacts) -> Iterator[tuple[str, bytes]]:
    """The reports of the last run, as far as they are of this image; none of another one.

    The pages show all machines of a run, so that they are taken only if it had this one alone.
    """
    tested, reports = testable(artifacts).folder, artifacts.folder.parent
    try:
        results = json.loads((reports / "results.json").read_bytes())
        image = sha256_file(tested / FILE_NAME)
        own = [result for result in results if result["image"] == image]
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return
    if not own:
        return
    yield RESULTS, (json.dumps(own, indent=2) + "\n").encode()
    pages = [reports / name for name in PAGES] if own == results else []
    for path in (tested / "junit.xml", *pages):
        if path.is_file():
            yield f"tests/{path.name}", path.read_bytes()


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
