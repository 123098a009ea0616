"""`imagebuilder test`: boot the image and test it."""

from __future__ import annotations

import dataclasses
import fnmatch
import sys
from pathlib import Path

import click

from imagebuilder.artifact import Artifacts, testable
from imagebuilder.catalog import shipped
from imagebuilder.cli.app import App, manifest_argument
from imagebuilder.cli.baseline import Counting
from imagebuilder.cli.build import engine_option, locked_option, output_option
from imagebuilder.cli.pipeline import Asked, ask, build_image, output_folder
from imagebuilder.engines.locking import emulator, emulator_role, lock_packages, tool_set
from imagebuilder.errors import EXIT_FAILED, BuildError, UserError
from imagebuilder.fetch.debian import Archive
from imagebuilder.hosttools import unpack_tools
from imagebuilder.report import (
    SUMMARY_HEADER,
    MachineResult,
    merge_junit,
    read_junit,
    summary_rows,
    write_json,
)
from imagebuilder.report.page import write_pages
from imagebuilder.resolve import Build, server_memory
from imagebuilder.run import run
from imagebuilder.target.qemu import Guest
from imagebuilder.target.qemuboot import read_qemuboot, with_qemuboot
from imagebuilder.target.ssh import find_key
from imagebuilder.testing.session import Session, write_session

boot_option = click.option(
    "--boot", type=click.Choice(("direct", "disk")), default="direct", show_default=True,
    help="Let QEMU load the kernel, or the firmware boot the disk.",
)  # fmt: skip
TIMEOUT = 900.0
"""Seconds for all tests of one machine."""
TEXT_TIMEOUT = 2400.0
"""The same where a language model is among them: a token takes seconds on a busy host."""


@click.command()
@manifest_argument
@click.option("--machine", "machines", metavar="NAME", multiple=True,
              help="Machine instead of the manifest's; may be repeated, and may be a pattern "
              "such as 'qemu*'.")  # fmt: skip
@engine_option
@locked_option
@boot_option
@click.option("--ssh-key", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Private key to run commands on the target over ssh, by default "
              "the file beside an authorized key, without .pub, if there is one.")  # fmt: skip
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE",
              help="JUnit file, by default build/junit.xml.")  # fmt: skip
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Count instructions too, and fail where a figure is worse than in FILE.",
)
@click.option(
    "--write-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Count instructions too, and write the figures to FILE.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1000),
    metavar="PERCENT",
    help="Growth of instructions that --baseline allows, by default 1 for inference, 3 "
    "for loading a model and for boot.",
)
@output_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one for each option
    context: click.Context,
    manifest: Path,
    machines: tuple[str, ...],
    engine: str,
    locked: bool,
    boot: str,
    ssh_key: Path | None,
    junit: Path | None,
    baseline: Path | None,
    write_baseline: Path | None,
    threshold: float | None,
    output: Path | None,
) -> None:
    """Build the image of MANIFEST, boot it in QEMU, and run the tests against it."""
    app: App = context.obj
    asked = [
        ask(app, manifest, name, engine) for name in _machines(app, manifest, machines, engine)
    ]
    counting = Counting(baseline, write_baseline, threshold)
    counting.check(tuple(item.machine.name for item in asked))
    folder = output_folder(asked[0], output).parent
    key = find_key(asked[0].manifest.image.authorized_keys, ssh_key)
    tested = [
        _test(app, item, boot, locked=locked, output=output, key=key, counting=counting)
        for item in asked
    ]
    results = [result for result, _ in tested]
    counting.save(results)
    junit = junit or folder / "junit.xml"
    merge_junit([(result, place / "junit.xml") for result, place in tested], junit)
    firmware = asked[0].manifest
    write_pages(tested, f"{firmware.name} {firmware.version}", folder)
    write_json(results, folder / "results.json")
    app.log.table(SUMMARY_HEADER, summary_rows(results))
    for result in results:
        for failure in result.failures:
            app.log.print(f"{result.machine}: FAILED {failure}")
        for regression in result.regressions:
            app.log.print(f"{result.machine}: WORSE {regression}")
        if result.error:
            app.log.print(f"{result.machine}: {result.error}")
    first = results[0]
    app.log.print(
        f"engine {first.engine}, variant {first.variant}, QEMU; reports: {junit}, "
        f"{folder / 'report.html'}\n"
        "Times are emulated: they compare builds, they are not a board's."
    )
    context.exit(0 if all(result.good for result in results) else EXIT_FAILED)


