"""Reports of test runs: JUnit XML, JSON, and the rows of the summary table."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from imagebuilder.report.baseline import Change
from imagebuilder.state import write_if_changed

PARITY = ("samples", "max_abs", "max_rel", "agreement", "tolerance_used")
"""What the tests measure of a model's answers; the last two are in percent."""
SETUP = re.compile(r'^failed on (?:setup|teardown) with "(?:Failed: )?')
"""pytest's words for what failed before and after a test; a long one has no second quote."""
OWN = re.compile(r"\bimagebuilder(?:\.\w+)+: ")
"""Exceptions of ours; what they say is enough."""
FEW = 4
"""Names of tests that failed for the same reason."""
WHY = 300
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that failed, and the first line of why."""

    test: str
    why: str


@dataclass(frozen=True, slots=True)
class MachineResult:
    """The tests of one machine; `seconds` is the whole run, `error` why it could not be tested.

    `image` is the SHA-256 of the artifacts.json of what was tested.
    `target` is what it ran on: `QEMU`, or a board's address; `cpu` is what QEMU emulates.
    `digests` are those of the bundles of `models`.
    """

    machine: str
    engine: str
    variant: str
    boot: str
    models: tuple[str, ...]
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    error: str = ""
    failures: tuple[Failure, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    figures: dict[str, int | str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    compared: bool = False
    image: str = ""
    target: str = "QEMU"
    cpu: str = ""
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def parity(self) -> dict[str, dict[str, str | float | None]]:
        """Model → how far its answers were from the golden outputs, of those that were asked.

        As in `models.differences.Difference`, with the digest of the bundle; None for a number
        that is not finite.
        """
        found: dict[str, dict[str, str | float | None]] = {}
        for model, digest in self.digests.items():
            measured = {key: _number(self.properties[f"{model}.{key}"]) for key in PARITY
                        if f"{model}.{key}" in self.properties}  # fmt: skip
            if len(measured) == len(PARITY):
                found[model] = {"digest": digest, **measured}
        return found

    @property
    def reasons(self) -> dict[str, str]:
        """Why tests failed → their names: with no target all fail for the same reason."""
        tests: dict[str, list[str]] = {}
        for failure in self.failures:
            tests.setdefault(failure.why, []).append(failure.test)
        return {why: _few(names) for why, names in tests.items()}

    @property
    def regressions(self) -> tuple[str, ...]:
        """Figures that are worse than in the baseline."""
        return tuple(str(change) for change in self.changes if change.worse)

    @property
    def good(self) -> bool:
        """Whether tests ran, none failed, and no figure is worse than in the baseline."""
        return self.passed > 0 and not (self.failed or self.error or self.regressions)


def _number(text: str) -> float | None:
    number = float(text.removesuffix(" %"))
    return number if math.isfinite(number) else None


def read_junit(path: Path, base: MachineResult) -> MachineResult:
    """Complete a result with what pytest's JUnit file says."""
    root = ET.parse(path).getroot()
    suite = root if root.tag == "testsuite" else root[0]
    bad = [case for case in suite.iter("testcase")
           if case.find("failure") is not None or case.find("error") is not None]  # fmt: skip
    skipped = int(suite.get("skipped", 0))
    properties = {p.get("name", ""): p.get("value", "") for p in suite.iter("property")}
    return replace(
        base,
        passed=int(suite.get("tests", 0)) - len({id(case) for case in bad}) - skipped,
        failed=len(bad),
        skipped=skipped,
        seconds=float(suite.get("time", 0)),
        failures=tuple(map(_failure, bad)),
        properties=properties,
    )


def _few(names: Sequence[str]) -> str:
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")


def _failure(case: ET.Element) -> Failure:
    message = next((found.get("message", "") for found in case
                    if found.tag in ("failure", "error")), "")  # fmt: skip
    inner = SETUP.sub("", message.strip())
    if inner != message.strip():
        inner = inner.removesuffix('"')
    first = OWN.sub("", inner.partition("\n")[0])
    return Failure(case.get("name", "?"), first if len(first) <= WHY else f"{first[:WHY]}…")


