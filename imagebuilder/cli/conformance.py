"""`imagebuilder conformance`: the operator models on the machine of an image."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from imagebuilder.cli.app import App
from imagebuilder.cli.machines import Bootable, Images, images_options, jobs_that_fit
from imagebuilder.cli.pipeline import Asked, save_lock
from imagebuilder.conformance.outcome import (
    FAILED,
    REFERENCE,
    STATUSES,
    Column,
    Outcome,
    Table,
    beside,
    failures,
    read_table,
    worse,
)
from imagebuilder.engines.locking import TOOLS_SUITE, Request, lock_packages, tool_set
from imagebuilder.errors import EXIT_FAILED, UserError
from imagebuilder.hosttools import IMAGE_TOOLS, fetch_all, host_arch, unpack_tools
from imagebuilder.log import Task
from imagebuilder.run import run
from imagebuilder.state import new_folder

if TYPE_CHECKING:
    from imagebuilder.conformance.cases import Case

TABLE, PAGE = "conformance.json", "conformance.md"
ROLE, PACKAGE = "operators", "libonnx-testdata"


@click.command()
@images_options
@click.option("--only", metavar="PATTERN", multiple=True,
              help="Only models whose name fits, such as 'conv_*'; may be repeated.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N",
              help="Only N of the models, evenly spread.")  # fmt: skip
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help=f"A {TABLE}: fail only for models that passed there.")  # fmt: skip
@click.option("--reference", is_flag=True,
              help="Also run the models by ONNX Runtime's Python package on this host, and fail "
              "only for those that do not fail there.")  # fmt: skip
@click.pass_context
def command(
    context: click.Context,
    images: Images,
    only: tuple[str, ...],
    sample: int | None,
    baseline: Path | None,
    reference: bool,
) -> None:
    """Run ONNX's operator models on the image of MANIFEST in QEMU, in one boot a machine.

    Writes conformance.json and conformance.md; fails if a model gives a wrong output, an error or
    a crash.
    """
    app: App = context.obj
    before = None if baseline is None else read_table(baseline)
    asked = images.ask(app)
    prepared = [_prepare(app, item, images) for item in asked]
    table = _run(app, prepared, choose(_models(prepared[0]), only, sample), reference)
    _report(app, table, images.folder(asked[0]))
    context.exit(EXIT_FAILED if _bad(app, table, before, reference) else 0)


def _bad(app: App, table: Table, before: Table | None, reference: bool) -> bool:
    """Whether the command fails; prints what is worse than it has to be compared with."""
    if before is not None:
        label, lines = "WORSE", worse(table, before)
    elif reference:
        label, lines = "ONLY THERE", beside(table, REFERENCE)
    else:
        return any(table.count(column.name, FAILED) for column in table.columns)
    for line in lines:
        app.log.print(f"{label} {line}")
    return bool(lines)


def _prepare(app: App, asked: Asked, images: Images) -> Bootable:
    """A machine whose lock has the operator models too."""
    made = images.make(app, asked)
    requests = (Request("", "image", TOOLS_SUITE, host_arch(), IMAGE_TOOLS),
                Request("", ROLE, TOOLS_SUITE, host_arch(), (PACKAGE,), closure=False))  # fmt: skip
    lock = lock_packages(made.build, requests, made.archive, update=False, strict=images.locked)
    build = dataclasses.replace(made.build, lock=lock)
    if not images.locked:
        save_lock(build)
    return dataclasses.replace(made, build=build)


def _column(made: Bootable) -> Column:
    machine, qemu = made.build.machine, made.guest.qemu
    runtimes = {f"{m.runtime.name} {m.target.version}": None for m in made.build.models}
    return Column(machine.name, f"{machine.arch}, QEMU {qemu.cpu}", ", ".join(runtimes))


def _run(app: App, prepared: Sequence[Bootable], paths: Sequence[Path], reference: bool) -> Table:
    """The table of all machines, as many at a time as the host can run."""
    from imagebuilder.conformance.bundles import write_bundles
    from imagebuilder.conformance.cases import read_case
    from imagebuilder.conformance.device import outcomes, pack

    first = prepared[0]
    package = tool_set(first.build, ROLE).packages[0]
    with TemporaryDirectory(prefix="ib-operators-") as name, app.log.task("pack models"):
        folder, disk = Path(name) / "bundles", Path(name) / "operators.img"
        cases = [read_case(path) for path in paths]
        bundles = write_bundles(cases, folder)
        tools = unpack_tools(tool_set(first.build, "image"), first.archive, app.fetcher.cache)
        pack(folder, tools, disk)
        with app.log.task("operator models", len(bundles) * len(prepared)) as task:
            done = partial(Task.advance, task)
            ask_guest = partial(outcomes, disk=disk, bundles=bundles, cases=cases, done=done)
            guests = [item.guest for item in prepared]
            with ThreadPoolExecutor(jobs_that_fit(guests)) as pool:
                found = list(pool.map(ask_guest, guests))
    columns = tuple(map(_column, prepared))
    if reference:
        columns, found = _with_reference(app, cases, columns, found)
    return Table.join(f"{package.name} {package.version}", cases, columns, found)


def _with_reference(
    app: App,
    cases: Sequence[Case],
    columns: tuple[Column, ...],
    found: list[dict[str, Outcome]],
) -> tuple[tuple[Column, ...], list[dict[str, Outcome]]]:
    from imagebuilder.conformance.reference import reference_column, reference_outcomes

    with app.log.task("the same models by ONNX Runtime's Python package"):
        return (*columns, reference_column()), [*found, reference_outcomes(cases)]


def _models(prepared: Bootable) -> list[Path]:
    """All operator models, of the locked package."""
    from imagebuilder.conformance.cases import find_models

    packages = tool_set(prepared.build, ROLE)
    root = prepared.archive.fetcher.cache.root / ROLE / packages.packages[0].sha256
    if not root.is_dir():
        (file,) = fetch_all(packages, prepared.archive)
        with new_folder(root) as folder:
            run(["dpkg-deb", "-x", file, folder])
    return find_models(root)


def choose(paths: Sequence[Path], only: Sequence[str], sample: int | None) -> list[Path]:
    """The models that fit one of the patterns, evenly spread; `UserError` if none does."""
    from imagebuilder.conformance.cases import model_name, spread

    fit = [p for p in paths if not only or any(fnmatch.fnmatch(model_name(p), o) for o in only)]
    if not fit:
        raise UserError(f"no operator model fits {' or '.join(only)}")
    return spread(fit, sample)


def _report(app: App, table: Table, folder: Path) -> None:
    from imagebuilder.conformance.outcome import write_table
    from imagebuilder.conformance.page import markdown

    write_table(table, folder / TABLE)
    (folder / PAGE).write_text(markdown(table), "utf-8")
    rows = [(c.name, c.cpu, c.runtime, *(str(table.count(c.name, s)) for s in STATUSES))
            for c in table.columns]  # fmt: skip
    app.log.table(("machine", "core", "runtime", *STATUSES), rows)
    for column in table.columns:
        for reason, names in failures(table, column.name).items():
            app.log.print(f"{column.name}: FAILED {', '.join(names)}: {reason}")
    app.log.print(f"{table.data}; tables: {folder / TABLE}, {folder / PAGE}")