def _machines(app: App, manifest: Path, asked: tuple[str, ...], engine: str) -> list[str | None]:
    """The names asked for, patterns resolved to machines that QEMU and the engine have."""
    if not asked:
        return [None]
    catalog = app.catalog(app.manifest(manifest))
    names: list[str | None] = []
    for pattern in asked:
        if not any(char in pattern for char in "*?["):
            names.append(pattern)
            continue
        near = map(catalog.machine, fnmatch.filter(catalog.names("machines"), pattern))
        found = [m.name for m in near if m.qemu and getattr(m, engine) is not None]
        if not found:
            raise UserError(f"no machine fits {pattern!r}")
        names += found
    return list(dict.fromkeys(names))


def _test(
    app: App,
    asked: Asked,
    boot: str,
    *,
    locked: bool,
    output: Path | None,
    key: Path | None,
    counting: Counting,
) -> tuple[MachineResult, Path]:
    app.log.info(f"== {asked.machine.name} ({asked.engine})")
    build, artifacts, archive = build_image(app, asked, locked=locked, output=output)
    artifacts = testable(artifacts)
    base = MachineResult(
        machine=asked.machine.name,
        engine=artifacts.engine,
        variant=artifacts.variant,
        boot=boot,
        models=tuple(model.name for model in artifacts.models),
    )
    session = make_session(app, build, artifacts, archive, boot, key=key)
    path = artifacts.folder / "session.json"
    write_session(session, path)
    try:
        result = _pytest(app, build, artifacts, path, base)
        result = counting.complete(app, session.guest, result)
    except BuildError as error:
        result = dataclasses.replace(base, error=error.what)
    return result, artifacts.folder


def make_session(
    app: App,
    build: Build,
    artifacts: Artifacts,
    archive: Archive,
    boot: str,
    *,
    key: Path | None = None,
) -> Session:
    """What to boot, and the key for commands over ssh; fetches QEMU if it is not there yet."""
    qemu = build.machine.qemu
    if qemu is None:
        raise UserError(f"QEMU has no stand-in for {build.machine.name}")
    if boot == "disk" and qemu.firmware_code is None:
        raise UserError(f"{build.machine.name} does not boot by itself", hint="use --boot direct")
    lock = lock_packages(build, emulator(build), archive, update=False, strict=False)
    build = dataclasses.replace(build, lock=lock)
    tools = unpack_tools(tool_set(build, emulator_role(build)), archive, app.fetcher.cache)
    if artifacts.has("qemuboot"):
        qemu = with_qemuboot(qemu, read_qemuboot(artifacts.path("qemuboot").read_text("utf-8")))
    guest = Guest(artifacts, qemu, tools, boot, artifacts.folder, key)
    budgets = {m.runtime.server: server_memory(build.models, m.runtime.server)
               for m in build.models}  # fmt: skip
    return Session(guest, app.fetcher.cache, budgets)


def _pytest(
    app: App, build: Build, artifacts: Artifacts, session: Path, base: MachineResult
) -> MachineResult:
    tests = shipped("qemu-tests")
    junit = artifacts.folder / "junit.xml"
    junit.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "pytest", "-p", "imagebuilder.testing.plugin",
        # Loaded by name, once; testinfra's own plugin would give its `host` the place of ours.
        "-p", "no:imagebuilder", "-p", "no:pytest11.testinfra",
        "-c", str(tests / "pytest.ini"), "--rootdir", str(tests),
        f"--imagebuilder-session={session}", f"--junitxml={junit}",
        "-o", "junit_family=xunit1", str(tests), *map(str, build.manifest.tests),
    ]  # fmt: skip
    log = artifacts.folder / "tests.log"
    with app.log.task(f"test {base.machine}"):
        done = run(command, env={"PYTHONDONTWRITEBYTECODE": "1"}, log=log, check=False,
                   timeout=TEXT_TIMEOUT if artifacts.text_listen else TIMEOUT)  # fmt: skip
    if not junit.is_file():
        raise BuildError(f"pytest ended with exit code {done.exit_code}, see {log}")
    result = read_junit(junit, base)
    if not result.good:
        app.log.error(done.stdout.decode("utf-8", "replace")[-6000:])
        app.log.error(f"console: {artifacts.folder / 'console.log'}, tests: {log}")
    return result
