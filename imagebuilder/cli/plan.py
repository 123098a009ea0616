"""`imagebuilder plan`: the steps of a build."""

from __future__ import annotations

import json
from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option, output_option
from imagebuilder.cli.pipeline import ask, decide, make_plan, output_folder
from imagebuilder.executor import Status, inspect_plan
from imagebuilder.plan import keys


@click.command()
@manifest_argument
@machine_option
@engine_option
@output_option
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.pass_obj
def command(
    app: App,
    manifest: Path,
    machine: str | None,
    engine: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show the steps of a build, which results are there, and why others are not."""
    asked = ask(app, manifest, machine, engine)
    build, _ = decide(app, asked)
    steps = inspect_plan(make_plan(build), app.fetcher.cache, output_folder(asked, output))
    if as_json:
        app.log.print(json.dumps([_data(status, steps) for status in steps], indent=2))
        return
    rows = [(s.step.name, s.fingerprint[:16], ", ".join(s.step.after), _state(s)) for s in steps]
    app.log.table(("step", "fingerprint", "reads", "state"), rows)


def _state(status: Status) -> str:
    if status.reused:
        return "there"
    return "changed: " + ", ".join(status.changed) if status.changed else "to do"


def _data(status: Status, steps: tuple[Status, ...]) -> dict[str, object]:
    prints = {other.step.name: other.fingerprint for other in steps}
    return {
        "name": status.step.name,
        "action": status.step.action,
        "options": dict(status.step.options),
        "after": status.step.after,
        "fingerprint": status.fingerprint,
        "keys": keys(status.step, prints),
        "reused": status.reused,
    }
