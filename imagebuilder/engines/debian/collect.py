"""The output folder of the engine debian."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.engines.debian.steps_plan import command_line
from imagebuilder.engines.placing import place, stem
from imagebuilder.resolve import Build


def collect(build: Build, outputs: Mapping[str, Path], folder: Path) -> Artifacts:
    """Put image, kernel and lists into `folder`."""
    name = stem(build)
    wanted = {
        "disk": (outputs["disk"] / "disk.img", f"{name}.img"),
        "compressed": (outputs["compress"] / "disk.img.zst", f"{name}.img.zst"),
        "bmap": (outputs["disk"] / "disk.img.bmap", f"{name}.img.bmap"),
        "kernel": (outputs["kernel"] / "vmlinuz", "kernel"),
        "initrd": (outputs["initrd"] / "initrd", "initrd"),
        "packages": (outputs["packages"] / "packages.json", "packages.json"),
    }
    words = command_line(build)
    return place(build, folder, wanted, variant=build.variant, command_line=words)
