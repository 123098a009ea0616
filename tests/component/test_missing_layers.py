"""kas itself, given mirrors that lack what a project needs."""

import io
import subprocess
from pathlib import Path

import pytest

from imagebuilder.engines.yocto.bitbake import Job, run_kas, shared_folders
from imagebuilder.errors import BuildError
from imagebuilder.log import NORMAL, Log
from imagebuilder.state import Cache

pytest.importorskip("kas")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROJECT = f"""\
header: {{version: 14}}
machine: qemuarm64
repos:
  firmware: {{path: .}}
  bitbake:
    url: https://layers.example/bitbake
    branch: "2.18"
    commit: {COMMIT}
    path: sources/bitbake
    layers: {{.: disabled}}
"""
HINT = (
    "  hint: check the network, or that the mirror which KAS_PREMIRRORS names has the layer with "
    "the pinned commit"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "kas.yml").write_text(PROJECT)
    return folder


def error(project: Path, mirror: Path) -> str:
    premirrors = rf"^https://layers\.example/bitbake$ file://{mirror}"
    environment = {
        **shared_folders(Cache(project.parent / "cache")), "KAS_PREMIRRORS": premirrors
    }  # fmt: skip
    with pytest.raises(BuildError) as caught:
        run_kas(
            Job(project, project.parent / "kas.log", None, environment), Log(NORMAL, io.StringIO())
        )
    return str(caught.value)


def test_a_mirror_that_is_not_there(tmp_path: Path, project: Path) -> None:
    lines = error(project, tmp_path / "nowhere.git").splitlines()
    assert lines[0] == "kas could not fetch the layers"
    assert lines[2] == f"    fatal: '{tmp_path}/nowhere.git' does not appear to be a git repository"
    assert lines[-2:] == [f"  log: {tmp_path}/kas.log", HINT]


def test_a_mirror_without_the_commit(tmp_path: Path, project: Path) -> None:
    mirror = tmp_path / "mirror"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "-C", mirror]
    subprocess.run(["git", "init", "-q", "-b", "2.18", mirror], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another"], check=True)
    found = error(project, mirror)
    assert found.startswith("kas could not fetch the layers\n")
    assert f"{COMMIT}^{{commit}}" in found
    assert found.endswith(f"\n{HINT}")
