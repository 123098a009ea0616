"""`imagebuilder test`: boot the image and test it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from imagebuilder.cli.app import App
from imagebuilder.cli.baseline import Counting, counting_options
from imagebuilder.cli.debugger import gdb_words
from imagebuilder.cli.machines import Images, images_options
from imagebuilder.cli.pipeline import Asked
from imagebuilder.cli.suite import Way, prepare, run_suite
from imagebuilder.errors import EXIT_FAILED, UserError
from imagebuilder.manifest import Manifest
from imagebuilder.report import (
    SUMMARY_HEADER,
    MachineResult,
    merge_junit,
    summary_rows,
    times_note,
    write_json,
)
from imagebuilder.report.page import write_pages
from imagebuilder.target.board import read_address
from imagebuilder.target.ports import HeldPorts
from imagebuilder.target.ssh import find_key

boot_option = click.option(
    "--boot", type=click.Choice(("direct", "disk")), default="direct", show_default=True,
    help="Let QEMU load the kernel, or the firmware boot the disk.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    images: Images
    counting: Counting
    boot: str
    ssh_key: Path | None
    junit: Path | None
    jobs: int | None
    address: str | None
    only: tuple[str, ...]
    faults: bool
    keep: bool
    gdb: bool

    def check(self) -> None:
        """`UserError` for options that do not go together."""
        emulated = (self.counting.asked, self.keep, self.gdb, self.boot != "direct")
        if self.address is not None and any(emulated):
            raise UserError("a board is tested as it runs: without --baseline, --write-baseline, "
                            "--keep, --gdb and --boot")  # fmt: skip

    def check_machines(self, asked: Sequence[Asked]) -> None:
        """`UserError` for options that do not go with these machines, or their models."""
        if len(asked) > 1 and (self.address or self.keep or self.gdb):
            raise UserError("--target, --keep and --gdb are for one machine")
        self.counting.check(tuple(item.machine.name for item in asked))
        check_models(asked[0].manifest, self.only)

    def way(self, asked: Asked, held: HeldPorts) -> Way:
        """How the tests are run; `UserError` for an address or a key that cannot be used."""
        address = None if self.address is None else read_address(self.address)
        key = find_key(asked.manifest.image.authorized_keys, self.ssh_key)
        if address is not None and key is None:
            raise UserError(f"--target {self.address} needs a private key",
                            hint="name its public key in the manifest: image.ssh.authorized_keys"
                            )  # fmt: skip
        gdb = held.free() if self.gdb else None
        return Way(self.boot, key, address, self.only, self.keep, gdb, self.faults)


@click.command()
@images_options
@boot_option
@click.option("--ssh-key", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Private key to run commands on the target over ssh, by default "
              "the file beside an authorized key, without .pub, if there is one.")  # fmt: skip
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE",
              help="JUnit file, by default build/junit.xml.")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(1, 64), metavar="N",
              help="Machines tested at the same time, by default as many as processors and free "
              "memory allow.")  # fmt: skip
@counting_options
@click.option("--target", "address", metavar="ssh://USER@HOST:PORT",
              help="Test a board that runs the image, in place of QEMU.")  # fmt: skip
@click.option("--model", "only", metavar="NAME", multiple=True,
              help="Test this model only; may be repeated.")  # fmt: skip
@click.option("--faults", is_flag=True, help="Also break disk, server, clock, network and memory.")
@click.option("--keep", is_flag=True, help="Leave the guest on, and say how to reach it.")
@click.option("--gdb", is_flag=True, help="Wait before the kernel's first instruction for gdb.")
@click.pass_context
def command(context: click.Context, /, **values: Any) -> None:
    """Build the image of MANIFEST, boot it in QEMU, and run the tests against it."""
    options = Options(**values)
    with HeldPorts() as held:
        results = test(context.obj, options, held)
    context.exit(0 if all(result.good for result in results) else EXIT_FAILED)


def test(app: App, options: Options, held: HeldPorts) -> list[MachineResult]:
    """Build, boot and test all machines, and write the reports; the result of each."""
    options.check()
    images, counting = options.images, options.counting
    asked = images.ask(app)
    options.check_machines(asked)
    way = options.way(asked[0], held)
    prepared = [prepare(app, images, item, way) for item in asked]
    if way.gdb is not None:
        app.log.print(gdb_words(asked[0].machine, prepared[0].session.artifacts, way.gdb))
    tested = [
        (counting.complete(app, item.session, result), place)
        for item, (result, place) in zip(
            prepared, run_suite(app, prepared, options.jobs), strict=True
        )
    ]
    results = [result for result, _ in tested]
    counting.save(results)
    firmware = asked[0].manifest
    title = f"{firmware.name} {firmware.version}"
    _report(app, tested, title, images.folder(asked[0]), options.junit)
    for item in prepared:
        if item.session.keep is not None and item.session.keep.is_file():
            app.log.print(item.session.keep.read_text("utf-8"))
    return results


def _report(
    app: App,
    tested: Sequence[tuple[MachineResult, Path]],
    title: str,
    folder: Path,
    junit: Path | None,
) -> None:
    """Write the reports into `folder`, JUnit's where it was asked for, and show the results."""
    results = [result for result, _ in tested]
    junit = junit or folder / "junit.xml"
    merge_junit([(result, place / "junit.xml") for result, place in tested], junit)
    write_pages(tested, title, folder)
    write_json(results, folder / "results.json")
    app.log.table(SUMMARY_HEADER, summary_rows(results))
    for result in results:
        for why, tests in result.reasons.items():
            app.log.print(f"{result.machine}: FAILED {tests}{': ' if why else ''}{why}")
        for regression in result.regressions:
            app.log.print(f"{result.machine}: WORSE {regression}")
        if result.error:
            app.log.print(f"{result.machine}: {result.error}")
    first = results[0]
    app.log.print(
        f"engine {first.engine}, variant {first.variant}, {first.target}; reports: {junit}, "
        f"{folder / 'report.html'}\n{times_note(results)}"
    )


def check_models(manifest: Manifest, only: tuple[str, ...]) -> None:
    """`UserError` for a name that is none of the manifest's models."""
    have = [model.bundle for model in manifest.models]
    for name in only:
        if name not in have:
            raise UserError(f"--model {name}: the manifest has {', '.join(have)}")
