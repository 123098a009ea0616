"""Alarms of `test --baseline`: `python benchmarks/alarms.py FOLDER --runs 100 --planted 20`.

Every run is a boot of its own. The unchanged image is compared with its first run; beside it the
same image with an inferd that spends PERCENT more instructions in each inference, put there by a
loop in a copy of its source. FOLDER keeps both images and `runs.jsonl`, a line a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
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


def main() -> None:
    """Count the alarms of unchanged and of slowed images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--percent", type=float, default=2.0)
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    unchanged = image(folder / "unchanged", ROOT)
    baseline = count(unchanged)
    more = int(baseline[FIGURE]) * options.percent / 100 / INSTRUCTIONS
    slowed = image(folder / "slowed", slow_tree(folder / "tree", round(more)))
    with (folder / "runs.jsonl").open("a") as log:
        false = [alarms(unchanged, baseline, log, "unchanged") for _ in range(options.runs)]
        found = [alarms(slowed, baseline, log, "slowed") for _ in range(options.planted)]
    print(f"unchanged: alarms in {sum(map(bool, false))} of {len(false)} runs")
    print(f"slowed: {FIGURE} reported in {sum(FIGURE in f for f in found)} of {len(found)} runs")


def alarms(guest: Guest, baseline: Mapping[str, int | str], log: object, kind: str) -> set[str]:
    """The figures of one run that are worse than the baseline's."""
    figures = count(guest)
    worse = {change.name for change in compare(baseline, figures) if change.worse}
    line = {"kind": kind, "worse": sorted(worse), "figures": figures, "baseline": dict(baseline)}
    print(json.dumps(line), file=log, flush=True)  # type: ignore[call-overload]
    print(f"{kind}: {figures[FIGURE]:,} {sorted(worse)}", flush=True)
    return worse


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
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "firmware.yaml").write_text(MANIFEST, "utf-8")
    words = [sys.executable, "-m", "imagebuilder", "test", folder / "firmware.yaml"]
    subprocess.run(words, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(tree)})
    guest = read_session(folder / "build" / "qemuarm64" / "session.json").guest
    return dataclasses.replace(guest, log_folder=folder / "counted")


if __name__ == "__main__":
    main()
