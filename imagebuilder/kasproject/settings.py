"""The project's settings: what `local_conf_header` says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imagebuilder.catalog.machine import YoctoMachine
from imagebuilder.catalog.series import Series
from imagebuilder.kasproject.names import bitbake_value, bundle_recipe
from imagebuilder.kasproject.operators import operators_file
from imagebuilder.resolve import Build
from imagebuilder.units import MIB

IMAGES = ("imagebuilder-image", "imagebuilder-image-debug")

INIT = {"busybox": "mdev-busybox", "systemd": "systemd"}
"""The manifest's `yocto.init` → INIT_MANAGER."""


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of `local_conf_header`: a name and assignments."""

    name: str
    values: tuple[tuple[str, str], ...]


def yocto_machine(build: Build, series: Series) -> YoctoMachine:
    """What the machine needs in a series."""
    assert build.machine.yocto is not None
    return build.machine.yocto.of_series(series.release)


def settings(build: Build, machine: YoctoMachine, server_digest: str) -> tuple[Block, ...]:
    """All blocks; of our own variables only those that have a value: the layers have defaults."""
    return _blocks(
        Block("identity", _identity(build)),
        Block("inference", _inference(build, server_digest)),
        Block("image", _image(build)),
        Block("machine", _machine(build, machine)),
        Block("licenses", _licenses(build)),
    )


def fragment_settings(build: Build, server_digest: str) -> tuple[Block, ...]:
    """Those that a product with its own distro, machine and image takes."""
    return _blocks(
        Block("identity", _identity(build)), Block("inference", _inference(build, server_digest))
    )


def _blocks(*blocks: Block) -> tuple[Block, ...]:
    return tuple(
        Block(block.name, values)
        for block in blocks
        if (values := tuple(_with_value(block.values)))
    )


def _with_value(values: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for key, value in values:
        if value or not key.startswith("IMAGEBUILDER_"):
            yield key, bitbake_value(value)


def _identity(build: Build) -> tuple[tuple[str, str], ...]:
    manifest = build.manifest
    return (
        ("IMAGEBUILDER_NAME", manifest.name),
        ("IMAGEBUILDER_VERSION", manifest.version),
    )


def _inference(build: Build, server_digest: str) -> tuple[tuple[str, str], ...]:
    models = (bundle_recipe(model.request.bundle) for model in build.models)
    return (
        ("IMAGEBUILDER_MODELS", " ".join(models)),
        ("IMAGEBUILDER_RUNTIMES", " ".join(runtime_recipes(build))),
        ("IMAGEBUILDER_SERVERS", " ".join(sorted({m.runtime.server for m in build.models}))),
        ("IMAGEBUILDER_INFERD_SHA256", server_digest),
        *(("IMAGEBUILDER_ONNX_OPERATORS", name) for name in operators_file(build)),
    )


def runtime_recipes(build: Build) -> tuple[str, ...]:
    """The recipes of the runtimes that the models need."""
    return tuple(sorted({model.target.yocto_recipe or "" for model in build.models}))


def _image(build: Build) -> tuple[tuple[str, str], ...]:
    image = build.manifest.image
    return (
        ("hostname:pn-base-files", image.hostname),
        ("INIT_MANAGER", INIT[build.manifest.yocto.init]),
        ("IMAGEBUILDER_SSH", "1" if image.authorized_keys else ""),
        ("IMAGEBUILDER_ROOT_SIZE", _mebibytes(image.storage.root)),
        ("IMAGEBUILDER_MODELS_SIZE", _mebibytes(image.storage.models)),
        ("IMAGEBUILDER_DATA_SIZE", _mebibytes(image.storage.data)),
    )


def _machine(build: Build, machine: YoctoMachine) -> tuple[tuple[str, str], ...]:
    modules = build.manifest.kernel.modules
    return (
        *(
            (f"IMAGE_FSTYPES:pn-{image}", " ".join(machine.image_types))
            for image in IMAGES
            if machine.image_types
        ),
        ("IMAGEBUILDER_PACKAGES", " ".join((*machine.packages, *build.manifest.yocto.packages))),
        *((("WKS_FILE", machine.wks),) if machine.wks else ()),
        *(_modules(modules) if modules else ()),
        *machine.settings.items(),
    )


def _modules(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Recommended, since one that the kernel has built in has no package."""
    packages = (f"kernel-module-{name.lower().replace('_', '-')}" for name in names)
    yield "MACHINE_EXTRA_RRECOMMENDS:append", "".join(f" {package}" for package in packages)
    yield "KERNEL_MODULE_AUTOLOAD", " ".join(names)


def _mebibytes(size: int | None) -> str:
    return "" if size is None else str(-(-size // MIB))


def _licenses(build: Build) -> tuple[tuple[str, str], ...]:
    accepted = build.manifest.yocto.licenses
    flags = [name for name in accepted if not name.startswith("ACCEPT_")]
    agreed = tuple((name, "1") for name in accepted if name.startswith("ACCEPT_"))
    return agreed + ((("LICENSE_FLAGS_ACCEPTED", " ".join(flags)),) if flags else ())
