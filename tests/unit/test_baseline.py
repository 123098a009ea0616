"""Baselines: what is compared, what fails, and files that are none."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import BuildError, UserError
from imagebuilder.report import MachineResult, merge_junit
from imagebuilder.report.baseline import (
    check_baseline,
    compare,
    read_baseline,
    write_baseline,
)
from imagebuilder.testing.counting import busy_ticks, instructions, model_figures

FIGURES = {"boot": 1000, "digits.inference": 10_000, "digits.session": 5000, "disk.bytes": 4096,
           "digits.provider": "CPUExecutionProvider", "inferd.peak_kib": 100}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "now", "worse"),
    [
        ("digits.inference", 10_100, False),
        ("digits.inference", 10_101, True),
        ("digits.inference", 1, False),
        ("digits.session", 5150, False),
        ("digits.session", 5151, True),
        ("inferd.peak_kib", 110, False),
        ("inferd.peak_kib", 111, True),
        ("digits.provider", "Other", True),
        ("digits.provider", 5, True),
    ],
)
def test_what_is_worse(name: str, now: int | str, worse: bool) -> None:
    (change,) = compare(FIGURES, {**FIGURES, name: now})
    assert (change.name, change.before, change.now, change.worse) == (
        name, FIGURES[name], now, worse)  # fmt: skip


def test_a_missing_figure_fails_and_a_new_one_does_not() -> None:
    rest = {name: value for name, value in FIGURES.items() if name != "boot"}
    (gone,) = compare(FIGURES, rest)
    assert gone.worse
    assert str(gone) == "boot: 1,000 → absent"
    (new,) = compare(rest, FIGURES)
    assert not new.worse


def test_the_worse_ones_come_first_with_their_growth() -> None:
    now = {**FIGURES, "boot": 999, "digits.inference": 10_200, "disk.bytes": 8192}
    assert [str(change) for change in compare(FIGURES, now)] == [
        "digits.inference: 10,000 → 10,200 (+2.00 %)",
        "disk.bytes: 4,096 → 8,192 (+100.00 %)",
        "boot: 1,000 → 999 (-0.10 %)",
    ]


def test_a_threshold_is_for_instructions_only() -> None:
    now = {**FIGURES, "digits.inference": 10_500, "inferd.peak_kib": 150}
    assert [c.name for c in compare(FIGURES, now, 5.0) if c.worse] == ["inferd.peak_kib"]


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 1 << 53) | st.text()))
def test_equal_figures_have_no_change(figures: dict[str, int | str]) -> None:
    assert compare(figures, dict(figures)) == ()


def test_a_file_keeps_other_machines(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_baseline(path, {"one": FIGURES, "two": {"boot": 1}})
    write_baseline(path, {"two": {"boot": 2}})
    assert read_baseline(path) == {"one": FIGURES, "two": {"boot": 2}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "no readable baseline: Expecting property name"),
        ("[]", "no baseline of format 1\n  hint: `test --write-baseline` makes it"),
        ('{"format": 2, "machines": {}}', "no baseline of format 1"),
        ('{"format": 1, "machines": {"m": {"boot": 1.5}}}',
         "machines.m: figures are whole numbers and text"),
        ('{"format": 1, "machines": {"m": 1}}', "machines.m: figures are whole numbers and text"),
    ],
)  # fmt: skip
def test_files_that_are_no_baseline(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_baseline(path)
    assert str(caught.value).startswith(f"{path}: {what}")


def test_a_baseline_of_another_machine(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    with pytest.raises(UserError) as caught:
        check_baseline(path, {"qemuarm": FIGURES}, ("qemuarm64",))
    assert str(caught.value) == f"{path}: has no figures of qemuarm64\n  hint: it has: qemuarm"


def test_figures_of_a_report() -> None:
    report = {"name": "m", "load_ms": 2.0, "median_ms": 0.5}
    assert dict(model_figures(report)) == {"m.session": 1_000_000, "m.inference": 250_000}
    assert instructions(3.0) == 2
    with pytest.raises(BuildError, match="m: out of memory"):
        list(model_figures({"name": "m", "error": "out of memory"}))


def test_busy_ticks_leave_out_idle_and_waiting() -> None:
    stat = "cpu  1 2 30 400 50 6 7 0 0 0"
    assert busy_ticks(f"{stat}\n6.07 4.00\n") == 607 - 450


def test_a_regression_is_a_failed_case_of_the_report(tmp_path: Path) -> None:
    junit = tmp_path / "one.xml"
    junit.write_text('<testsuite tests="1" failures="0" errors="0" skipped="0"/>')
    result = MachineResult("qemuarm64", "debian", "dev", "direct", ("m",), passed=1,
                           figures={"m.inference": 102},
                           compared=True,
                           changes=compare({"m.inference": 100}, {"m.inference": 102}))  # fmt: skip
    assert not result.good
    merge_junit([(result, junit)], tmp_path / "all.xml")
    (suite,) = ET.parse(tmp_path / "all.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    (case,) = suite.iter("testcase")
    assert case.get("name") == "baseline: m.inference"
    assert json.dumps({p.get("name"): p.get("value") for p in suite.iter("property")}).count(
        "figure.m.inference") == 1  # fmt: skip
