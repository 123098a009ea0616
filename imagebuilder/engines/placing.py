"""Copies results of steps into the output folder and describes them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import Artifact, Artifacts, ImageModel, write_artifacts
from imagebuilder.devicefiles import TEXT_SERVER, serves
from imagebuilder.resolve import Build
from imagebuilder.state import host_errors, new_file, sha256_file, write_if_changed

PLACED_FILE = "placed.json"


def stem(build: Build) -> str:
    """What the names of an image's files begin with."""
    return f"{build.manifest.name}-{build.manifest.version}-{build.machine.name}"


def place(
    build: Build,
    folder: Path,
    wanted: Mapping[str, tuple[Path, str]],
    *,
    variant: str,
    command_line: str,
) -> Artifacts:
    """Put results, kind → (file, name), into `folder`; one that is there already is not touched."""
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
    artifacts = _describe(build, folder, files, variant, command_line)
    write_artifacts(artifacts)
    return artifacts


@dataclass(frozen=True, slots=True)
class Placed:
    """A copied result: the file it came from, whose path holds the step's fingerprint.

    Size and time tell whether the copy is still the one that was made.
    """

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
    if known and target.is_file() and known.source == str(source):
        status = target.stat()
        if (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns):
            return known
    with new_file(target) as temporary:
        shutil.copyfile(source, temporary)
    status = target.stat()
    return Placed(str(source), status.st_size, status.st_mtime_ns, sha256_file(target))


def _describe(
    build: Build, folder: Path, files: tuple[Artifact, ...], variant: str, command_line: str
) -> Artifacts:
    return Artifacts(
        folder=folder,
        name=build.manifest.name,
        version=build.manifest.version,
        machine=build.machine.name,
        engine=build.engine,
        variant=variant,
        command_line=command_line,
        listen=build.manifest.server.listen,
        ssh=bool(build.manifest.image.authorized_keys),
        models=tuple(
            ImageModel(m.request.bundle, m.bundle.description.version, m.bundle.digest,
                       m.runtime.name, m.runtime.server, m.runtime.backend)
            for m in build.models
        ),
        files=files,
        text_listen=build.manifest.server.text.listen if serves(build, TEXT_SERVER) else None,
    )  # fmt: skip