def merge_junit(results: Sequence[tuple[MachineResult, Path]], output: Path) -> None:
    """One JUnit file: a suite a machine, named by it, with engine and variant as properties."""
    suites = ET.Element("testsuites")
    for result, path in results:
        suite = _suite(path)
        suite.set("name", f"{result.machine} ({result.engine}, {result.variant})")
        suite.attrib.pop("hostname", None)
        properties = suite.find("properties")
        if properties is None:
            properties = ET.Element("properties")
            suite.insert(0, properties)
        for name in ("machine", "engine", "variant", "boot", "target"):
            ET.SubElement(properties, "property", name=name, value=getattr(result, name))
        for name, figure in result.figures.items():
            ET.SubElement(properties, "property", name=f"figure.{name}", value=str(figure))
        for regression in result.regressions:
            _add_failure(suite, regression)
        if result.error:
            case = ET.SubElement(suite, "testcase", classname="imagebuilder", name="build and boot")
            ET.SubElement(case, "error", message=result.error)
            suite.set("errors", str(int(suite.get("errors", 0)) + 1))
            suite.set("tests", str(int(suite.get("tests", 0)) + 1))
        suites.append(suite)
    ET.indent(suites)
    write_if_changed(output, ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _add_failure(suite: ET.Element, regression: str) -> None:
    name = f"baseline: {regression.partition(':')[0]}"
    case = ET.SubElement(suite, "testcase", classname="imagebuilder", name=name)
    ET.SubElement(case, "failure", message=regression)
    for key in ("failures", "tests"):
        suite.set(key, str(int(suite.get(key, 0)) + 1))


def _suite(path: Path) -> ET.Element:
    if not path.is_file():
        return ET.Element("testsuite", tests="0", failures="0", errors="0", skipped="0")
    root = ET.parse(path).getroot()
    return root if root.tag == "testsuite" else root[0]


def write_json(results: Sequence[MachineResult], output: Path) -> None:
    """All results as JSON."""
    data = [{**asdict(r), "parity": r.parity, "good": r.good} for r in results]
    text = json.dumps(data, indent=2) + "\n"
    write_if_changed(output, text.encode())


def summary_rows(results: Sequence[MachineResult]) -> list[tuple[str, ...]]:
    """A row a machine and model: status, parity, times."""
    rows: list[tuple[str, ...]] = []
    for result in results:
        status = "pass" if result.good else "FAIL"
        tests = f"{result.passed} passed, {result.failed} failed"
        tests = "not tested" if result.error and not result.passed else tests
        for model in result.models or ("-",):
            name = result.machine if result.target == "QEMU" else (
                f"{result.machine} at {result.target}")  # fmt: skip
            rows.append((
                name, model, status, tests,
                _shown(result, f"{model}.max_abs"), _shown(result, f"{model}.agreement"),
                _shown(result, "boot.ready", " s"), _shown(result, f"{model}.emulated_ms", " ms"),
            ))  # fmt: skip
    return rows


def _shown(result: MachineResult, name: str, unit: str = "") -> str:
    return f"{result.properties[name]}{unit}" if name in result.properties else "-"


SUMMARY_HEADER = (
    "machine", "model", "status", "tests", "max abs off golden", "same top-1", "boot to ready",
    "inference",
)  # fmt: skip

EMULATED = ("Times are emulated: they compare builds on one host, they are not a board's. "
            "Instructions are counted by QEMU and do not depend on the host.")  # fmt: skip


def times_note(results: Sequence[MachineResult]) -> str:
    """What the times of these results are: a board's, or those of an emulator."""
    boards = sorted({result.target for result in results} - {"QEMU"})
    return f"Times are those of {', '.join(boards)}." if boards else EMULATED
