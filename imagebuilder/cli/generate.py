"""`imagebuilder generate`: the plain kas project."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import locked_option
from imagebuilder.cli.pipeline import (
    Asked,
    Problems,
    ask,
    output_folder,
    resolve,
    save_lock,
    seal_models,
)
from imagebuilder.engines.yocto.pins import lock_layers
from imagebuilder.engines.yocto.steps import PROJECT, ingredients
from imagebuilder.errors import Problem
from imagebuilder.kasproject.folder import repository_prefix, write_project
from imagebuilder.kasproject.problems import part_problems
from imagebuilder.kasproject.project import fragment_files, project_files
from imagebuilder.lock import lock_path, read_lock
from imagebuilder.resolve import Build


@click.command()
@manifest_argument
@machine_option
@locked_option
@click.option(
    "--fragment",
    is_flag=True,
    help="Write a kas include for a product that has its own distro and image.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder for the project, by default build/MACHINE-yocto/project.",
)
@click.pass_obj
def command(
    app: App, manifest: Path, machine: str | None, locked: bool, fragment: bool, output: Path | None
) -> None:
    """Write the kas project of MANIFEST; only files whose contents changed are touched."""
    asked = ask(app, manifest, machine, "yocto")
    build = decide_layers(app, asked, locked=locked, problems=_part if fragment else None)
    folder = output or output_folder(asked, None) / ("fragment" if fragment else PROJECT)
    if fragment:
        files = fragment_files(ingredients(build, repository_prefix(folder)))
    else:
        files = project_files(ingredients(build))
    result = write_project(files, folder)
    if not locked:
        save_lock(build)
    removed = f", {len(result.removed)} removed" if result.removed else ""
    app.log.info(f"{folder}: {len(files)} files, {len(result.written)} written{removed}")


def _part(build: Build) -> Iterator[Problem]:
    assert build.series is not None
    return part_problems(build, build.series)


def decide_layers(
    app: App, asked: Asked, *, locked: bool, problems: Problems | None = None
) -> Build:
    """Seal the bundles, resolve, and pin the layers; needs no package archive."""
    lock = read_lock(lock_path(asked.manifest.file.path))
    build = resolve(asked, seal_models(app, asked, lock, locked=locked), lock, problems)
    layers = lock_layers(build, update=False, strict=locked)
    return dataclasses.replace(build, lock=dataclasses.replace(build.lock, layers=layers))
