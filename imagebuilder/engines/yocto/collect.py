"""The output folder: the release image and, in `debug/`, the one that can be tested."""

from __future__ import annotations

import json
from pathlib import Path

from imagebuilder.artifact import DEBUG_FOLDER, Artifacts
from imagebuilder.engines.placing import place, stem
from imagebuilder.engines.yocto.deploy import NAMES_FILE
from imagebuilder.resolve import Build
from imagebuilder.target.qemuboot import read_qemuboot

ROOT = ("root=PARTLABEL=root-a", "ro", "rootwait")


def collect(build: Build, images: Path, folder: Path) -> Artifacts:
    """Place both images; gives the release one."""
    release = _place(build, images, "release", folder)
    _place(build, images, "debug", folder / DEBUG_FOLDER)
    return release


def _place(build: Build, images: Path, variant: str, folder: Path) -> Artifacts:
    source = images / variant
    names: dict[str, str] = json.loads((source / NAMES_FILE).read_bytes())
    wanted = {
        kind: (source / kind, name.replace("{stem}", stem(build))) for kind, name in names.items()
    }
    words = _command_line(build, source)
    return place(build, folder, wanted, variant=variant, command_line=words)


def _command_line(build: Build, source: Path) -> str:
    conf = source / "qemuboot"
    console = read_qemuboot(conf.read_text("utf-8")).console if conf.is_file() else ""
    words = [*ROOT, *([f"console={console}"] if console else []), "panic=-1", "quiet",
             *build.manifest.kernel.command_line]  # fmt: skip
    return " ".join(words)
