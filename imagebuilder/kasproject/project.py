"""The files of a kas project for a build. Pure, but for reading what it copies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.bundle.reader import read_files
from imagebuilder.catalog.series import Series
from imagebuilder.devicefiles import (
    SERVER,
    TEXT_SERVER,
    device_nodes,
    image_info,
    json_text,
    server_config,
    serves,
    text_config,
)
from imagebuilder.kasproject import names
from imagebuilder.kasproject.kernel import kernel_files
from imagebuilder.kasproject.operators import operators_file
from imagebuilder.kasproject.problems import own_name
from imagebuilder.kasproject.settings import fragment_settings, settings, yocto_machine
from imagebuilder.kasproject.sources import (
    STATIC_LAYERS,
    digest,
    folder_files,
    server_files,
    server_version,
)
from imagebuilder.kasproject.startup import FOLDER, StartupFile, startup_files
from imagebuilder.kasproject.tarball import tarball
from imagebuilder.resolve import Build, BuildModel
from imagebuilder.templates import render

LAYER = "layers/meta-firmware"
KAS_FILE = "kas.yml"


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a project is made from besides the build: folders of the static layers and of inferd.

    `prefix` is where a fragment lies in the product's repository: empty, or ends with a slash.
    """

    build: Build
    series: Series
    layers: Path
    inferd: Path
    prefix: str = ""


def project_files(ingredients: Ingredients) -> dict[str, bytes]:
    """Relative path → contents of a project that builds by itself."""
    texts = {KAS_FILE: "kas.yml", "README.md": "project-readme.md"}
    kernel = kernel_files(ingredients.build, ingredients.series)
    return (
        _layers(ingredients, STATIC_LAYERS)
        | _below(LAYER, {path: text.encode() for path, text in kernel.items()})
        | _texts(ingredients, STATIC_LAYERS, texts)
    )


def fragment_files(ingredients: Ingredients) -> dict[str, bytes]:
    """The same for a product that keeps its own distro, BSP, kernel and image."""
    texts = {"imagebuilder.yml": "fragment.yml", "README.md": "fragment-readme.md"}
    static = STATIC_LAYERS[:1]
    return _layers(ingredients, static) | _texts(ingredients, static, texts)


def _texts(
    ingredients: Ingredients, static: tuple[str, ...], texts: Mapping[str, str]
) -> dict[str, bytes]:
    values = _values(ingredients, static)
    return {path: render(f"yocto/{name}", **values).encode() for path, name in texts.items()}


def _layers(ingredients: Ingredients, static: tuple[str, ...]) -> dict[str, bytes]:
    build = ingredients.build
    files: dict[str, bytes] = {}
    for name in static:
        files |= _below(f"layers/{name}", folder_files(ingredients.layers / name))
    for layer in build.manifest.yocto.layers:
        files |= _below(f"layers/{layer.resolve().name}", folder_files(layer.resolve()))
    firmware = {"conf/layer.conf": render("yocto/layer.conf", series=ingredients.series.release)}
    startup = startup_files(build) if static == STATIC_LAYERS else ()
    firmware |= _config(build, startup)
    files |= _below(LAYER, {path: text.encode() for path, text in firmware.items()})
    files |= _below(LAYER, _own_files(build, units=not startup))
    files |= _below(LAYER, dict([_server(ingredients)]))
    files |= _below(f"{LAYER}/sources", operators_file(build))
    for model in build.models:
        files |= _below(LAYER, _bundle(model, build.trust is not None))
    return files


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": data for path, data in files.items()}


def _server(ingredients: Ingredients) -> tuple[str, bytes]:
    files = server_files(ingredients.inferd)
    top = f"inferd-{server_version(files)}"
    return f"sources/{top}.tar", tarball(top, files)


def _bundle(model: BuildModel, signed: bool) -> dict[str, bytes]:
    description = model.bundle.description
    recipe, version = names.bundle_recipe(description.name), description.version
    top = f"{recipe}-{names.recipe_version(version)}"
    text = render(
        "yocto/model-bundle.bb",
        license=names.license_expression(description.license),
        sha256=model.bundle.digest.removeprefix("sha256:"),
    )
    folder = f"recipes-models/{recipe}"
    files = read_files(model.bundle, signed=signed)
    return {
        f"{folder}/{recipe}_{names.recipe_version(version)}.bb": text.encode(),
        f"{folder}/files/{top}.tar": tarball(top, files),
    }


def library_paths(build: Build) -> dict[str, str]:
    """What inferd calls a runtime → path of its library on the device."""
    return {
        m.runtime.backend: m.target.yocto_library or ""
        for m in build.models
        if m.runtime.server == SERVER
    }


def _config(build: Build, startup: tuple[StartupFile, ...]) -> dict[str, str]:
    """The recipe of the device's configuration with the files that imagebuilder writes."""
    image = build.manifest.image
    version = names.recipe_version(build.manifest.version)
    folder = "recipes-core/firmware-config"
    rows = [f"{own_name(build, file.source)}:{file.path}:{file.mode:04o}" for file in image.files]
    rows += [f"{FOLDER}/{file.name}:{file.path}:{file.mode:04o}" for file in startup]
    services = [] if startup else [path.name for path in image.services]
    keys = "".join(path.read_text("utf-8").rstrip("\n") + "\n" for path in image.authorized_keys)
    texts = {
        f"firmware-config_{version}.bb": render(
            "yocto/firmware-config.bb",
            files=rows,
            services=services,
            devices=device_nodes(build),
        ),
        **({"files/authorized_keys": keys} if keys else {}),
        **{f"files/{FOLDER}/{file.name}": file.text for file in startup},
    }
    if serves(build, SERVER):
        texts["files/inferd.json"] = json_text(server_config(build, library_paths(build)))
    if serves(build, TEXT_SERVER):
        texts["files/llama-server.conf"] = text_config(build)
    # The image's own list of what is in it: another model changes no recipe but its own.
    info = {"sources/image.json": json_text(image_info(build))}
    return info | {f"{folder}/{name}": text for name, text in texts.items()}


def _own_files(build: Build, *, units: bool) -> dict[str, bytes]:
    image = build.manifest.image
    files = {own_name(build, file.source): file.source for file in image.files}
    files |= {path.name: path for path in image.services if units}
    folder = "recipes-core/firmware-config/files"
    return {f"{folder}/{name}": path.read_bytes() for name, path in files.items()}


def _values(ingredients: Ingredients, static: tuple[str, ...]) -> dict[str, Any]:
    build, series = ingredients.build, ingredients.series
    machine = yocto_machine(build, series)
    server_digest = hashlib.sha256(_server(ingredients)[1]).hexdigest()
    own = [layer.resolve().name for layer in build.manifest.yocto.layers]
    return {
        "name": build.manifest.name,
        "version": build.manifest.version,
        "machine": build.machine,
        "series": series.release,
        "prefix": ingredients.prefix,
        "repositories": series.selected(machine.layers),
        "own_layers": [f"layers/{name}" for name in (*static, "meta-firmware", *own)],
        "static_layers": {name: digest(folder_files(ingredients.layers / name)) for name in static},
        "models": [
            (m.request.bundle, m.bundle.description.version, m.bundle.digest, m.runtime.name)
            for m in build.models
        ],
        "servers": {m.runtime.server for m in build.models},
        "devices": device_nodes(build),
        "settings": settings(build, machine, server_digest),
        "fragment_settings": fragment_settings(build, server_digest),
    }
