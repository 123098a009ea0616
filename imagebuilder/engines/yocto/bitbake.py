"""Runs kas, shows BitBake's progress, and says what failed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.engines.yocto.progress import progress
from imagebuilder.engines.yocto.triage import Failure, failures, telling_lines
from imagebuilder.errors import BuildError
from imagebuilder.log import Log, Task
from imagebuilder.run import spawn
from imagebuilder.state import Cache, host_errors

KEPT_LINES = 5000
"""Last lines of the output that are searched for what failed."""
MAX_LOG = 4 << 20
SITE_FILE = "site.yml"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of kas in a project; `site` is a further kas file, `words` go to BitBake."""

    project: Path
    log_file: Path
    site: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()


def shared_folders(cache: Cache) -> dict[str, str]:
    """DL_DIR and SSTATE_DIR as the environment has them, else common to all projects."""
    shared = cache.root / "yocto"
    folders = {"DL_DIR": str(shared / "downloads"), "SSTATE_DIR": str(shared / "sstate-cache")}
    return {name: os.environ.get(name) or folder for name, folder in folders.items()}


def offline_variables(offline: bool) -> dict[str, str]:
    """What keeps BitBake from the network."""
    return {"BB_NO_NETWORK": "1"} if offline else {}


def run_kas(job: Job, log: Log) -> None:
    """Build the project's images; `BuildError` tells recipe, task, telling lines and the cause.

    Raises `UserError` when the disk is full or a folder cannot be written.
    """
    files = "kas.yml"
    with host_errors("project", job.project):
        if job.site is not None:
            # kas wants all files of one build in one repository.
            shutil.copyfile(job.site, job.project / SITE_FILE)
            files = f"kas.yml:{SITE_FILE}"
        for name in ("DL_DIR", "SSTATE_DIR"):
            Path(job.environment[name]).mkdir(parents=True, exist_ok=True)
    words = ["--", *job.words] if job.words else []
    command = [sys.executable, "-m", "kas", "build", files, *words]
    last: deque[str] = deque(maxlen=KEPT_LINES)
    with log.task("bitbake") as task, host_errors("log", job.log_file):
        exit_code = _follow(command, job, task, last)
    if exit_code:
        raise _failed("".join(last), job.log_file)


def _follow(command: list[str], job: Job, task: Task, last: deque[str]) -> int:
    """Run kas to its end; its output goes to the log file, and its last lines to `last`."""
    environment = {"KAS_WORK_DIR": str(job.project), "PYTHONUNBUFFERED": "1", **job.environment}
    with (
        job.log_file.open("w", encoding="utf-8", errors="replace") as stream,
        spawn(command, cwd=job.project, env=environment, stderr=subprocess.STDOUT) as process,
    ):
        assert process.stdout is not None
        for raw in process.stdout:
            line = _COLOR.sub("", raw.decode("utf-8", "replace"))
            stream.write(line)
            last.append(line)
            _show(task, line)
        return process.wait()


def _show(task: Task, line: str) -> None:
    if found := progress(line):
        task.total, task.done = found.total, found.done
        task.note(f"bitbake {found.done} of {found.total}: {found.what}")


def _failed(output: str, log: Path) -> BuildError:
    found = failures(output)
    details: list[str] = []
    for failure in found:
        details += _describe(_with_log(failure))
    first = _with_log(found[0])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return BuildError(first.title + more, details=[*details, f"log: {log}"], hint=first.cause)


def _with_log(failure: Failure) -> Failure:
    with contextlib.suppress(OSError):
        path = Path(failure.log)
        if failure.log and path.stat().st_size <= MAX_LOG:
            lines = telling_lines(path.read_text("utf-8", "replace"))
            return Failure(failure.recipe, failure.task, failure.log, lines)
    return failure


def _describe(failure: Failure) -> list[str]:
    title = [f"{failure.recipe} {failure.task}: {failure.log}"] if failure.recipe else []
    return [*title, *(f"  {line}" for line in failure.lines)]
