"""A build that is killed at any moment: the next one succeeds, with the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.state import default_cache

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("IMAGEBUILDER_KILLS", "4"))
"""Nightly: 50."""

pytestmark = pytest.mark.network


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """No finished step but what is shared: downloads, tools, bundles and compiler output."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for part in ("downloads", "tools", "bundles", "models", "zig"):
        (default_cache().root / part).mkdir(parents=True, exist_ok=True)
        (folder / part).symlink_to(default_cache().root / part)
    return folder


def start(project: Path, cache: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "imagebuilder", "build", project / "firmware.yaml", "--quiet"]
    environment = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def files(project: Path) -> object:
    return json.loads((project / "build" / "qemuarm64" / "artifacts.json").read_text())["files"]


def test_killed_builds_continue(tmp_path: Path, cache: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "examples" / "first" / "firmware.yaml", project)
    began = time.monotonic()
    assert start(project, cache).wait() == 0
    whole = time.monotonic() - began
    wanted = files(project)
    chance = random.Random(0)
    killed = 0
    for _ in range(10 * KILLS):
        if killed == KILLS:
            break
        # Half of them after the long first step, where most files are written.
        shutil.rmtree(project / "build", ignore_errors=True)
        for step in (cache / "steps").iterdir():
            # A hidden one may still be written by a child of the killed process.
            if step.name[0] == "." or (step / "inferd").exists():
                continue
            if chance.random() < 0.7:
                shutil.rmtree(step)
        with start(project, cache) as process:
            time.sleep(chance.uniform(0.2, min(whole, 4.0)))
            killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
    assert killed == KILLS
    assert start(project, cache).wait() == 0
    assert files(project) == wanted
    left = [*(cache / "steps").glob(".*"), *(project / "build" / "qemuarm64").glob(".*")]
    assert left == [], "what killed builds left is removed by the next"
