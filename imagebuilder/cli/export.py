"""`imagebuilder export`: schemas of the file formats, and what a site without network needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option, locked_option
from imagebuilder.yamlfile import read_schema

SCHEMAS = ("manifest", "machine", "runtime", "series", "bundle-source", "bundle", "lock", "parity")


@click.group()
def command() -> None:
    """Write out what other programs can use."""


@command.command(short_help="Print the JSON Schema of a file format.")
@click.argument("name", type=click.Choice(SCHEMAS))
@click.pass_obj
def schema(app: App, name: str) -> None:
    """Print the JSON Schema of a file format, for editors and checkers."""
    app.log.print(json.dumps(read_schema(name), indent=2))


@command.command(short_help="Fetch all that a site without network needs to build.")
@manifest_argument
@machine_option
@locked_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder for the mirror, by default build/MACHINE-yocto/mirror.",
)
@click.pass_obj
def mirror(
    app: App, manifest: Path, machine: str | None, locked: bool, output: Path | None
) -> None:
    """Fetch all that a site without network needs to build MANIFEST with the engine yocto."""
    from imagebuilder.cli.generate import decide_layers
    from imagebuilder.cli.pipeline import ask, output_folder, save_lock
    from imagebuilder.engines.yocto.mirror import export_mirror

    asked = ask(app, manifest, machine, "yocto")
    build = decide_layers(app, asked, locked=locked)
    folder = output or output_folder(asked, None) / "mirror"
    export_mirror(build, folder, app.fetcher, app.log)
    if not locked:
        save_lock(build)
    app.log.info(f"{folder}: how to use it is in its README.md")


@command.command(short_help="Pack lock, SBOM, reports and digests of a built image.")
@manifest_argument
@machine_option
@engine_option
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign the archive with the Ed25519 private key of this PEM file.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The archive, by default build/MACHINE/evidence.tar.",
)
@click.pass_obj
def evidence(
    app: App,
    manifest: Path,
    machine: str | None,
    engine: str,
    sign: Path | None,
    output: Path | None,
) -> None:
    """Pack lock, SBOM, reports and digests of the built image of MANIFEST into one archive.

    `imagebuilder inspect --verify` checks it, anywhere and without a network.
    """
    from imagebuilder.bundle.signer import read_file_key
    from imagebuilder.cli.evidence import collect
    from imagebuilder.cli.pipeline import ask, output_folder
    from imagebuilder.state import write_if_changed

    signer = None if sign is None else read_file_key(sign)
    asked = ask(app, manifest, machine, engine)
    folder = output_folder(asked, None)
    found = collect(app, asked, folder)
    path = output or folder / "evidence.tar"
    name = f"{asked.manifest.name}-{asked.manifest.version}-{asked.machine.name}"
    write_if_changed(path, found.pack(name, signer))
    app.log.info(f"{path}: {len(found.files)} files")
