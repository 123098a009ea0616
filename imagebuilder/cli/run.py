"""`imagebuilder run`: boot the image, console here."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import click

from imagebuilder.cli.app import App, machine_option, manifest_argument
from imagebuilder.cli.build import engine_option, locked_option, output_option
from imagebuilder.cli.debugger import gdb_words
from imagebuilder.cli.machines import make_bootable
from imagebuilder.cli.pipeline import ask
from imagebuilder.cli.test import boot_option
from imagebuilder.errors import UserError
from imagebuilder.run import run_here
from imagebuilder.state import scratch_folder
from imagebuilder.target.backlog import widen_backlog
from imagebuilder.target.command import Channels, Forward, qemu_command
from imagebuilder.target.ports import HeldPorts, choose_ports
from imagebuilder.target.qemu import SOCKETS, Guest, copy_vars


@click.command()
@manifest_argument
@machine_option
@engine_option
@locked_option
@boot_option
@click.option("--port", "ports", metavar="HOST:GUEST", multiple=True,
              help="Forward a port; by default a free one to the API, and to ssh if there is any."
              )  # fmt: skip
@click.option("--gdb", is_flag=True, help="Wait before the kernel's first instruction for gdb.")
@output_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one for each option
    context: click.Context,
    manifest: Path,
    machine: str | None,
    engine: str,
    locked: bool,
    boot: str,
    ports: tuple[str, ...],
    gdb: bool,
    output: Path | None,
) -> None:
    """Boot the image of MANIFEST with its console on this terminal; Ctrl-A X or Ctrl-C ends it."""
    app: App = context.obj
    asked = ask(app, manifest, machine, engine)
    with HeldPorts() as held:
        forwards = tuple(parse_forward(text, held) for text in ports)
        made = make_bootable(app, asked, boot, locked=locked, output=output, tested=False)
        guest = made.guest
        forwards = forwards or choose_ports(guest.artifacts, held).forwards
        for forward in forwards:
            app.log.info(f"127.0.0.1:{forward.host} leads to port {forward.guest} of the target")
        if not forwards:
            app.log.info("the server listens on the target's loopback only: nothing is forwarded")
        if gdb:
            guest = dataclasses.replace(guest, gdb=held.free())
            app.log.print(gdb_words(asked.machine, guest.artifacts, guest.gdb or 0))
        context.exit(_run(guest, forwards))


def parse_forward(text: str, held: HeldPorts) -> Forward:
    """`8080:80` as ports; `UserError` if it is none or the host's port is taken."""
    host, _, guest = text.partition(":")
    if not (host.isdecimal() and guest.isdecimal()) or not all(
        1 <= int(port) <= 65535 for port in (host, guest)
    ):
        raise UserError(f"--port {text}: not HOST:GUEST with ports from 1 to 65535")
    try:
        return Forward(held.hold(int(host)), int(guest))
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(
            f"--port {text}: port {host} of this host {why}", hint="name another"
        ) from error


def _run(guest: Guest, forwards: tuple[Forward, ...]) -> int:
    with scratch_folder(SOCKETS) as folder:
        channels = Channels(forwards, vars=copy_vars(guest, folder), gdb=guest.gdb)
        words = qemu_command(guest.artifacts, guest.qemu, guest.tools, guest.boot, channels)
        ports = [forward.host for forward in forwards]
        return run_here(
            [*words, *(("-S",) if guest.gdb else ())], lambda pid: widen_backlog(pid, ports)
        )
