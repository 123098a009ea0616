"""`imagebuilder validate`: all problems of a manifest at once."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.bundle.store import find_bundle
from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option
from imagebuilder.cli.pipeline import Asked, ask, early_problems, gathered, resolve
from imagebuilder.errors import UserError
from imagebuilder.lock import Lock, lock_path, read_lock


@click.command()
@manifest_argument
@machine_option
@engine_option
@click.pass_obj
def command(app: App, manifest: Path, machine: str | None, engine: str) -> None:
    """Check MANIFEST and all that it names; exit code 2 if something is wrong.

    Whether the models fit the machine is checked too where the lock names their sealed bundles.
    """
    asked = ask(app, manifest, machine, engine)
    problems = list(early_problems(asked))
    bundles = _sealed(app, asked)
    complete = len(bundles) == len(asked.sources)
    if complete:
        with gathered(problems, asked.manifest, ("models",)):
            resolve(asked, bundles, Lock())
    if problems:
        raise UserError(*dict.fromkeys(problems))
    if complete:
        app.log.info(f"{asked.manifest.file.path}: good, and it fits {asked.machine.name}")
    else:
        app.log.info(f"{asked.manifest.file.path}: good; whether the models fit is known after "
                     "`imagebuilder lock`")  # fmt: skip


def _sealed(app: App, asked: Asked) -> list[SealedBundle]:
    pins = read_lock(lock_path(asked.manifest.file.path)).models
    found = []
    for source in asked.sources:
        pin = pins.get(source.name)
        if pin is None or pin.version != source.version:
            continue
        places = (asked.sealed, app.fetcher.cache)
        bundle = find_bundle(source.name, pin.bundle, places, verify=False)
        if bundle is not None:
            found.append(bundle)
    return found
