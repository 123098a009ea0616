"""Seals a bundle: all files in one folder, named by its digest in the cache."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import __version__
from imagebuilder.bundle.drift import drift_bytes
from imagebuilder.bundle.format import (
    Accuracy,
    Description,
    FileEntry,
    ModelFile,
    Provenance,
    Resources,
    Tensor,
    TensorsCheck,
)
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.bundle.writer import description_bytes
from imagebuilder.catalog.bundle_source import BundleSource, TensorSpec
from imagebuilder.models.data import Array, Split
from imagebuilder.models.drift import drift_reference
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import ModelInfo
from imagebuilder.models.runner import Runner, spread
from imagebuilder.models.sessions import library_version
from imagebuilder.models.source_text import source_text
from imagebuilder.state import Cache, new_folder, sha256_file

GOLDEN = "golden.safetensors"
DRIFT = "drift.json"


@dataclass(frozen=True, slots=True)
class Optimized:
    """An optimized model that has passed its floor."""

    path: Path
    info: ModelInfo
    quantization: str
    accuracy: Accuracy
    report: Mapping[str, Any]
    source_sha256: str


def seal(source: BundleSource, optimized: Optimized, evaluation: Split, cache: Cache
         ) -> SealedBundle:  # fmt: skip
    """Write the sealed bundle into the cache, verify it, and give it."""
    parts = cache.root / "bundles"
    parts.mkdir(parents=True, exist_ok=True)
    with new_folder(parts / ".sealing") as folder:
        _write_files(source, optimized, evaluation, folder)
        raw = description_bytes(_description(source, optimized, folder))
        (folder / "bundle.json").write_bytes(raw)
        target = cache.bundle(hashlib.sha256(raw).hexdigest())
        with new_folder(target) as final:
            shutil.copytree(folder, final, dirs_exist_ok=True)
        folder_bundle = read_bundle(target)
    shutil.rmtree(parts / ".sealing", ignore_errors=True)
    return folder_bundle


def _write_files(
    source: BundleSource, optimized: Optimized, evaluation: Split, folder: Path
) -> None:
    import json

    import safetensors.numpy

    shutil.copyfile(optimized.path, folder / f"model.{model_format(optimized.path)}")
    runner = Runner(optimized.path)
    tensors = golden_tensors(source, runner, evaluation)
    (folder / GOLDEN).write_bytes(safetensors.numpy.save(tensors))
    reference = drift_reference(source, runner, evaluation)
    if reference is not None:
        (folder / DRIFT).write_bytes(drift_bytes(reference))
    text = json.dumps(optimized.report, indent=2, sort_keys=True) + "\n"
    (folder / "report.json").write_text(text)
    if source.labels is not None:
        shutil.copyfile(source.labels, folder / "labels.txt")
    if source.license_file is not None:
        shutil.copyfile(source.license_file, folder / "LICENSE")


def golden_tensors(source: BundleSource, runner: Runner, evaluation: Split) -> dict[str, Array]:
    """`NNN.input.NAME` and `NNN.output.NAME` for samples spread over the evaluation split."""
    import numpy as np

    tensors: dict[str, Array] = {}
    samples = max(check.samples for check in source.checks)
    for number, index in enumerate(spread(len(evaluation), samples)):
        inputs = evaluation.sample(index)
        outputs = zip(runner.output_names, runner.run(inputs), strict=True)
        for kind, items in (("input", inputs.items()), ("output", outputs)):
            for name, array in items:
                tensors[f"{number:03}.{kind}.{name}"] = np.ascontiguousarray(array)
    return tensors


def _description(source: BundleSource, optimized: Optimized, folder: Path) -> Description:
    files = {path.name: FileEntry(path.stat().st_size, sha256_file(path))
             for path in sorted(folder.iterdir())}  # fmt: skip
    info, kind = optimized.info, model_format(optimized.path)
    return Description(
        name=source.name,
        version=source.version,
        task=source.task,
        license={"code": source.license_code, "weights": source.license_weights},
        model=ModelFile(f"model.{kind}", kind, info.opset or None, info.ir, optimized.quantization),
        inputs=tuple(_tensor(spec) for spec in source.inputs),
        outputs=tuple(_tensor(spec) for spec in source.outputs),
        labels="labels.txt" if source.labels is not None else None,
        checks=tuple(TensorsCheck(GOLDEN, c.samples, c.rtol, c.atol, c.top1)
                     for c in source.checks),
        accuracy=optimized.accuracy,
        resources=Resources(info.weights_bytes, info.activation_bytes),
        provenance=Provenance(
            source=source_text(source),
            source_sha256=optimized.source_sha256,
            builder=f"imagebuilder {__version__}",
            runtime=" ".join(library_version(kind)),
            cpu_features=cpu_features(),
        ),
        files=files,
        rollback_version=source.rollback_version,
        signature=None,
        drift={"file": DRIFT} if (folder / DRIFT).exists() else None,
        ai_bom=None,
    )  # fmt: skip


def _tensor(spec: TensorSpec) -> Tensor:
    return Tensor(spec.name, spec.dtype, spec.shape)


def cpu_features() -> tuple[str, ...]:
    """The host's vector extensions, which decide how INT8 products are computed, sorted."""
    wanted = ("avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm")
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return (platform.machine(),)
    words = set(text.split())
    return (platform.machine(), *(name for name in sorted(wanted) if name in words))
