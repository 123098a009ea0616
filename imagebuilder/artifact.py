"""Artifacts: what a build left behind, described by `artifacts.json` in the output folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.state import sha256_file, write_if_changed

FILE_NAME = "artifacts.json"
DEBUG_FOLDER = "debug"
"""Where the variant with a test agent lies, beside a release that has none."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file: `kind` such as `disk`, `kernel`, `initrd`; `size` in bytes."""

    kind: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A model in the image: bundle name, version, digest (`sha256:...`), runtime and server.

    `backend` is what the server calls the runtime.
    """

    name: str
    version: str
    digest: str
    runtime: str
    server: str = "inferd"
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """All that one build left in `folder`; `command_line` is what a direct kernel boot needs.

    `text_listen` is where a language model is served, if there is one.
    """

    folder: Path
    name: str
    version: str
    machine: str
    engine: str
    variant: str
    command_line: str
    listen: str
    ssh: bool
    models: tuple[ImageModel, ...]
    files: tuple[Artifact, ...]
    text_listen: str | None = None

    def path(self, kind: str) -> Path:
        """The file of a kind; `KeyError` if there is none."""
        for artifact in self.files:
            if artifact.kind == kind:
                return self.folder / artifact.file
        raise KeyError(kind)

    def has(self, kind: str) -> bool:
        """Whether there is a file of this kind."""
        return any(artifact.kind == kind for artifact in self.files)


def describe(kind: str, path: Path) -> Artifact:
    """Size and digest of a file."""
    return Artifact(kind, path.name, path.stat().st_size, sha256_file(path))


def write_artifacts(artifacts: Artifacts) -> Path:
    """Write `artifacts.json`; the same artifacts give the same bytes in every folder."""
    data = dataclasses.asdict(artifacts)
    del data["folder"]
    text = json.dumps({"format": 1, **data}, indent=2, sort_keys=True) + "\n"
    path = artifacts.folder / FILE_NAME
    write_if_changed(path, text.encode())
    return path


BUILD_HINT = "run `imagebuilder build`, with the same --machine, --engine and --output"


def read_artifacts(folder: Path) -> Artifacts:
    """Read the `artifacts.json` of a folder; `UserError` if there is no finished build in it."""
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
        data.pop("format")
        models = tuple(ImageModel(**entry) for entry in data.pop("models"))
        files = tuple(Artifact(**entry) for entry in data.pop("files"))
        return Artifacts(folder=folder, models=models, files=files, **data)
    except FileNotFoundError as error:
        what = "there is no built image here"
        raise UserError(Problem(what, Location(folder), hint=BUILD_HINT)) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = "not written by imagebuilder, or damaged"
        raise UserError(Problem(what, Location(path), hint=BUILD_HINT)) from error


def testable(artifacts: Artifacts) -> Artifacts:
    """The variant that has a test agent: these artifacts, or those in `debug/` beside them."""
    if artifacts.variant != "release":
        return artifacts
    return read_artifacts(artifacts.folder / DEBUG_FOLDER)
