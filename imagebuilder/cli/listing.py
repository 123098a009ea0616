"""`imagebuilder list`: what exists."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.catalog import KINDS, Catalog
from imagebuilder.cli.app import App
from imagebuilder.units import show_size


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Look also in this manifest's search folders, by default those of ./firmware.yaml.",
)
@click.pass_obj
def command(app: App, kind: str, manifest: Path | None) -> None:
    """Show all machines, models, runtimes or series."""
    here = Path("firmware.yaml")
    path = manifest or (here if here.is_file() else None)
    catalog = app.catalog(app.manifest(path) if path else None)
    rows = {"machines": machine_table, "models": _models, "runtimes": _runtimes, "series": _series}[
        kind
    ](catalog)
    app.log.table(*rows)


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def machine_table(catalog: Catalog) -> Table:
    """A row for each machine; how far it was proved stands below the series' names."""
    machines = [catalog.machine(name) for name in catalog.names("machines")]
    series = catalog.names("series")
    rows: list[tuple[str, ...]] = [
        (
            machine.name,
            machine.arch,
            show_size(machine.memory),
            ", ".join(e for e in ("debian", "yocto") if getattr(machine, e) is not None),
            *(machine.status.get(name, "") for name in series),
            machine.description,
        )
        for machine in machines
    ]
    return ("machine", "architecture", "memory", "engines", *series, "description"), rows


def _models(catalog: Catalog) -> Table:
    sources = [catalog.bundle_source(name) for name in catalog.names("models")]
    rows: list[tuple[str, ...]] = [
        (source.name, source.version, source.task, source.license_code, str(source.folder))
        for source in sources
    ]
    return ("model", "version", "task", "licence", "folder"), rows


def _runtimes(catalog: Catalog) -> Table:
    runtimes = [catalog.runtime(name) for name in catalog.names("runtimes")]
    rows: list[tuple[str, ...]] = [
        (
            runtime.name,
            ", ".join(runtime.formats),
            ", ".join(f"{arch} {target.version}" for arch, target in runtime.targets.items()),
            runtime.description,
        )
        for runtime in runtimes
    ]
    return ("runtime", "formats", "versions", "description"), rows


def _series(catalog: Catalog) -> Table:
    series = [catalog.series(name) for name in catalog.names("series")]
    rows: list[tuple[str, ...]] = [
        (item.name, item.repositories["bitbake"].branch, ", ".join(item.layers), item.description)
        for item in series
    ]
    return ("series", "bitbake", "layers", "description"), rows
