"""`imagebuilder lock`: pins."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option
from imagebuilder.cli.pipeline import ask, decide, save_lock
from imagebuilder.errors import BuildError
from imagebuilder.lock import lock_path, read_lock


@click.command()
@manifest_argument
@machine_option
@engine_option
@click.option("--check", is_flag=True, help="Only tell whether the lock fits; exit code 1 if not.")
@click.option("--update", is_flag=True, help="Renew all pins.")
@click.pass_obj
def command(
    app: App, manifest: Path, machine: str | None, engine: str, check: bool, update: bool
) -> None:
    """Pin packages, models and data of MANIFEST in the .lock beside it."""
    if check and update:
        raise click.UsageError("--check and --update exclude each other")
    asked = ask(app, manifest, machine, engine)
    build, _ = decide(app, asked, update=update)
    path = lock_path(asked.manifest.file.path)
    if check:
        if read_lock(path) != build.lock:
            raise BuildError(f"{path}: does not fit the manifest", hint="run `imagebuilder lock`")
        app.log.info(f"{path}: fits")
    elif save_lock(build):
        app.log.info(f"wrote {path}")
    else:
        app.log.info(f"{path}: unchanged")
