"""Alarms of `test --baseline`: `python benchmarks/alarms.py FOLDER --runs 100 --planted 20`.

Every run is a boot of its own. The unchanged image is compared with its first run; beside it the
same image with an inferd that spends PERCENT more instructions in each inference, put there by a
loop in a copy of its source. FOLDER keeps both images and `runs.jsonl`, a line a run: started
again, with `--minutes` to end before all runs are done, it goes on from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from imagebuilder.report.baseline import compare
from imagebuilder.target.qemu import Guest
from imagebuilder.testing.counting import count
from imagebuilder.testing.session import read_session

ROOT = Path(__file__).parents[1]
PARTS = ("imagebuilder", "inferd", "machine-configs", "model-bundles", "qemu-tests", "layers")
SOURCE = Path("inferd/src/onnxruntime_backend.cpp")
PLACE = "Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) override {"
LOOP = "\n        for (volatile unsigned i = 0; i < {}U; i = i + 1) {{}}"
INSTRUCTIONS = 6
"""Of one turn of the loop on aarch64."""
MANIFEST = """\
format: 1
name: alarms
version: 0.1.0
machine: qemuarm64
models: [{bundle: digits}]
server: {listen: "0.0.0.0:8080"}
"""
FIGURE = "digits.inference"
UNCHANGED, SLOWED = "unchanged", "slowed"


def main() -> None:
    """Count the alarms of unchanged and of slowed images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--percent", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=math.inf)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    unchanged = image(folder / "unchanged", ROOT)
    baseline = first_run(folder / "baseline.json", unchanged)
    more = int(baseline[FIGURE]) * options.percent / 100 / INSTRUCTIONS
    slowed = image(folder / "slowed", slow_tree(folder / "tree", round(more)))
    log = folder / "runs.jsonl"
    for guest, kind, runs in ((unchanged, UNCHANGED, options.runs),
                              (slowed, SLOWED, options.planted)):  # fmt: skip
        while len(done(log, kind)) < runs and time.monotonic() < end:
            one_run(guest, baseline, log, kind)
    false, found = done(log, UNCHANGED), done(log, SLOWED)
    print(f"unchanged: alarms in {sum(map(bool, false))} of {len(false)} runs")
    print(f"slowed: {FIGURE} reported in {sum(FIGURE in f for f in found)} of {len(found)} runs")


def first_run(path: Path, guest: Guest) -> Mapping[str, int | str]:
    """The figures that all other runs are compared with."""
    if not path.exists():
        path.write_text(json.dumps(count(guest)), "utf-8")
    figures: Mapping[str, int | str] = json.loads(path.read_text("utf-8"))
    return figures


def one_run(guest: Guest, baseline: Mapping[str, int | str], log: Path, kind: str) -> None:
    """Boot once, and add a line with the figures that are worse than the baseline's."""
    figures = count(guest)
    worse = sorted(change.name for change in compare(baseline, figures) if change.worse)
    with log.open("a", encoding="utf-8") as stream:
        print(json.dumps({"kind": kind, "worse": worse, "figures": figures}), file=stream)
    print(f"{kind}: {figures[FIGURE]:,} {worse}", flush=True)


def done(log: Path, kind: str) -> list[list[str]]:
    """The alarms of each run so far."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return [run["worse"] for run in map(json.loads, lines) if run["kind"] == kind]


def slow_tree(folder: Path, turns: int) -> Path:
    """A copy of what a build reads, with the loop in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part)
    text = (folder / SOURCE).read_text("utf-8")
    if PLACE not in text:
        raise SystemExit(f"{SOURCE} has no {PLACE!r}")
    (folder / SOURCE).write_text(text.replace(PLACE, PLACE + LOOP.format(turns)), "utf-8")
    return folder


def image(folder: Path, tree: Path) -> Guest:
    """The image as the sources in `tree` build it, tested once."""
    session = folder / "build" / "qemuarm64" / "session.json"
    if not session.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "firmware.yaml").write_text(MANIFEST, "utf-8")
        words = [sys.executable, "-m", "imagebuilder", "test", folder / "firmware.yaml"]
        subprocess.run(words, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(tree)})
    guest = read_session(session).guest
    return dataclasses.replace(guest, log_folder=folder / "counted")


if __name__ == "__main__":
    main()
