"""`imagebuilder export`: schemas of the file formats."""

from __future__ import annotations

import json

import click

from imagebuilder.cli.app import App
from imagebuilder.yamlfile import read_schema

SCHEMAS = ("manifest", "machine", "runtime", "series", "bundle-source", "bundle", "lock")


@click.group()
def command() -> None:
    """Write out what other programs can use."""


@command.command()
@click.argument("name", type=click.Choice(SCHEMAS))
@click.pass_obj
def schema(app: App, name: str) -> None:
    """Print the JSON Schema of a file format, for editors and checkers."""
    app.log.print(json.dumps(read_schema(name), indent=2))
