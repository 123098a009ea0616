"""Operator models as sealed bundles, whose goldens are the package's inputs and outputs."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import safetensors.numpy

from imagebuilder import __version__
from imagebuilder.bundle.format import (
    Description,
    FileEntry,
    ModelFile,
    Provenance,
    Resources,
    Tensor,
    TensorsCheck,
)
from imagebuilder.bundle.golden import TEXT
from imagebuilder.bundle.writer import description_bytes
from imagebuilder.conformance.cases import Array, Case, Named
from imagebuilder.state import sha256_file

RTOL, ATOL = 1e-3, 1e-5
"""Tolerances of ONNX Runtime's own tests with these models."""
GOLDEN, MODEL = "golden.safetensors", "model.onnx"


def write_bundles(cases: Iterable[Case], folder: Path) -> dict[str, Case]:
    """A bundle in `folder` for every case that can have one; gives its name → the case."""
    written = {}
    for case in cases:
        if not case.unsupported:
            name = bundle_name(case.name)
            _write(case, name, folder / name)
            written[name] = case
    return written


def bundle_name(name: str) -> str:
    """A bundle's name for a model's, each another one."""
    slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug.replace("-", "_") == name and len(slug) <= 63:
        return slug
    return f"{slug[:54]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _write(case: Case, name: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(case.model, folder / MODEL)
    tensors = {f"000.input.{item.name}": _stored(item) for item in case.inputs}
    tensors |= {f"000.output.{item.name}": _stored(item) for item in case.outputs}
    (folder / GOLDEN).write_bytes(safetensors.numpy.save(tensors))
    (folder / "bundle.json").write_bytes(description_bytes(_description(case, name, folder)))


def _stored(item: Named) -> Array:
    if item.dtype == TEXT:
        raw = b"".join(len(x).to_bytes(4, "little") + x for x in item.array.reshape(-1))
        return np.frombuffer(raw, np.uint8)
    return np.ascontiguousarray(item.array).reshape(item.array.shape)


def _description(case: Case, name: str, folder: Path) -> Description:
    files = {file: FileEntry((folder / file).stat().st_size, sha256_file(folder / file))
             for file in (GOLDEN, MODEL)}  # fmt: skip
    return Description(
        name=name,
        version="1",
        task="other",
        license={"code": "Apache-2.0", "weights": "Apache-2.0"},
        model=ModelFile(MODEL, "onnx", None, None, "none"),
        inputs=tuple(Tensor(i.name, i.dtype, i.array.shape) for i in case.inputs),
        outputs=tuple(Tensor(o.name, o.dtype, o.array.shape) for o in case.outputs),
        labels=None,
        checks=(TensorsCheck(GOLDEN, 1, RTOL, ATOL, top1=False),),
        accuracy=None,
        resources=Resources(0, 0),
        provenance=Provenance(
            source="Debian's libonnx-testdata",
            source_sha256=files[MODEL].sha256,
            builder=f"imagebuilder {__version__}",
            runtime="none",
            cpu_features=(),
        ),
        files=files,
        rollback_version=0,
        signature=None,
        drift=None,
        ai_bom=None,
    )
