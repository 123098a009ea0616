"""The one kernel bbappend: which fragments, applied by the mechanism of the machine's kernel."""

from __future__ import annotations

from imagebuilder.catalog.machine import YoctoMachine
from imagebuilder.catalog.series import Series
from imagebuilder.devicefiles import TEXT_SERVER, serves
from imagebuilder.kasproject.settings import yocto_machine
from imagebuilder.resolve import Build
from imagebuilder.templates import render

FOLDER = "recipes-kernel/linux"
MEMORY_LIMIT = "memory-limit"
"""The kernel feature that the limit on the memory of llama-server takes."""


def kernel_features(build: Build, machine: YoctoMachine) -> tuple[str, ...]:
    """The machine's features, and what the image's servers take besides."""
    if serves(build, TEXT_SERVER) and MEMORY_LIMIT not in machine.features:
        return (*machine.features, MEMORY_LIMIT)
    return machine.features


def kernel_files(build: Build, series: Series) -> dict[str, str]:
    """The bbappend and the user's own fragments, by path in the project layer."""
    machine = yocto_machine(build, series)
    own = {path.name: path.read_text("utf-8") for path in build.manifest.kernel.fragments}
    fragments = [f"{feature}.cfg" for feature in kernel_features(build, machine)] + list(own)
    text = render(
        "yocto/kernel.bbappend",
        kind=machine.kernel_config,
        fragments=fragments,
        unpack=series.unpack_folder,
    )
    files = {f"{FOLDER}/{machine.kernel}_%.bbappend": text}
    return files | {f"{FOLDER}/files/{name}": content for name, content in own.items()}
