"""The tests of machines: prepared one after another, run side by side."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import FILE_NAME, Artifacts, testable
from imagebuilder.catalog import shipped
from imagebuilder.cli.app import App
from imagebuilder.cli.pipeline import Asked, build_image
from imagebuilder.engines.locking import emulator, emulator_role, lock_packages, tool_set
from imagebuilder.errors import UserError
from imagebuilder.fetch.debian import Archive
from imagebuilder.hosttools import unpack_tools
from imagebuilder.report import MachineResult, read_junit
from imagebuilder.resolve import Build, server_memory
from imagebuilder.run import Job, run_all
from imagebuilder.state import sha256_file
from imagebuilder.target.board import Address, Board
from imagebuilder.target.qemu import GDB_TIMEOUT, Guest
from imagebuilder.target.qemuboot import read_qemuboot, with_qemuboot
from imagebuilder.testing.session import Session, write_session

TIMEOUT = 900.0
"""Seconds for all tests of one machine."""
LONG_TIMEOUT = 2400.0
"""The same with faults, which take many boots, and where a language model is among the models: a
token takes seconds on a busy host."""
OVERHEAD = 256 << 20
"""Bytes of memory that QEMU and pytest take beside the guest's."""


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


def prepare(app: App, asked: Asked, way: Way, *, locked: bool, output: Path | None) -> Prepared:
    """Build the image of a machine and say how it is booted; raises as `build` does."""
    app.log.info(f"== {asked.machine.name} ({asked.engine})")
    build, artifacts, archive = build_image(app, asked, locked=locked, output=output)
    session = _session(app, (build, artifacts, archive), way)
    result = MachineResult(
        machine=asked.machine.name,
        engine=artifacts.engine,
        variant=session.artifacts.variant,
        boot="-" if way.address else way.boot,
        models=tuple(model.name for model in session.models),
        target=str(way.address or "QEMU"),
        image=sha256_file(session.artifacts.folder / FILE_NAME),
        cpu="" if isinstance(session.system, Board) else session.guest.qemu.cpu,
        digests={model.name: model.digest for model in session.models},
    )
    return Prepared(asked, session, result, way.faults)


def _session(app: App, built: tuple[Build, Artifacts, Archive], way: Way) -> Session:
    build, artifacts, archive = built
    if way.address is None:
        found = make_session(app, build, testable(artifacts), archive, way.boot, key=way.key)
        system: Guest | Board = dataclasses.replace(found.guest, gdb=way.gdb)
    else:
        assert way.key is not None
        system = Board(way.address, artifacts, way.key, artifacts.folder)
    kept = system.artifacts.folder / "kept.txt" if way.keep else None
    return Session(system, app.fetcher.cache, _budgets(build), way.only, kept)


def _budgets(build: Build) -> dict[str, int]:
    servers = {model.runtime.server for model in build.models}
    return {server: server_memory(build.models, server) for server in sorted(servers)}


def jobs_that_fit(prepared: Sequence[Prepared]) -> int:
    """How many of the machines can run at once on this host."""
    systems = [item.session.system for item in prepared]
    largest = max((s.qemu.memory for s in systems if isinstance(s, Guest)), default=0) + OVERHEAD
    return max(1, min(len(os.sched_getaffinity(0)), available_memory() // largest))


def available_memory() -> int:
    """Bytes that new processes can have; without /proc, those of one machine."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next(int(s.split()[1]) << 10 for s in lines if s.startswith("MemAvailable:"))


def run_suite(
    app: App, prepared: Sequence[Prepared], at_once: int
) -> list[tuple[MachineResult, Path]]:
    """Test the machines; the result of each, and the folder of its console."""
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
    limit = LONG_TIMEOUT if item.faults or system.artifacts.text_listen else TIMEOUT
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
    return Session(guest, app.fetcher.cache, _budgets(build))
