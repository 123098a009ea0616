"""A file system that is really full: a small one, mounted in a namespace of the test's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTER = ["unshare", "-Urm", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
WRITE = """
import json, subprocess, sys
from pathlib import Path
from imagebuilder.errors import UserError
from imagebuilder.kasproject.folder import write_project
small = Path.cwd()
files = {"kas.yml": b"k" * 9000, "layers/a.tar": b"a" * 90000}
said = []
for size in ("64k", "1m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", small], check=True)
    try:
        said.append(list(write_project(files, small / "project").written))
    except UserError as error:
        said.append(str(error))
left = sorted(p.name for p in small.rglob("*"))
print(json.dumps([said, left]))
"""
BUILD = """
import io
from pathlib import Path
from imagebuilder.engines.yocto.bitbake import Job, run_kas
from imagebuilder.errors import UserError
from imagebuilder.log import NORMAL, Log
folder = Path.cwd()
environment = {"DL_DIR": str(folder / "d"), "SSTATE_DIR": str(folder / "s")}
try:
    run_kas(Job(folder, folder / "kas.log", None, environment), Log(NORMAL, io.StringIO()))
except UserError as error:
    print(error)
"""


def in_small_disk(folder: Path, code: str, **environment: str) -> str:
    """What Python code prints whose working folder is a file system of 64 KiB."""
    if subprocess.run([*ENTER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    words = [
        *ENTER,
        MOUNT,
        "sh",
        folder,
        sys.executable,
        "-c",
        f"import os; os.chdir({str(folder)!r})\n{code}",
    ]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_project_is_finished_once_there_is_room(tmp_path: Path) -> None:
    said, left = json.loads(in_small_disk(tmp_path, WRITE))
    assert said == [
        f"cannot write file {tmp_path}/project/layers/a.tar: No space left on device\n"
        "  hint: free some space, or name another folder: the cache's is IMAGEBUILDER_CACHE, "
        "the artifacts' --output",
        ["layers/a.tar"],
    ]
    assert left == ["a.tar", "kas.yml", "layers", "project", "project.json"]


def test_a_build_whose_log_has_no_room(tmp_path: Path) -> None:
    package = tmp_path / "fake" / "kas"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("for n in range(20000): print('NOTE: much to say', n)\n")
    small = tmp_path / "small"
    small.mkdir()
    said = in_small_disk(small, BUILD, PYTHONPATH=f"{package.parent}:{ROOT}")
    assert said == (
        f"cannot write log {small}/kas.log: No space left on device\n"
        "  hint: free some space, or name another folder: the cache's is IMAGEBUILDER_CACHE, "
        "the artifacts' --output\n"
    )
