"""Reports for people: one HTML page that needs no other file, and Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.device import FAILED, MARKER
from imagebuilder.report import SUMMARY_HEADER, MachineResult, summary_rows, times_note
from imagebuilder.report.baseline import change_rows, show_figure
from imagebuilder.state import write_if_changed
from imagebuilder.target.console import ESCAPES, PANIC
from imagebuilder.templates import render

LINES = 200
"""Lines of the console on the page."""
LINE = 500
MARKUP = str.maketrans({"|": r"\|", "<": "&lt;", ">": "&gt;", "\n": " "})


@dataclass(frozen=True, slots=True)
class Section:
    """One machine on the page; figures are rows of name, baseline, now, growth and verdict."""

    result: MachineResult
    stages: tuple[tuple[str, float, float], ...]
    total: float
    figures: tuple[tuple[str, ...], ...]
    changed: tuple[tuple[str, ...], ...]
    compared: bool
    properties: tuple[tuple[str, str], ...]
    console: tuple[tuple[str, str], ...]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the summary."""
        return summary_rows([self.result])

    @property
    def worse(self) -> tuple[str, ...]:
        """What is worse than in the baseline."""
        return tuple(str(change) for change in self.result.changes if change.worse)


def write_pages(tested: Sequence[tuple[MachineResult, Path]], title: str, folder: Path) -> None:
    """Write `report.html` and `report.md`; each result comes with the folder of its console."""
    sections = [make_section(result, place / "console.log") for result, place in tested]
    results = [result for result, _ in tested]
    values = {
        "title": title,
        "note": times_note(results),
        "header": SUMMARY_HEADER,
        "sections": sections,
    }
    page = render("report/page.html", **values)
    write_if_changed(folder / "report.html", page.encode())
    escaped = [tuple(cell.translate(MARKUP) for cell in row) for row in summary_rows(results)]
    text = render("report/page.md", rows=escaped, **values)
    write_if_changed(folder / "report.md", text.encode())


def make_section(result: MachineResult, console: Path) -> Section:
    """What the page says of one machine."""
    stages = tuple(_stages(result))
    changed = {row[1]: row[1:] for row in change_rows(result.machine, result.changes)}
    same = {name: (name, show_figure(value), show_figure(value), "", "")
            for name, value in sorted(result.figures.items()) if name not in changed}  # fmt: skip
    shown = ("boot.", "transport")
    return Section(
        result=result,
        stages=stages,
        total=stages[-1][2] if stages else 0.0,
        figures=(*changed.values(), *same.values()),
        changed=tuple(changed.values()),
        compared=result.compared,
        properties=tuple(item for item in result.properties.items()
                         if not item[0].startswith(shown)),
        console=tuple(_console(console)),
    )  # fmt: skip


def _stages(result: MachineResult) -> Iterator[tuple[str, float, float]]:
    before = 0.0
    for name, value in result.properties.items():
        if name.startswith("boot."):
            yield name.removeprefix("boot."), before, float(value)
            before = float(value)


def _console(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        return
    text = ESCAPES.sub("", path.read_text("utf-8", "replace"))
    for line in text.splitlines()[-LINES:]:
        trouble = PANIC.search(line) or MARKER + FAILED in line
        kind = "trouble" if trouble else "marker" if MARKER in line else ""
        yield kind, "".join(c for c in line[:LINE] if c.isprintable() or c == "\t")
