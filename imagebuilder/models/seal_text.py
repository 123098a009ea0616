"""Seals a language model; fetched weights are linked from the cache, not copied."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuilder import __version__
from imagebuilder.bundle.format import (
    Description,
    FileEntry,
    ModelFile,
    Provenance,
    Resources,
    TextCheck,
    TextModel,
)
from imagebuilder.bundle.reader import SealedBundle, open_bundle
from imagebuilder.bundle.writer import description_bytes
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.errors import UserError
from imagebuilder.models.source_text import source_text
from imagebuilder.models.steps.requantize import Requantized
from imagebuilder.models.text import TextInfo, inspect_text
from imagebuilder.state import Cache, new_folder, sha256_file
from imagebuilder.yamlfile import Key

MODEL, GOLDEN, LICENSE, REPORT = "model.gguf", "golden.json", "LICENSE", "report.json"
MAX_GOLDEN = 1 << 20


def seal_text(
    source: BundleSource, model: Path, cache: Cache, made: Requantized | None = None
) -> SealedBundle:
    """Check a GGUF file and its golden file, and seal them into the cache.

    `made` is what becomes of `model` where it is requantized. Raises `UserError`, located in
    `bundle.yaml`, for a file that cannot be served.
    """
    info = inspect_source(source, model)
    files = {MODEL: model, GOLDEN: source.text_checks[0].file}
    if source.license_file is not None:
        files[LICENSE] = source.license_file
    if made is not None:
        kind = f"{made.kind}, from {info.quantization}"
        info = dataclasses.replace(inspect_text(made.model), quantization=kind)
        files |= {MODEL: made.model, REPORT: made.report}
    entries = {
        name: FileEntry(path.stat().st_size, sha256_file(path)) for name, path in files.items()
    }
    golden = _golden(source, files[MODEL], entries[MODEL].sha256)
    description = _description(source, info, entries, golden)
    if made is not None:
        origin = dataclasses.replace(description.provenance, source_sha256=made.source_sha256)
        description = dataclasses.replace(
            description, accuracy=made.accuracy(source.floor), provenance=origin
        )
    raw = description_bytes(description)
    target = cache.bundle(hashlib.sha256(raw).hexdigest())
    with new_folder(target) as folder:
        for name, path in files.items():
            _add(path, folder / name, cache)
        (folder / "bundle.json").write_bytes(raw)
    return open_bundle(target)


def _add(source: Path, target: Path, cache: Cache) -> None:
    # What lies in the cache is never changed; a file of the user's own may be.
    if source.is_relative_to(cache.root):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def inspect_source(source: BundleSource, model: Path) -> TextInfo:
    """What the source's model is made of; `UserError` located in `bundle.yaml`, if unfit."""
    key: Key = ("source",)
    try:
        info = inspect_text(model)
    except UserError as error:
        problems = (source.file.problem(key, p.what, p.hint) for p in error.problems)
        raise UserError(*problems) from error
    if info.chat_template is None:
        what = "the model has no chat template, so the server could not answer a chat"
        hint = "take a model tuned for chats: its file has the key tokenizer.chat_template"
        raise UserError(source.file.problem(key, what, hint))
    return info


def _golden(source: BundleSource, model: Path, digest: str) -> Mapping[str, Any]:
    key: Key = ("checks", 0, "file")
    path = source.text_checks[0].file
    try:
        if path.stat().st_size > MAX_GOLDEN:
            raise ValueError("larger than 1 MiB")
        data = json.loads(path.read_bytes())
        recorded, server = data["model_sha256"], str(data["server"])
        features = tuple(map(str, data["cpu_features"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = f"{path.name} is no golden file: {error}"
        raise UserError(source.file.problem(key, what, "record it again")) from error
    if recorded != digest:
        what = f"{path.name} was recorded with another model, {recorded}"
        hint = f"record it again with {model}"
        raise UserError(source.file.problem(key, what, hint))
    return {"server": server, "cpu_features": features}


def _description(
    source: BundleSource,
    info: TextInfo,
    files: Mapping[str, FileEntry],
    golden: Mapping[str, Any],
) -> Description:
    return Description(
        name=source.name,
        version=source.version,
        task=source.task,
        license={"code": source.license_code, "weights": source.license_weights},
        model=ModelFile(MODEL, "gguf", None, None, info.quantization),
        inputs=(),
        outputs=(),
        labels=None,
        checks=(),
        accuracy=None,
        resources=Resources(info.weights_bytes, info.activation_bytes),
        provenance=_provenance(source, files[MODEL].sha256, golden),
        files=files,
        rollback_version=source.rollback_version,
        signature=None,
        drift=None,
        ai_bom=None,
        text=_text_model(info),
        text_checks=tuple(
            TextCheck(GOLDEN, check.agreement, check.perplexity) for check in source.text_checks
        ),
    )


def _provenance(source: BundleSource, sha256: str, golden: Mapping[str, Any]) -> Provenance:
    return Provenance(
        source=source_text(source),
        source_sha256=sha256,
        builder=f"imagebuilder {__version__}",
        runtime=golden["server"],
        cpu_features=golden["cpu_features"],
    )


def _text_model(info: TextInfo) -> TextModel:
    return TextModel(
        info.architecture,
        info.parameters,
        info.context,
        info.cache_bytes,
        info.vocabulary,
        info.tokenizer,
    )
