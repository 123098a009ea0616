"""How much counted figures differ from run to run: `python benchmarks/counts.py FOLDER --runs 20`.

FOLDER is the output folder of a machine that `imagebuilder test` has tested. The peer is the time
that QEMU's guest measures without counting, taken in the same runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from imagebuilder import device
from imagebuilder.target.qemu import Guest, booted
from imagebuilder.testing.counting import RUNS, count
from imagebuilder.testing.session import read_session


def main() -> None:
    """Print the spread of each figure, counted and timed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    guest = read_session(options.folder / "session.json").guest
    with tempfile.TemporaryDirectory() as folder:
        guest = dataclasses.replace(guest, log_folder=Path(folder))
        rows: list[Mapping[str, float]] = []
        for number in range(options.runs):
            found = {k: v for k, v in count(guest).items() if isinstance(v, int)}
            rows.append({**found, **timed(guest)})
            print(f"run {number + 1} of {options.runs}", flush=True)
    print(f"{'figure':32} {'median':>16} {'min':>16} {'max':>16} {'spread':>9}")
    for name in sorted(rows[0]):
        values = [row[name] for row in rows]
        middle = statistics.median(values)
        spread = 100 * (max(values) - min(values)) / middle
        print(f"{name:32} {middle:16,.0f} {min(values):16,.0f} {max(values):16,.0f} {spread:8.2f}%")


def timed(guest: Guest) -> dict[str, float]:
    """The peer: nanoseconds that the guest measures when its clock is the host's."""
    with booted(guest) as target:
        boot = target.console.stages["ready"]
        words = f"{device.SERVER_PATH} bench --runs {RUNS}"
        done = target.run(f"su -s /bin/sh {device.SERVER_USER} -c '{words}'", 300)
        found = {"timed.boot_ns": boot * 1e9}
        for report in json.loads(done.stdout)["models"]:
            found[f"timed.{report['name']}.inference_ns"] = report["median_ms"] * 1e6
            found[f"timed.{report['name']}.session_ns"] = report["load_ms"] * 1e6
        return found


if __name__ == "__main__":
    main()
