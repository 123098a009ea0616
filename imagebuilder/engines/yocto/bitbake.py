"""Runs kas, shows BitBake's progress, and says what failed."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

from imagebuilder.engines.yocto.progress import progress
from imagebuilder.engines.yocto.triage import Failure, failures, telling_lines
from imagebuilder.errors import BuildError
from imagebuilder.executor import Work
from imagebuilder.log import Task
from imagebuilder.run import spawn

KEPT_LINES = 5000
"""Last lines of the output that are searched for what failed."""
MAX_LOG = 4 << 20
SITE_FILE = "site.yml"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def run_kas(project: Path, site: Path | None, log: Path, work: Work) -> None:
    """Build the project's images; `BuildError` tells recipe, task, telling lines and the cause."""
    files = "kas.yml"
    if site is not None:
        # kas wants all files of one build in one repository.
        shutil.copyfile(site, project / SITE_FILE)
        files = f"kas.yml:{SITE_FILE}"
    shared = work.cache.root / "yocto"
    environment = {
        "KAS_WORK_DIR": str(project),
        "DL_DIR": str(shared / "downloads"),
        "SSTATE_DIR": str(shared / "sstate-cache"),
        "PYTHONUNBUFFERED": "1",
        **({"BB_NO_NETWORK": "1"} if work.fetcher.offline else {}),
    }
    for name in ("DL_DIR", "SSTATE_DIR"):
        Path(environment[name]).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "kas", "build", files]
    with (
        work.log.task("bitbake") as task,
        log.open("w", encoding="utf-8", errors="replace") as stream,
        spawn(command, cwd=project, env=environment, stderr=subprocess.STDOUT) as process,
    ):
        last: deque[str] = deque(maxlen=KEPT_LINES)
        assert process.stdout is not None
        for raw in process.stdout:
            line = _COLOR.sub("", raw.decode("utf-8", "replace"))
            stream.write(line)
            last.append(line)
            _show(task, line)
        if process.wait() == 0:
            return
    raise _failed("".join(last), log)


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
    what = f"{first.recipe}: {first.task} failed" if first.recipe else "BitBake failed"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return BuildError(what + more, details=[*details, f"log: {log}"], hint=first.cause)


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
