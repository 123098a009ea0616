"""Seals a language model; fetched weights are linked from the cache, not copied."""

from __future__ import annotations

import contextlib
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
from imagebuilder.models.text import TextInfo, inspect_text
from imagebuilder.state import Cache, new_folder, sha256_file
from imagebuilder.yamlfile import Key

MODEL, GOLDEN, LICENSE = "model.gguf", "golden.json", "LICENSE"
MAX_GOLDEN = 1 << 20


def seal_text(source: BundleSource, model: Path, cache: Cache) -> SealedBundle:
    """Check a GGUF file and its golden file, and seal them into the cache.

    Raises `UserError`, located in `bundle.yaml`, for a file that cannot be served.
    """
    info = _inspect(source, model)
    digest = sha256_file(model)
    golden = _golden(source, digest)
    files = {MODEL: model, GOLDEN: source.text_checks[0].file}
    if source.license_file is not None:
        files[LICENSE] = source.license_file
    entries = {
        name: FileEntry(path.stat().st_size, digest if path is model else sha256_file(path))
        for name, path in files.items()
    }
    raw = description_bytes(_description(source, info, entries, golden))
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


def _inspect(source: BundleSource, model: Path) -> TextInfo:
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


def _golden(source: BundleSource, digest: str) -> Mapping[str, Any]:
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
        raise UserError(source.file.problem(key, what, "record it again with this one"))
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
        provenance=Provenance(
            source=source_text(source),
            source_sha256=files[MODEL].sha256,
            builder=f"imagebuilder {__version__}",
            runtime=golden["server"],
            cpu_features=golden["cpu_features"],
        ),
        files=files,
        rollback_version=source.rollback_version,
        signature=None,
        drift=None,
        ai_bom=None,
        text=TextModel(
            info.architecture,
            info.parameters,
            info.context,
            info.cache_bytes,
            info.vocabulary,
            info.tokenizer,
        ),
        text_checks=tuple(
            TextCheck(GOLDEN, check.agreement, check.perplexity) for check in source.text_checks
        ),
    )
