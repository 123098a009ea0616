"""Operator models on a target: one boot, each model in a process of its own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebuilder import device
from imagebuilder.conformance.cases import Case
from imagebuilder.conformance.outcome import UNSUPPORTED, Outcome, of_report
from imagebuilder.engines.debian.disk import make_erofs
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.errors import BuildError
from imagebuilder.hosttools import Toolbox
from imagebuilder.target.command import ExtraDisk
from imagebuilder.target.qemu import Guest, Running, Start, booted

SERIAL = "operators"
"""Of the disk, by which the target finds it."""
PLACE = "/run/operators"
CONFIG = "/run/operators.json"
BATCH = 50
"""Models a command; a command's words have to fit a page of 128 KiB."""
SECONDS = 60
"""Most time of one model."""

MOUNT = f"""\
for serial in /sys/block/*/serial; do
    if [ "$(cat "$serial")" = {SERIAL} ]; then
        disk=${{serial%/serial}}
        mkdir -p {PLACE}
        mount -t erofs -o ro,nodev,nosuid,noexec "/dev/${{disk##*/}}" {PLACE}
        exit
    fi
done
echo 'the disk with the models is not there' >&2
exit 1
"""


def pack(folder: Path, tools: Toolbox, output: Path) -> None:
    """Write the bundles in a folder as a read-only file system."""
    tree = Tree()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            tree.file(str(path.relative_to(folder)), path.read_bytes())
    make_erofs(tools, tree, output, compress=False)


def outcomes(
    guest: Guest,
    *,
    disk: Path,
    bundles: Mapping[str, Case],
    cases: Sequence[Case],
    done: Callable[[int], None],
) -> dict[str, Outcome]:
    """Boot the image once with the disk of `bundles`; gives the outcome of each case by its name.

    `done` is told how many more models have ended. Raises `BuildError` when the target is gone, or
    its runtime cannot even be loaded.
    """
    found = {c.name: Outcome(UNSUPPORTED, c.unsupported) for c in cases if c.unsupported}
    # The image's own server may be one of those that crash here.
    start = Start(extra=ExtraDisk(disk, SERIAL), stage="services")
    with booted(guest, start) as target:
        for name, report in run_models(target, list(bundles), done):
            found[bundles[name].name] = of_report(report)
    return found


def run_models(
    target: Running, names: Sequence[str], done: Callable[[int], None]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Bundle name → its report of `inferd selftest --apart`, for bundles on the disk."""
    _ask(target, MOUNT, 30)
    runtimes = json.loads(_ask(target, f"cat {device.SERVER_CONFIG_PATH}", 30))["runtimes"]
    for begin in range(0, len(names), BATCH):
        batch = names[begin : begin + BATCH]
        for report in _run(target, runtimes, batch):
            yield report["bundle"].rpartition("/")[2], report
        done(len(batch))


def _run(target: Running, runtimes: Mapping[str, str], names: Sequence[str]) -> Any:
    models = [{"bundle": f"{PLACE}/{name}"} for name in names]
    config = json.dumps({"format": 1, "runtimes": runtimes, "models": models})
    words = f"{device.SERVER_PATH} selftest --apart {SECONDS} --config {CONFIG}"
    command = (
        f"printf %s {shlex.quote(config)} >{CONFIG}\n"
        f"su -s /bin/sh {device.SERVER_USER} -c 'export ORT_DISABLE_TELEMETRY=1; {words}'"
        f" 2>{CONFIG}.errors\ncode=$?\ntail -n 3 {CONFIG}.errors >&2\n[ $code -le 1 ]"
    )
    return json.loads(_ask(target, command, SECONDS * len(names)))["models"]


def _ask(target: Running, command: str, seconds: float) -> bytes:
    answer = target.run(command, seconds)
    if answer.exit_code != 0:
        what = answer.stderr.decode("utf-8", "replace").strip()
        raise BuildError(f"{target.guest.artifacts.machine}: {what}")
    return answer.stdout
