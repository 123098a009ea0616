"""`imagebuilder lock`: pins."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option
from imagebuilder.cli.pipeline import ask, decide, save_lock
from imagebuilder.errors import BuildError
from imagebuilder.lock import LockUnfit, lock_path


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
    path = lock_path(asked.manifest.file.path)
    if check:
        if not path.is_file():
            raise BuildError(f"there is no {path}", hint="`imagebuilder lock` writes it")
        try:
            decide(app, asked, locked=True)
        except LockUnfit as error:
            reasons = [str(problem) for problem in error.problems]
            raise BuildError(f"{path}: does not fit the manifest", details=reasons) from error
        app.log.info(f"{path}: fits")
        return
    build, _ = decide(app, asked, update=update)
    if save_lock(build):
        app.log.info(f"wrote {path}")
    else:
        app.log.info(f"{path}: unchanged")
