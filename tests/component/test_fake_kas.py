"""Running kas: progress, failures, interruption, with a program of its name in its place."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.engines.yocto.bitbake import Job, offline_variables, run_kas, shared_folders
from imagebuilder.engines.yocto.mirror import fetch_sources
from imagebuilder.errors import BuildError
from imagebuilder.log import NORMAL, Log
from imagebuilder.state import Cache

GOOD = """\
import os, sys
print("NOTE: Running task 1 of 2 (/l/zlib_1.bb:do_fetch)", flush=True)
print(" ".join(sys.argv[1:]), os.environ["KAS_WORK_DIR"] == os.getcwd(),
      os.environ.get("BB_NO_NETWORK"), "DL_DIR" in os.environ)
"""
BAD = """\
import pathlib, sys
log = pathlib.Path("build/tmp/work/zlib/1/temp/log.do_compile.7")
log.parent.mkdir(parents=True)
log.write_text("gcc x.c\\nx.c:1: error: No space left on device\\n")
print("\\x1b[31mERROR: Logfile of failure stored in: %s" % log.absolute())
print("ERROR: Task (/l/zlib_1.bb:do_compile) failed with exit code '1'\\x1b[0m")
sys.exit(1)
"""


@pytest.fixture
def kas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def install(text: str) -> None:
        package = tmp_path / "fake" / "kas"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return install


def start(folder: Path, log: Path, *, site: Path | None = None, offline: bool = False) -> None:
    cache = Cache(log.parent / "cache é")
    environment = {**shared_folders(cache), **offline_variables(offline)}
    run_kas(Job(folder, log, site, environment), Log(NORMAL, io.StringIO()))


def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project é"
    folder.mkdir()
    (folder / "kas.yml").touch()
    return folder


def test_what_kas_is_given(tmp_path: Path, kas) -> None:
    kas(GOOD)
    folder, log = project(tmp_path), tmp_path / "kas.log"
    start(folder, log)
    assert log.read_text().splitlines()[-1] == "build kas.yml True None True"


def test_a_site_file_and_no_network(tmp_path: Path, kas) -> None:
    kas(GOOD)
    folder, log, site = project(tmp_path), tmp_path / "kas.log", tmp_path / "mine.yml"
    site.write_text("header: {version: 14}\n")
    start(folder, log, site=site, offline=True)
    assert log.read_text().splitlines()[-1] == "build kas.yml:site.yml True 1 True"
    assert (folder / "site.yml").read_text() == site.read_text()


def test_words_go_on_to_bitbake(tmp_path: Path, kas, monkeypatch: pytest.MonkeyPatch) -> None:
    kas(GOOD)
    monkeypatch.setenv("DL_DIR", str(tmp_path / "mine"))
    folder, log = project(tmp_path), tmp_path / "kas.log"
    environment = shared_folders(Cache(tmp_path / "cache"))
    assert environment["DL_DIR"] == str(tmp_path / "mine")
    job = Job(folder, log, None, environment, ("--runall=fetch",))
    run_kas(job, Log(NORMAL, io.StringIO()))
    assert log.read_text().splitlines()[-1].startswith("build kas.yml -- --runall=fetch ")


FETCHES = """\
import os, pathlib
pathlib.Path("build/tmp").mkdir(parents=True)
downloads = pathlib.Path(os.environ["DL_DIR"])
(downloads / "zlib.tar.gz").write_text("zlib")
"""


def test_a_mirror_has_sources_and_nothing_of_the_build_that_fetched_them(
    tmp_path: Path, kas
) -> None:
    kas(FETCHES)
    folder = tmp_path / "mirror é"
    environment = shared_folders(Cache(tmp_path / "cache"))
    fetch_sources({"kas.yml": b"a"}, folder, environment, Log(NORMAL, io.StringIO()))
    assert sorted(path.name for path in folder.iterdir()) == ["downloads", "kas.log"]
    assert (folder / "downloads" / "zlib.tar.gz").read_text() == "zlib"


def test_a_failed_task_is_explained(tmp_path: Path, kas) -> None:
    kas(BAD)
    folder, log = project(tmp_path), tmp_path / "kas.log"
    with pytest.raises(BuildError) as caught:
        start(folder, log)
    failed = folder / "build/tmp/work/zlib/1/temp/log.do_compile.7"
    assert str(caught.value) == (
        "zlib: do_compile failed\n"
        f"  zlib do_compile: {failed}\n"
        "    x.c:1: error: No space left on device\n"
        f"  log: {log}\n"
        "  hint: the disk is full: free some, or set DL_DIR, SSTATE_DIR, TMPDIR"
    )


def test_no_process_outlives_a_killed_build(tmp_path: Path, kas) -> None:
    kas("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    folder = project(tmp_path)
    code = (
        "from pathlib import Path; import sys; sys.path.insert(0, sys.argv[3]);"
        "from tests.component.test_fake_kas import start;"
        "start(Path(sys.argv[1]), Path(sys.argv[2]) / 'l')"
    )
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", code, str(folder), str(tmp_path), str(root)]
    with subprocess.Popen(words, cwd=root) as process:
        pid = wait_for(folder / "pid")
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
