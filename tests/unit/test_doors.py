"""The doors to processes, files and the network."""

import errno
import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.errors import BuildError, UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.run import CommandFailed, run
from imagebuilder.state import (
    Cache,
    host_errors,
    make_writable,
    new_file,
    new_folder,
    write_if_changed,
)
from imagebuilder.units import parse_size, show_size


def test_a_failed_command_tells_all(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "echo out; echo bad >&2; exit 3"], log=tmp_path / "step.log")
    assert str(caught.value) == (
        "sh failed with exit code 3\n"
        "  command: sh -c 'echo out; echo bad >&2; exit 3'\n"
        "  bad\n"
        f"  log: {tmp_path}/step.log"
    )
    assert (tmp_path / "step.log").read_text() == "out\nbad\n"


def test_a_missing_program_is_the_hosts_fault() -> None:
    with pytest.raises(UserError, match="cannot start no-such-program: No such file"):
        run(["no-such-program"])


def test_a_hanging_command_dies_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > '{pid_file}'; wait"
    with pytest.raises(BuildError, match=r"sh did not end within 0\.5 s"):
        run(["sh", "-c", script], timeout=0.5)
    _wait_until_dead(int(pid_file.read_text()))


def test_a_killed_builder_leaves_no_orphan(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60"
    code = f"from imagebuilder.run import run; run(['sh', '-c', {script!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as builder:
        while not pid_file.exists():
            time.sleep(0.02)
        builder.kill()
    _wait_until_dead(int(pid_file.read_text()))


def _wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        if ") Z" in status:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} lives on")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "é x" / "file"
    with pytest.raises(BuildError), new_file(path) as temporary:
        _write_half(temporary)
    assert list(path.parent.iterdir()) == []
    with new_file(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise BuildError("no luck")


def test_the_first_of_two_equal_folders_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x") as mine:
        (mine / "a").write_text("mine")
        with new_folder(tmp_path / "x") as other:
            (other / "a").write_text("other")
    assert (tmp_path / "x" / "a").read_text() == "other"
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


WRITER = """\
import sys, time
from pathlib import Path
from imagebuilder.state import new_file, new_folder
folder = Path(sys.argv[1])
with new_folder(folder / sys.argv[2]) as temporary, new_file(folder / sys.argv[3]) as file:
    (temporary / "a").write_text("a")
    file.write_text("b")
    print("ready", flush=True)
    sys.stdin.read()
"""


def start_writer(folder: Path, *names: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WRITER, str(folder), *names]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    (tmp_path / ".mine").write_text("")
    with start_writer(tmp_path, "living", "file") as living:
        own = {item.name for item in tmp_path.iterdir()}
        with start_writer(tmp_path, "killed", "file2") as killed:
            killed.kill()
        assert len(list(tmp_path.iterdir())) == len(own) + 2
        with new_folder(tmp_path / "next"):
            assert len(list(tmp_path.iterdir())) == len(own) + 1
        assert {item.name for item in tmp_path.iterdir()} == own | {"next"}
        living.communicate(timeout=10)
    assert living.returncode == 0
    assert sorted(item.name for item in tmp_path.iterdir()) == [".mine", "file", "living", "next"]
    assert (tmp_path / "living" / "a").read_text() == "a"
    assert (tmp_path / "file").read_text() == "b"


def test_unchanged_files_are_not_written(tmp_path: Path) -> None:
    assert write_if_changed(tmp_path / "a", b"x")
    before = (tmp_path / "a").stat().st_mtime_ns
    assert not write_if_changed(tmp_path / "a", b"x")
    assert (tmp_path / "a").stat().st_mtime_ns == before


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        write_if_changed(tmp_path / "file" / "x", b"")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        make_writable(tmp_path / "file")
    make_writable(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_a_forbidden_folder_is_told_by_the_name_that_was_asked_for(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "no", str(tmp_path / ".imagebuilder-x1y2"))
    with pytest.raises(UserError) as raised, host_errors("file", tmp_path / "firmware.lock"):
        raise error
    assert str(raised.value) == (
        f"cannot write file {tmp_path}/firmware.lock: Permission denied\n"
        "  hint: make it writable, or name another folder: the cache's is IMAGEBUILDER_CACHE, the "
        "artifacts' --output"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space left on device"), new_file(tmp_path / "x"):
        Path("/dev/full").write_bytes(b"x" * 100)


CONTENT = os.urandom(1 << 16)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def fetcher(tmp_path: Path, *, offline: bool = False) -> Fetcher:
    return Fetcher(Cache(tmp_path / "cache"), Log(QUIET), offline)


def test_fetch_tries_the_next_address_and_keeps_the_file(tmp_path: Path, server: str) -> None:
    path = fetcher(tmp_path).file([f"{server}/missing", f"{server}/file"], SHA256)
    assert path.read_bytes() == CONTENT
    assert fetcher(tmp_path, offline=True).file(["http://nowhere.invalid/x"], SHA256) == path


def test_fetch_refuses_another_file(tmp_path: Path, server: str) -> None:
    with pytest.raises(UserError) as caught:
        fetcher(tmp_path).file([f"{server}/file"], "0" * 64)
    assert str(caught.value) == (
        f"{server}/file: wrong SHA-256: got {SHA256}, want {'0' * 64}\n"
        "  hint: the file changed at its source, or the pinned digest is wrong"
    )
    assert not list((tmp_path / "cache" / "downloads" / "00").iterdir())


def test_fetch_without_network(tmp_path: Path, server: str) -> None:
    with pytest.raises(UserError, match="file is not in the cache, and --offline forbids"):
        fetcher(tmp_path, offline=True).file([f"{server}/file"], SHA256)
    with pytest.raises(UserError, match=r"cannot fetch x: http://127\.0\.0\.1:9/x: .*refused"):
        fetcher(tmp_path).file(["http://127.0.0.1:9/x"], SHA256)


def test_fetch_reads_file_addresses(tmp_path: Path) -> None:
    source = tmp_path / "a b é"
    source.write_bytes(CONTENT)
    path = fetcher(tmp_path).file([source.as_uri()], SHA256)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("text", "count"), [("64MiB", 64 << 20), ("1.5 KiB", 1536), ("8GB", 8 * 10**9), (7, 7)]
)
def test_sizes(text: str | int, count: int) -> None:
    assert parse_size(text) == count


def test_sizes_are_shown() -> None:
    assert [show_size(n) for n in (5, 1536, 3 << 20, 5 << 30)] == [
        "5 B", "1.5 KiB", "3.0 MiB", "5.0 GiB",
    ]  # fmt: skip
