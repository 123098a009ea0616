"""`imagebuilder build`: the image."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.artifact import Artifacts
from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.pipeline import ask, build_image
from imagebuilder.engines import ENGINES
from imagebuilder.units import show_size

engine_option = click.option(
    "--engine", type=click.Choice(tuple(ENGINES)), default="debian", show_default=True,
    help="What builds the image.",
)  # fmt: skip
locked_option = click.option(
    "--locked", is_flag=True, help="Use exactly what the lock pins, or fail."
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Folder for the artifacts, by default build/ beside the manifest.",
)  # fmt: skip


@click.command()
@manifest_argument
@machine_option
@engine_option
@locked_option
@output_option
@click.pass_obj
def command(
    app: App, manifest: Path, machine: str | None, engine: str, locked: bool, output: Path | None
) -> None:
    """Build the image of MANIFEST: disk, kernel, package list and artifacts.json."""
    asked = ask(app, manifest, machine, engine)
    _, artifacts, _ = build_image(app, asked, locked=locked, output=output)
    show(app, artifacts)


def show(app: App, artifacts: Artifacts) -> None:
    """A table of what was built."""
    rows = [(file.kind, file.file, show_size(file.size), file.sha256[:16])
            for file in artifacts.files]  # fmt: skip
    app.log.table(("artifact", "file", "size", "SHA-256"), rows)
    app.log.info(f"{artifacts.name} {artifacts.version} for {artifacts.machine}, "
                 f"engine {artifacts.engine}, variant {artifacts.variant}, in {artifacts.folder}"
                 )  # fmt: skip
