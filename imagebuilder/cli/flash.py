"""`imagebuilder flash`: write the image to a device."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from imagebuilder.artifact import Artifacts, read_artifacts
from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option, output_option
from imagebuilder.cli.pipeline import ask, output_folder
from imagebuilder.errors import BuildError, UserError
from imagebuilder.flash import device_problems, flash_commands
from imagebuilder.run import run_here


@click.command()
@manifest_argument
@machine_option
@engine_option
@output_option
@click.option("--device", type=click.Path(path_type=Path), metavar="PATH",
              help="Block device to write to, such as /dev/sdX.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only print the commands.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(
    app: App,
    manifest: Path,
    machine: str | None,
    engine: str,
    output: Path | None,
    device: Path | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Write the image of MANIFEST, as it was built, to a device; all data there is lost."""
    asked = ask(app, manifest, machine, engine)
    method = asked.machine.flash
    if method is None:
        what = f"{asked.machine.name} is not flashed: its file has no `flash`"
        raise UserError(what, hint="`imagebuilder run` boots it in QEMU; --machine names a board")
    artifacts = read_artifacts(output_folder(asked, output))
    commands = flash_commands(method, artifacts, device)
    for words in commands:
        app.log.print(shlex.join(words))
    if dry_run:
        return
    if device is not None:
        _check(device, artifacts)
        if not yes:
            click.confirm(f"overwrite all of {device}?", abort=True)
    for words in commands:
        if code := run_here(words):
            raise BuildError(f"{words[0]} ended with exit code {code}")


def _check(device: Path, artifacts: Artifacts) -> None:
    needs = next((file.size for file in artifacts.files if file.kind == "disk"), 0)
    mounts = Path("/proc/self/mounts").read_text("utf-8", "replace")
    if problems := tuple(device_problems(device, needs, mounts)):
        raise UserError(*problems)
