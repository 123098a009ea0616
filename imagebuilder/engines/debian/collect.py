"""The output folder: copies of the results of the steps, and `artifacts.json`."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import Artifact, Artifacts, ImageModel, write_artifacts
from imagebuilder.engines.debian.steps_plan import command_line
from imagebuilder.resolve import Build
from imagebuilder.state import host_errors, new_file, sha256_file, write_if_changed

PLACED_FILE = "placed.json"


def collect(build: Build, outputs: Mapping[str, Path], folder: Path) -> Artifacts:
    """Put the results into `folder`; a file that is there already is not touched."""
    stem = f"{build.manifest.name}-{build.manifest.version}-{build.machine.name}"
    wanted = {
        "disk": (outputs["disk"] / "disk.img", f"{stem}.img"),
        "compressed": (outputs["compress"] / "disk.img.zst", f"{stem}.img.zst"),
        "bmap": (outputs["disk"] / "disk.img.bmap", f"{stem}.img.bmap"),
        "kernel": (outputs["kernel"] / "vmlinuz", "kernel"),
        "initrd": (outputs["initrd"] / "initrd", "initrd"),
        "packages": (outputs["packages"] / "packages.json", "packages.json"),
    }
    with host_errors("image"):
        folder.mkdir(parents=True, exist_ok=True)
        known = _read_known(folder)
        placed = {
            kind: _place(source, folder / name, known.get(kind))
            for kind, (source, name) in wanted.items()
        }
    text = json.dumps({kind: dataclasses.asdict(place) for kind, place in placed.items()})
    write_if_changed(folder / PLACED_FILE, text.encode())
    files = tuple(
        Artifact(kind, wanted[kind][1], place.size, place.sha256) for kind, place in placed.items()
    )
    artifacts = _artifacts(build, folder, files)
    write_artifacts(artifacts)
    return artifacts


@dataclass(frozen=True, slots=True)
class Placed:
    """A copied result: the step's folder it came from, and how the copy can be recognized."""

    source: str
    size: int
    mtime_ns: int
    sha256: str


def _read_known(folder: Path) -> dict[str, Placed]:
    try:
        data = json.loads((folder / PLACED_FILE).read_bytes())
        return {kind: Placed(**place) for kind, place in data.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _place(source: Path, target: Path, known: Placed | None) -> Placed:
    # A copy, not a link: a guest that writes to the image must not change the cache.
    if known and target.is_file() and known.source == source.parent.name:
        status = target.stat()
        if (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns):
            return known
    with new_file(target) as temporary:
        shutil.copyfile(source, temporary)
    status = target.stat()
    return Placed(source.parent.name, status.st_size, status.st_mtime_ns, sha256_file(target))


def _artifacts(build: Build, folder: Path, files: tuple[Artifact, ...]) -> Artifacts:
    return Artifacts(
        folder=folder,
        name=build.manifest.name,
        version=build.manifest.version,
        machine=build.machine.name,
        engine=build.engine,
        variant=build.variant,
        command_line=command_line(build),
        listen=build.manifest.server.listen,
        ssh=bool(build.manifest.image.authorized_keys),
        models=tuple(
            ImageModel(m.request.bundle, m.bundle.description.version, m.bundle.digest,
                       m.runtime.name)
            for m in build.models
        ),
        files=files,
    )  # fmt: skip
