"""The tests of machines: prepared one after another, run side by side."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import FILE_NAME
from imagebuilder.catalog import shipped
from imagebuilder.cli.app import App
from imagebuilder.cli.machines import Images, jobs_that_fit
from imagebuilder.cli.pipeline import Asked, build_image
from imagebuilder.report import MachineResult, read_junit
from imagebuilder.resolve import Build, server_memory
from imagebuilder.run import Job, run_all
from imagebuilder.state import sha256_file
from imagebuilder.target.board import Address, Board
from imagebuilder.target.qemu import GDB_TIMEOUT, Guest
from imagebuilder.testing.session import Session, write_session

TIMEOUT = 900.0
"""Seconds for all tests of one machine with one model."""
MODEL_TIMEOUT = 300.0
"""As many more for each further model: a network for images takes seconds a sample, emulated."""
LONG_TIMEOUT = 2400.0
"""The same with faults, which take many boots, and where a language model is among the models: a
token takes seconds on a busy host."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A machine with its image built, ready to be tested; `result` is still empty."""

    asked: Asked
    session: Session
    result: MachineResult
    faults: bool = False

    @property
    def folder(self) -> Path:
        """Where the image lies, and the reports of its tests go."""
        return self.session.artifacts.folder


@dataclass(frozen=True, slots=True)
class Way:
    """How tests are run: `boot` as in `Guest`, or a board at `address`; the others as in `Session`.

    `key` is a private key for ssh, `gdb` a port of this host for a debugger; `faults` adds the
    tests of faults.
    """

    boot: str
    key: Path | None = None
    address: Address | None = None
    only: tuple[str, ...] = ()
    keep: bool = False
    gdb: int | None = None
    faults: bool = False


def prepare(app: App, images: Images, asked: Asked, way: Way) -> Prepared:
    """Build the image of a machine and say how it is booted; raises as `build` does."""
    app.log.info(f"== {asked.machine.name} ({asked.engine})")
    if way.address is None:
        made = images.make(app, asked, way.boot)
        build = made.build
        system: Guest | Board = dataclasses.replace(made.guest, ssh_key=way.key, gdb=way.gdb)
    else:
        assert way.key is not None
        build, artifacts, _ = build_image(app, asked, locked=images.locked, output=images.output)
        system = Board(way.address, artifacts, way.key, artifacts.folder)
    kept = system.artifacts.folder / "kept.txt" if way.keep else None
    session = Session(system, app.fetcher.cache, _budgets(build), way.only, kept)
    result = MachineResult(
        machine=asked.machine.name,
        engine=system.artifacts.engine,
        variant=system.artifacts.variant,
        boot="-" if way.address else way.boot,
        models=tuple(model.name for model in session.models),
        target=str(way.address or "QEMU"),
        image=sha256_file(system.artifacts.folder / FILE_NAME),
        cpu="" if isinstance(system, Board) else system.qemu.cpu,
        digests={model.name: model.digest for model in session.models},
    )
    return Prepared(asked, session, result, way.faults)


def _budgets(build: Build) -> dict[str, int]:
    servers = {model.runtime.server for model in build.models}
    return {server: server_memory(build.models, server) for server in sorted(servers)}


def run_suite(
    app: App, prepared: Sequence[Prepared], at_once: int | None
) -> list[tuple[MachineResult, Path]]:
    """Test the machines, by default as many at once as fit; results and folders of consoles."""
    systems = [item.session.system for item in prepared]
    at_once = at_once or jobs_that_fit([s for s in systems if isinstance(s, Guest)])
    jobs = [_job(item) for item in prepared]
    names = [item.result.machine for item in prepared]
    with app.log.task(f"test {', '.join(names)}") as task:

        def ended(number: int) -> None:
            app.log.info(f"tested {names[number]}")
            app.log.update(task)

        codes = run_all(jobs, at_once, {"PYTHONDONTWRITEBYTECODE": "1"}, ended)
    return [
        (_result(app, item, job, code), item.folder)
        for item, job, code in zip(prepared, jobs, codes, strict=True)
    ]


def time_limit(models: int, *, long: bool) -> float:
    """Seconds that the tests of a machine with so many models may take."""
    return (LONG_TIMEOUT if long else TIMEOUT) + MODEL_TIMEOUT * max(0, models - 1)


def _job(item: Prepared) -> Job:
    tests, folder = shipped("qemu-tests"), item.folder
    path, junit = folder / "session.json", folder / "junit.xml"
    write_session(item.session, path)
    if item.session.keep is not None:
        item.session.keep.unlink(missing_ok=True)
    junit.unlink(missing_ok=True)
    command = (
        sys.executable, "-m", "pytest", "-p", "imagebuilder.testing.plugin",
        # Loaded by name, once; testinfra's own plugin would give its `host` the place of ours.
        "-p", "no:imagebuilder", "-p", "no:pytest11.testinfra",
        "-c", str(tests / "pytest.ini"), "--rootdir", str(tests),
        f"--imagebuilder-session={path}", f"--junitxml={junit}",
        "-o", "junit_family=xunit1", *map(str, sorted(tests.glob("test_*.py"))),
        *map(str, item.asked.manifest.tests), *((str(tests / "faults"),) if item.faults else ()),
    )  # fmt: skip
    system = item.session.system
    long = item.faults or bool(system.artifacts.text_listen)
    limit = time_limit(len(item.result.models), long=long)
    if isinstance(system, Guest) and system.gdb is not None:
        limit = GDB_TIMEOUT
    return Job(command, folder / "tests.log", limit)


def _result(app: App, item: Prepared, job: Job, code: int | None) -> MachineResult:
    junit = item.folder / "junit.xml"
    if code is None or not junit.is_file():
        ended = f"did not end within {job.timeout:g} s" if code is None else (
            f"ended with exit code {code}, see {job.log}")  # fmt: skip
        return dataclasses.replace(item.result, error=f"pytest {ended}")
    result = read_junit(junit, item.result)
    if not result.good:
        app.log.error(job.log.read_text("utf-8", "replace")[-6000:])
        app.log.error(f"console: {item.folder / 'console.log'}, tests: {job.log}")
    return result
