"""Which files of BitBake's deploy folder are the results of a build. Looks, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import BuildError

RELEASE, DEBUG = "imagebuilder-image", "imagebuilder-image-debug"
IMAGES = {"release": RELEASE, "debug": DEBUG}
NAMES_FILE = "names.json"

IMAGE_FILES = (
    ("disk", "wic", "{stem}.img"),
    ("bmap", "wic.bmap", "{stem}.img.bmap"),
    *(("compressed", f"wic.{end}", f"{{stem}}.img.{end}") for end in ("zst", "xz", "bz2", "gz")),
    *(("flash", end, f"{{stem}}.{end}")
      for end in ("tegraflash.tar.zst", "tegraflash.tar.gz", "qcomflash.tar.gz")),
    ("packages", "packages.json", "packages.json"),
    ("packages", "manifest", "packages.manifest"),
    ("sbom", "spdx.json", "sbom.spdx.json"),
    ("qemuboot", "qemuboot.conf", "qemuboot.conf"),
)  # fmt: skip
"""Kind of artifact, ending of an image's file, name in the output folder; the first counts."""

KERNEL_FILES = (
    *(("kernel", name, "kernel") for name in ("Image", "bzImage", "zImage", "fitImage")),
    ("kernel-config", "kernel-config", "kernel.config"),
    ("bootloader", "imx-boot", "imx-boot"),
)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A result: its kind, where it is, and its name in the output folder."""

    kind: str
    path: Path
    name: str


def deployed(folder: Path, machine: str, variant: str) -> tuple[Deployed, ...]:
    """What a machine's deploy folder holds of an image, one of each kind.

    `BuildError` if no image is among it.
    """
    found: dict[str, Deployed] = {}
    for item in _candidates(folder, machine, IMAGES[variant]):
        if item.path.is_file():
            found.setdefault(item.kind, item)
    if not found.keys() & {"disk", "compressed", "flash"}:
        hint = "a kas file of your site or a layer of your own may have another TMPDIR"
        raise BuildError(f"BitBake ended well and left no image in {folder}", hint=hint)
    return tuple(found.values())


def _candidates(folder: Path, machine: str, image: str) -> Iterator[Deployed]:
    for kind, ending, name in IMAGE_FILES:
        # Images of some BSPs leave the suffix out.
        for middle in (".rootfs", ""):
            yield Deployed(kind, folder / f"{image}-{machine}{middle}.{ending}", name)
    for kind, file, name in KERNEL_FILES:
        yield Deployed(kind, folder / file, name)
