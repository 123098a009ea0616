"""`imagebuilder init`: a commented manifest to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from string import Template

import click

from imagebuilder.cli.app import App
from imagebuilder.errors import UserError
from imagebuilder.state import new_file

TEMPLATE = Template("""\
# The firmware: one device and its models.
# `imagebuilder validate` checks this file, `imagebuilder test` builds it, boots it and tests it.
format: 1
name: $name
version: 0.1.0

# `imagebuilder list machines` shows what there is; `--machine NAME` overrides this.
machine: $machine

# Folders with machines, models and runtimes of your own.
# search: [./machines, ./models]

# `imagebuilder list models` shows what there is.
models:
$models

server:
  # 127.0.0.1 keeps the API on the device; 0.0.0.0 opens it to the network.
  listen: "127.0.0.1:8080"
  # What clients must show: `device` has the device make a token at its first start.
  # token: device
  metrics: true

# image:
#   hostname: $name
#   ssh: {authorized_keys: [keys/me.pub]}
#   files: [{source: app/hello, path: /usr/bin/hello, mode: "0755"}]
#   services: [app/hello.service]
#   storage: {data: 32MiB}

# kernel: {command_line: [quiet], modules: []}

# Tests of your own (pytest), run against the booted image.
# tests: [tests/]
""")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--machine", metavar="NAME", default="qemuarm64", show_default=True, help="Machine.")
@click.option("--model", "models", metavar="NAME", multiple=True, help="Model; may be repeated.")
@click.pass_obj
def command(app: App, folder: Path, machine: str, models: tuple[str, ...]) -> None:
    """Write a commented firmware.yaml into FOLDER, by default here."""
    catalog = app.catalog()
    catalog.path("machines", machine)
    for model in models:
        catalog.path("models", model)
    path = folder / "firmware.yaml"
    if path.exists():
        raise UserError(f"{path} exists already", hint="remove it, or name another folder")
    text = TEMPLATE.substitute(
        name=firmware_name(folder.resolve().name),
        machine=machine,
        models="\n".join(f"  - bundle: {model}" for model in models or ("digits",)),
    )
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    app.log.info(f"wrote {path}; next: imagebuilder test {shlex.quote(str(path))}")


def firmware_name(folder: str) -> str:
    """A valid name made from a folder's."""
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in folder.lower())
    return kept.strip("-")[:63] or "firmware"
