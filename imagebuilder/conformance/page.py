"""A table of outcomes as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from imagebuilder.conformance.outcome import FAILED, PASSED, STATUSES, UNSUPPORTED, Row, Table

INTRODUCTION = """\
# Operator conformance

Which models of {data} each machine runs; written by `imagebuilder conformance`.
*passed*: the output is that of the package, within 0.1 % or 0.00001.
*failed*: another output, an error or a crash.
*unsupported*: the runtime has no kernel for it and says so, or a bundle cannot carry the model.
"""


def markdown(table: Table) -> str:
    """The whole page."""
    parts = [
        INTRODUCTION.format(data=table.data),
        "## Machines\n",
        _rows(("machine", "core", "runtime", *STATUSES), _machines(table)),
        "## Failed\n",
        _failed(table),
        "## Unsupported\n",
        _rows(("reason", *_names(table), "for example"), _unsupported(table)),
        "## Operators\n",
        "A model counts for each operator in it: passed / failed / unsupported.\n",
        _rows(("operator", *_names(table)), _operators(table)),
    ]
    return "\n".join(parts)


def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


def _machines(table: Table) -> Iterator[Sequence[str]]:
    for column in table.columns:
        counts = (str(table.count(column.name, status)) for status in STATUSES)
        yield (column.name, column.cpu, column.runtime, *counts)


def _failed(table: Table) -> str:
    rows = [
        (name, *(_failure(row, column) for column in _names(table)))
        for name, row in sorted(table.rows.items())
        if any(outcome.status == FAILED for outcome in row.outcomes.values())
    ]
    return _rows(("model", *_names(table)), rows) if rows else "None.\n"


def _failure(row: Row, column: str) -> str:
    outcome = row.outcomes[column]
    return outcome.reason if outcome.status == FAILED else outcome.status


def _unsupported(table: Table) -> Iterator[Sequence[str]]:
    reasons: dict[str, Counter[str]] = {}
    examples: dict[str, str] = {}
    for name, row in sorted(table.rows.items()):
        for column, outcome in row.outcomes.items():
            if outcome.status == UNSUPPORTED:
                reasons.setdefault(outcome.reason, Counter())[column] += 1
                examples.setdefault(outcome.reason, name)
    for reason, counts in sorted(reasons.items()):
        yield (reason, *(str(counts[name]) for name in _names(table)), f"`{examples[reason]}`")


def _operators(table: Table) -> Iterator[Sequence[str]]:
    for operator in sorted({o for row in table.rows.values() for o in row.operators}):
        rows = [row for row in table.rows.values() if operator in row.operators]
        yield (f"`{operator}`", *(_counts(rows, column) for column in _names(table)))


def _counts(rows: Sequence[Row], column: str) -> str:
    found = Counter(row.outcomes[column].status for row in rows)
    return " / ".join(str(found[status]) for status in (PASSED, FAILED, UNSUPPORTED))


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines
    )
