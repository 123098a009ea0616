"""Progress from BitBake's output: without a terminal it has a line for each task. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RUNNING = re.compile(
    r"NOTE: Running (?:setscene )?task (?P<done>\d+) of (?P<total>\d+) "
    r"\((?P<file>.*?):(?P<task>\w+)\)"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Which task of how many has started."""

    done: int
    total: int
    what: str


def progress(line: str) -> Progress | None:
    """What a line of BitBake's output says about progress; None if nothing."""
    if match := _RUNNING.search(line):
        recipe = match["file"].rsplit("/", 1)[-1].removesuffix(".bb").partition("_")[0]
        return Progress(int(match["done"]), int(match["total"]), f"{recipe} {match['task']}")
    return None
