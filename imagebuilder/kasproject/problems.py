"""What keeps a build from becoming a kas project, each located in the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.catalog.machine import YoctoMachine
from imagebuilder.catalog.series import Series
from imagebuilder.errors import Problem
from imagebuilder.kasproject.kernel import kernel_features
from imagebuilder.kasproject.operators import operators_problems
from imagebuilder.kasproject.settings import yocto_machine
from imagebuilder.kasproject.sources import STATIC_LAYERS
from imagebuilder.kasproject.startup import startup_problems
from imagebuilder.resolve import Build
from imagebuilder.yamlfile import Key

COLLECTIONS = ("core", "openembedded-layer", "imagebuilder", "imagebuilder-distro", "firmware")
"""Those of every project."""
PLAIN = re.compile(r"[A-Za-z0-9._+/-]+")
"""Paths that a recipe can list: separated by spaces there, with a colon between parts."""


def project_problems(build: Build, series: Series, layers: Path) -> Iterator[Problem]:
    """All of them; `layers` is the folder with the static layers."""
    machine = yocto_machine(build, series)
    yield from part_problems(build, series)
    yield from _license_problems(build, machine)
    yield from _fragment_problems(build, machine, layers)
    yield from startup_problems(build)
    if build.manifest.kernel.command_line and build.machine.flash is not None:
        what = f"the boot loader of {build.machine.name} takes no words from the manifest"
        hint = "set them in a layer of your own (yocto.layers), as the machine's BSP has it"
        yield build.manifest.problem(("kernel", "command_line"), what, hint)


def part_problems(build: Build, series: Series) -> Iterator[Problem]:
    """Those of a part for a product, whose machine, licences and kernel are its own."""
    yield from _series_problems(build, series, yocto_machine(build, series))
    yield from _layer_problems(build, series)
    yield from _file_problems(build)
    yield from operators_problems(build)


def _series_problems(build: Build, series: Series, machine: YoctoMachine) -> Iterator[Problem]:
    problem, name = build.manifest.problem, build.machine.name
    if machine.series and series.release not in machine.series:
        what = f"{name} cannot be built with {series.release}"
        yield problem(("yocto", "series"), what, f"it can with: {', '.join(machine.series)}")
    for layer in series.missing(machine.layers):
        what = f"{name} needs the layer {layer}, of which there is none for {series.name}"
        yield problem(
            ("machine",), what, "choose another series, or add it to a series of your own"
        )


def _license_problems(build: Build, machine: YoctoMachine) -> Iterator[Problem]:
    for name in machine.licenses:
        if name not in build.manifest.yocto.licenses:
            what = f"{build.machine.name} needs {name} to be accepted"
            hint = f"read that licence; if you accept it: yocto: {{licenses: [{name}]}}"
            yield build.manifest.problem(("yocto", "licenses"), what, hint)


def _layer_problems(build: Build, series: Series) -> Iterator[Problem]:
    seen = {*STATIC_LAYERS, "meta-firmware", *_series_layers(series, yocto_machine(build, series))}
    collections = set(COLLECTIONS)
    for index, path in enumerate(build.manifest.yocto.layers):
        key: Key = ("yocto", "layers", index, "path")
        name = path.resolve().name
        if not PLAIN.fullmatch(name):
            hint = "use letters, digits and . _ + - only"
            yield build.manifest.problem(key, f"{name}: BitBake cannot name this folder", hint)
        elif name in seen:
            yield build.manifest.problem(key, f"there is already a layer {name} in the project")
        seen.add(name)
        try:
            text = (path / "conf" / "layer.conf").read_text("utf-8", "replace")
        except OSError:
            what = f"{path} is not a layer: it has no conf/layer.conf"
            yield build.manifest.problem(key, what)
            continue
        if series.release not in _words(text, r"LAYERSERIES_COMPAT_\S+"):
            what = f"the layer {name} does not say that it is for {series.release}"
            hint = "use its branch for that series, or another yocto.series"
            yield build.manifest.problem(key, what, hint)
        own = set(_words(text, "BBFILE_COLLECTIONS"))
        for collection in sorted(own & collections):
            what = f"the layer {name} has the collection {collection}, which another one has too"
            yield build.manifest.problem(key, what)
        collections |= own


def _series_layers(series: Series, machine: YoctoMachine) -> Iterator[str]:
    """The folders of the layers that the project takes from the series."""
    known = [name for name in machine.layers if not series.missing((name,))]
    for repository in series.selected(known):
        for path in repository.layers:
            yield repository.name if path == "." else path.rpartition("/")[2]


def _words(text: str, variable: str) -> list[str]:
    found = re.findall(rf'^\s*{variable}\s*\S?\S?=\s*"([^"]*)"', text, re.M)
    return " ".join(found).split()


def _file_problems(build: Build) -> Iterator[Problem]:
    image = build.manifest.image
    names: list[tuple[Key, str]] = []
    for index, file in enumerate(image.files):
        names.append((("image", "files", index, "source"), own_name(build, file.source)))
        names.append((("image", "files", index, "path"), file.path))
    names += [(("image", "services", i), path.name) for i, path in enumerate(image.services)]
    for key, text in names:
        if not PLAIN.fullmatch(text):
            what = f"{text}: a recipe cannot name this path"
            yield build.manifest.problem(key, what, "use letters, digits and . _ + / - only")


def own_name(build: Build, path: Path) -> str:
    """A file of the user's own, relative to the manifest's folder."""
    return path.resolve().relative_to(build.manifest.folder.resolve()).as_posix()


def _fragment_problems(build: Build, machine: YoctoMachine, layers: Path) -> Iterator[Problem]:
    folder = layers / STATIC_LAYERS[0] / "kernel-features"
    for feature in machine.features:
        if not (folder / f"{feature}.cfg").is_file():
            what = f"{build.machine.name} wants the kernel feature {feature}, which does not exist"
            names = ", ".join(sorted(path.stem for path in folder.glob("*.cfg")))
            yield build.machine.file.problem(("yocto", "features"), what, f"there are: {names}")
    seen = {f"{feature}.cfg" for feature in kernel_features(build, machine)}
    for index, path in enumerate(build.manifest.kernel.fragments):
        key: Key = ("kernel", "fragments", index)
        if path.suffix != ".cfg" or not PLAIN.fullmatch(path.name):
            yield build.manifest.problem(key, f"{path.name}: a fragment is called NAME.cfg")
        elif path.name in seen:
            yield build.manifest.problem(key, f"there is already a fragment {path.name}")
        seen.add(path.name)
        yield from _symbol_problems(build, key, path)


def _symbol_problems(build: Build, key: Key, path: Path) -> Iterator[Problem]:
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or re.fullmatch(r"CONFIG_\w+=.+|#.*", text):
            continue
        what = f"{path.name}:{number}: {text[:60]!r} is not CONFIG_NAME=VALUE"
        yield build.manifest.problem(key, what)
