"""What a failed BitBake run says: recipe, task, telling lines, likely cause. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

MAX_LINES = 12


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed task, or (with an empty recipe) a failure before any task ran."""

    recipe: str
    task: str
    log: str
    lines: tuple[str, ...]

    @property
    def title(self) -> str:
        """What failed, in a few words."""
        if self.recipe:
            return f"{self.recipe}: {self.task} failed"
        without_layers = any(re.search(_NO_LAYERS, line) for line in self.lines)
        return "kas could not fetch the layers" if without_layers else "BitBake failed"

    @property
    def cause(self) -> str:
        """What most likely went wrong and what to do; empty if no line tells."""
        text = "\n".join(self.lines)
        return next((hint for pattern, hint in CAUSES if re.search(pattern, text, re.M)), "")


_NO_LAYERS = r"^fetch repos failed|^Command .*rev-parse --verify .* failed"

CAUSES = (
    (r"No space left on device", "the disk is full: free some, or set DL_DIR, SSTATE_DIR, TMPDIR"),
    (r"Do not use Bitbake as root", "BitBake refuses root: run as a normal user"),
    (r"checksum mismatch|Checksum mismatch", "a source is not the one that was pinned: "
     "remove it from the downloads and see whether the mirror serves another file"),
    (r"BB_NO_NETWORK|network access disabled", "a source is missing and the network is off: "
     "build once with it, or name a mirror in a site file"),
    (_NO_LAYERS, "check the network, or that the mirror which KAS_PREMIRRORS names has the layer "
     "with the pinned commit"),
    (r"Fetcher failure|Unable to fetch|Could not resolve host|Connection (refused|timed out)",
     "a source could not be fetched: check the network, a proxy, or name a mirror in a site file"),
    (r"has a restricted license|LICENSE_FLAGS_ACCEPTED|ACCEPT_\w*EULA",
     "a licence was not accepted: name it in yocto.licenses of the manifest"),
    (r"Nothing (R?PROVIDES)", "no layer has this package: check yocto.packages and yocto.layers"),
    (r"not in the final kernel configuration", "a kernel symbol did not take effect: see the "
     "fragment that is named; a dependency of the symbol is missing or the kernel lacks it"),
    (r"Layer '\S+' depends on layer '\S+'",
     "a layer needs another one: name that in yocto.layers too"),
    (r"required tools .*HOSTTOOLS",
     "programs are missing: `imagebuilder doctor --engine yocto` says what to install"),
    (r"LAYERSERIES_COMPAT|is not compatible with the core layer",
     "a layer is not for this series: choose another series or another branch of the layer"),
    (r"[Kk]illed|signal 9|out of memory|virtual memory exhausted",
     "the host ran out of memory: lower BB_NUMBER_THREADS and PARALLEL_MAKE"),
    (r"en_US\.UTF-8", "the host lacks the locale en_US.UTF-8"),
    (r"unshare|user namespaces|Operation not permitted",
     "user namespaces do not work for this user: `imagebuilder doctor --engine yocto` tells more"),
)  # fmt: skip
"""Pattern in the telling lines → likely cause and what to do; the first that fits."""

_KAS = re.compile(r"\d{4}-\d\d-\d\d [\d:]+ - (?P<level>[A-Z]+) +- (?P<text>.*)")
_FAILED = re.compile(r"ERROR: Task \((?P<file>[^)]*?):(?P<task>do_\w+)\) failed")
_LOG = re.compile(r"ERROR: Logfile of failure stored in: (?P<path>.+?)\s*$")
_RECIPE = re.compile(r"ERROR: (?P<recipe>\S+) (?P<task>do_\w+):")
_TELLING = re.compile(
    r"(?i)\b(error|fatal|failed|not found|no such file|undefined|denied|mismatch|killed|"
    r"no space|unable to)\b"
)


def failures(output: str) -> tuple[Failure, ...]:
    """The failures that BitBake's output (without colours) tells of."""
    lines = [*_said(output)]
    # kas repeats at its end what BitBake said.
    tasks = tuple(dict.fromkeys(_task_failures(lines)))
    if tasks:
        return tasks
    some = [line for line in lines if line.strip()]
    errors = list(_with_lists(some, _is_error, end=""))
    return (Failure("", "", "", tuple(errors[-MAX_LINES:] or some[-MAX_LINES:])),)


def _said(output: str) -> Iterator[str]:
    """The lines, of kas's own only its errors."""
    for line in output.splitlines():
        if not (match := _KAS.fullmatch(line)):
            yield line
        elif match["level"] in ("ERROR", "CRITICAL"):
            yield match["text"]


def _task_failures(lines: list[str]) -> Iterator[Failure]:
    logs = [match["path"] for line in lines if (match := _LOG.search(line))]
    for line in lines:
        if not (match := _FAILED.search(line)):
            continue
        recipe = match["file"].rsplit("/", 1)[-1].removesuffix(".bb").partition("_")[0]
        task = match["task"]
        log = next((path for path in logs if f"/{recipe}/" in path and task in path), "")
        said = _with_lists(lines, partial(_is_of, recipe, task))
        yield Failure(recipe, task, log, tuple(_unique(said))[:MAX_LINES])


def _is_error(line: str) -> bool:
    return line.startswith(("ERROR:", "Error", "FATAL"))


def _is_of(recipe: str, task: str, line: str) -> bool:
    """Whether a line tells of a task of the recipe."""
    if not (match := _RECIPE.match(line)):
        return False
    return match["task"] == task and match["recipe"].startswith(f"{recipe}-")


def _with_lists(
    lines: Iterable[str], tells: Callable[[str], bool], end: str = ":"
) -> Iterator[str]:
    """The lines that tell something, and what is listed, indented, below one with this `end`."""
    listed = False
    for line in lines:
        if listed and line[:1].isspace():
            yield line
        elif tells(line):
            yield line
            listed = line.rstrip().endswith(end)
        else:
            listed = False


def telling_lines(log: str) -> tuple[str, ...]:
    """The lines of a task's log that say what went wrong: the last ones with an error in them."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    found = list(_with_lists(lines, _tells))
    return tuple(_unique(found[-MAX_LINES:] or lines[-MAX_LINES:]))


def _tells(line: str) -> bool:
    return bool(_TELLING.search(line)) and not line.startswith("DEBUG:")


def _unique(lines: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(line[:400] for line in lines)
