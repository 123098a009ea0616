"""The only door to other processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import BuildError, UserError

TAIL_LINES = 15
GRACE = 10.0
"""Seconds that a job has to put away what it made."""

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished process left: exit code and captured output."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes


class CommandFailed(BuildError):
    """A process ended with a code other than 0."""

    def __init__(self, completed: Completed, log: Path | None = None) -> None:
        self.completed = completed
        output = completed.stderr or completed.stdout
        tail = output.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        super().__init__(
            f"{Path(completed.argv[0]).name} failed with exit code {completed.exit_code}",
            details=(
                f"command: {shlex.join(completed.argv)}",
                *tail,
                *((f"log: {log}",) if log else ()),
            ),
        )


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    log: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Completed:
    """Run a process to its end and capture what it prints.

    `env` is added to this process's environment; `log` receives stdout and stderr; `timeout` is in
    seconds. The process and its children are killed when this one is interrupted.

    Raises `CommandFailed` for a non-zero exit when `check`, `UserError` when the program is
    missing, `BuildError` when the time is over.
    """
    words = tuple(str(word) for word in argv)
    with spawn(words, cwd=cwd, env=env, stdin=stdin is not None) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise BuildError(
                f"{Path(words[0]).name} did not end within {timeout:g} s",
                details=(f"command: {shlex.join(words)}",),
            ) from error
    completed = Completed(words, process.returncode, stdout, stderr)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(stdout + stderr)
    if check and completed.exit_code != 0:
        raise CommandFailed(completed, log)
    return completed


@contextlib.contextmanager
def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bool = False,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    grace: float = 0.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in its own group; the whole group is dead when the context ends.

    It then has `grace` seconds after a SIGTERM to end by itself.
    """
    words = [str(word) for word in argv]
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - takes no lock and allocates nothing
        )
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"cannot start {words[0]}: {error.strerror}",
            hint="`imagebuilder doctor` lists what this host lacks",
        ) from error
    try:
        yield process
    finally:
        _end(process, grace)


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    if grace and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    kill_group(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def detach(argv: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, in a session of its own; it prints to `log`."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """A process to run: its output goes to `log`, it is killed after `timeout` seconds."""

    argv: tuple[str, ...]
    log: Path
    timeout: float


def run_all(
    jobs: Sequence[Job], at_once: int, env: Mapping[str, str], ended: Callable[[int], None]
) -> list[int | None]:
    """Run processes side by side, at most `at_once`; exit codes, None where the time was over.

    `ended` is told the number of each that ended. All are dead when this ends, also interrupted.
    """
    codes: list[int | None] = [None] * len(jobs)
    waiting = deque(enumerate(jobs))
    running: dict[int, tuple[subprocess.Popen[bytes], contextlib.ExitStack, float]] = {}
    with contextlib.ExitStack() as everything:
        while waiting or running:
            while waiting and len(running) < max(1, at_once):
                number, job = waiting.popleft()
                own = contextlib.ExitStack()
                everything.callback(own.close)
                running[number] = (_start(job, env, own), own, time.monotonic() + job.timeout)
            for number, (process, own, end) in tuple(running.items()):
                if process.poll() is not None or time.monotonic() > end:
                    codes[number] = process.returncode
                    own.close()
                    del running[number]
                    ended(number)
            time.sleep(0.02)
    return codes


def _start(job: Job, env: Mapping[str, str], own: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    log = own.enter_context(job.log.open("wb"))
    stream = log.fileno()
    words = spawn(job.argv, env=env, stdout=stream, stderr=subprocess.STDOUT, grace=GRACE)
    return own.enter_context(words)


def run_here(argv: Sequence[str | Path], started: Callable[[int], object] | None = None) -> int:
    """Run a process on this terminal, whose keys reach it; gives its exit code.

    `started` is given its number. An interrupt ends it and is then raised; it dies with this
    process.
    """
    words = [str(word) for word in argv]
    with subprocess.Popen(
        words,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - takes no lock and allocates nothing
    ) as process:
        try:
            if started is not None:
                started(process.pid)
            return process.wait()
        finally:
            process.terminate()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process started by `spawn` with its children, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _die_with_parent() -> None:
    # A builder that is killed must leave no orphan.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
