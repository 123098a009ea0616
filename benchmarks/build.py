"""How long `validate`, `build` and the way to the first inference take; see README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from imagebuilder.state import default_cache
from imagebuilder.target.api import request
from imagebuilder.target.qemu import booted
from imagebuilder.testing.golden import infer_request
from imagebuilder.testing.session import read_session

MANIFEST = """\
format: 1
name: bench
version: 0.1.0
machine: qemuarm64
models: [{bundle: digits}]
server: {listen: "0.0.0.0:8080"}
"""
WARM = ("downloads", "tools", "apt")


def main() -> None:
    """Measure all rows and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "firmware.yaml").write_text(MANIFEST)
        cache = warm_cache(folder)
        command(folder, cache, "test")
        empty = median(runs, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        show("validate", median(runs, lambda: command(folder, cache, "validate")), empty)
        show("build, nothing changed", median(runs, lambda: command(folder, cache, "build")), empty)
        boot = median(runs, lambda: first_inference(folder))
        print(f"{'boot to first inference':40} {boot:7.2f} s")
        for row, parts in (("bundles sealed", ()), ("bundles not sealed", ("models", "bundles"))):
            seconds = median(runs, lambda parts=parts: rebuild(folder, cache, parts))
            show(f"build, {row}", seconds, boot)
            show(f"first inference, {row}", seconds + boot, boot)


def warm_cache(folder: Path) -> Path:
    """A cache of its own that shares what is downloaded."""
    cache = folder / "cache"
    cache.mkdir()
    for part in WARM:
        (default_cache().root / part).mkdir(parents=True, exist_ok=True)
        (cache / part).symlink_to(default_cache().root / part)
    return cache


def command(folder: Path, cache: Path, verb: str) -> None:
    """Run one command line."""
    environment = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    words = [sys.executable, "-m", "imagebuilder", verb, str(folder / "firmware.yaml"), "-q"]
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)


def rebuild(folder: Path, cache: Path, parts: tuple[str, ...]) -> None:
    """Build with every step but the compiled server missing, and `parts` of the cache too."""
    for step in (cache / "steps").iterdir():
        if not (step / "inferd").exists():
            shutil.rmtree(step)
    for part in parts:
        shutil.rmtree(cache / part)
    command(folder, cache, "build")


def first_inference(folder: Path) -> None:
    """Boot the image and ask for one inference."""
    import numpy as np

    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    with booted(session.guest) as target:
        body = infer_request({"pixels": np.zeros((1, 64), np.float32)})
        answer = request(target, "POST", "/v2/models/digits/infer", body)
        assert answer.status == 200


def median(runs: int, action: Callable[[], object]) -> float:
    """Median seconds of some runs."""
    times = []
    for _ in range(runs):
        start = time.monotonic()
        action()
        times.append(time.monotonic() - start)
    return statistics.median(times)


def show(row: str, seconds: float, peer: float) -> None:
    """Print a row."""
    print(f"{row:40} {seconds:7.2f} s   {seconds / peer:6.1f} x peer")


if __name__ == "__main__":
    main()
