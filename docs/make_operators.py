"""Writes docs/reference/operators.md: `python docs/make_operators.py conformance.json...`.

The tables are those of `imagebuilder conformance`, one or several machines each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.conformance.outcome import Row, Table, read_table
from imagebuilder.conformance.page import markdown

PAGE = Path(__file__).parent / "reference" / "operators.md"


def main() -> None:
    """Read the tables and write the page."""
    tables = [read_table(Path(name)) for name in sys.argv[1:]]
    if not tables:
        sys.exit("name the tables, each a conformance.json")
    PAGE.write_text(markdown(joined(tables)), "utf-8")


def joined(tables: Sequence[Table]) -> Table:
    """The columns of all tables beside each other; `SystemExit` if their models differ."""
    first = tables[0]
    for table in tables:
        if (table.data, table.rows.keys()) != (first.data, first.rows.keys()):
            sys.exit("the tables are not of the same models")
    rows = {
        name: Row(row.operators, {k: v for t in tables for k, v in t.rows[name].outcomes.items()})
        for name, row in first.rows.items()
    }
    return Table(first.data, tuple(c for table in tables for c in table.columns), rows)


if __name__ == "__main__":
    main()
