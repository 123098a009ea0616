"""What became of an operator model, and how a table of them is written, read and compared."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.devicefiles import json_text
from imagebuilder.errors import Location, Problem, UserError

if TYPE_CHECKING:
    from imagebuilder.conformance.cases import Case

PASSED, FAILED, UNSUPPORTED = "passed", "failed", "unsupported"
STATUSES = (PASSED, FAILED, UNSUPPORTED)

REFERENCE = "python"
"""The column of ONNX Runtime's Python package on the host."""

REFUSALS = (
    "Could not find an implementation for", "is not a registered function/op",
    "No Op registered for", "Unsupported model IR version", "is under development and support",
    "guarantees support for models stamped with official released", "is unsupported on this",
    "not supported", "not implemented", "NOT_IMPLEMENTED",
)  # fmt: skip
"""What ONNX Runtime says of a model that it has no kernel for, instead of a wrong answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is one of `STATUSES`; `reason` is empty for `PASSED`."""

    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A model: its operators, and its outcome on each column."""

    operators: tuple[str, ...]
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Column:
    """What ran the models: the core, and the runtime with its version."""

    name: str
    cpu: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Table:
    """`data` names the package; `rows` are by the model's name."""

    data: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Row]

    @classmethod
    def join(
        cls,
        data: str,
        cases: Sequence[Case],
        columns: Sequence[Column],
        found: Sequence[Mapping[str, Outcome]],
    ) -> Table:
        """The outcomes of all columns, by the model's name, as one table."""
        rows = {
            case.name: Row(
                case.operators,
                {c.name: outcomes[case.name] for c, outcomes in zip(columns, found, strict=True)},
            )
            for case in cases
        }
        return cls(data, tuple(columns), rows)

    def count(self, column: str, status: str) -> int:
        """How many models have this outcome."""
        return sum(row.outcomes[column].status == status for row in self.rows.values())


def of_report(report: Mapping[str, Any]) -> Outcome:
    """The outcome in a model's report of `inferd selftest --apart`."""
    if report["pass"]:
        return Outcome(PASSED)
    if "signal" in report:
        return Outcome(FAILED, f"{signal.Signals(report['signal']).name}: {report['error']}")
    errors = [report["error"]] if "error" in report else [
        check["error"] for check in report["checks"] if "error" in check]  # fmt: skip
    if errors:
        name = report["bundle"].rpartition("/")[2]
        return of_error(errors[0].removeprefix(f"{name}: "))
    check = report["checks"][0]
    return Outcome(FAILED, f"other output, by {check['max_abs']:.3g} at most")


def of_error(text: str) -> Outcome:
    """The outcome of a model that a runtime complains of."""
    status = UNSUPPORTED if any(mark in text for mark in REFUSALS) else FAILED
    return Outcome(status, short(text))


def short(text: str) -> str:
    """A runtime's complaint without places in its source and in the model."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"/[^ ]*/|\bat 0x[0-9a-f]+", "", text)
    if match := re.search(r"Could not find an implementation for \w+\(\d+\)", text):
        return match[0]
    return text[:160].strip()


def write_table(table: Table, path: Path) -> None:
    """Write a table as JSON."""
    path.write_text(json_text({"format": 1, **asdict(table)}), "utf-8")


def read_table(path: Path) -> Table:
    """A table that `write_table` wrote; `UserError` if it is none."""
    try:
        data = json.loads(path.read_bytes())
        rows = {
            name: Row(tuple(row["operators"]),
                      {key: Outcome(**value) for key, value in row["outcomes"].items()})
            for name, row in data["rows"].items()
        }  # fmt: skip
        return Table(data["data"], tuple(Column(**c) for c in data["columns"]), rows)
    except OSError as error:
        raise UserError(Problem(str(error.strerror), Location(path))) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            Problem("not written by `imagebuilder conformance`", Location(path))
        ) from error


def failures(table: Table, column: str) -> dict[str, list[str]]:
    """Reason → names of the models that failed on a column for it."""
    found: dict[str, list[str]] = {}
    for name, row in sorted(table.rows.items()):
        if row.outcomes[column].status == FAILED:
            found.setdefault(row.outcomes[column].reason, []).append(name)
    return found


def beside(table: Table, reference: str) -> list[str]:
    """Models that failed on a machine and not on the column `reference`."""
    return [
        f"{column.name}: {name}: {row.outcomes[reference].status} by {reference}"
        for column in table.columns
        for name, row in sorted(table.rows.items())
        if row.outcomes[column.name].status == FAILED and row.outcomes[reference].status != FAILED
    ]


def worse(table: Table, before: Table) -> list[str]:
    """Models that passed before and do not now, on columns that both tables have."""
    return [
        f"{column.name}: {name}: {now.status}: {now.reason}"
        for column in table.columns
        for name, row in table.rows.items()
        if name in before.rows
        and (now := row.outcomes[column.name]).status != PASSED
        and before.rows[name].outcomes.get(column.name) == Outcome(PASSED)
    ]
