"""The page of a parity report, its plots, and what `imagebuilder test` adds to it."""

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.errors import UserError
from imagebuilder.models.differences import Difference
from imagebuilder.models.layers import Layer
from imagebuilder.models.parity import Candidate, Parity, Place, parity_data
from imagebuilder.report import MachineResult, read_junit, write_json
from imagebuilder.report.parity import complete, parity_files, read_results
from imagebuilder.report.parity_page import PAGE, lowest, parity_page
from imagebuilder.report.plot import Axis, Point, axis_over, scatter

HOST = {"runtime": "onnxruntime 1.28.0", "cpu": "x86_64 avx2"}
PARITY = Parity(
    name="bell", version="2.0", digest="sha256:" + "a" * 64, optimization="int8 static Gemm",
    recorded_on=HOST, measured_on=HOST,
    accuracy={
        "metric": "top1", "samples": 500, "source": 98.0, "source_interval": (96.0, 99.0),
        "optimized": 97.0, "optimized_interval": (95.0, 98.0), "change_interval": (-2.0, 0.5),
        "floor": 95.0, "max_drop": 1.0,
    },
    check=TensorsCheck("golden.safetensors", 16, 0.02, 0.01, top1=True),
    largest=0.996,
    places=(
        Place("float", "float model, this host", "x86_64", Difference(16, 0.03, 0.5, 0.9375, 1.5),
              None),
        Place("host", "sealed model, this host", "x86_64", Difference(16, 0.0, 0.0, 1.0, 0.0),
              True),
    ),
    candidates=(
        Candidate("float model", 20_000, 98.0, (96.0, 99.0), 4e-6, True, False),
        Candidate("fp16 weights", 10_000, 98.0, (96.0, 99.0), 5e-6, True, False),
        Candidate("int8 <dynamic>", 7_000, 40.0, (36.0, 44.0), None, False, False),
        Candidate("int4", 0, None, None, None, False, False, problem="no such kernel"),
        Candidate("int8 static Gemm", 8_000, 97.0, (95.0, 98.0), 3e-6, True, True, front=True),
    ),
    why="fp16 weights: the smallest that holds the floor",
    layers=(
        Layer("one", "Gemm", None, 0.0, 3.0),
        Layer("two", "Relu", 38.25, 0.05, 4.8),
        Layer("two again", "Reshape", 38.25, 0.05, 4.8),
        Layer("<three>", "Softmax", 12.5, 0.3, 1.0),
        Layer("four", "Exp", None, float("inf"), 1.0),
    ),
    no_layers="",
)  # fmt: skip


def data(parity: Parity = PARITY, results: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What parity.json holds."""
    return json.loads(json.dumps(complete(parity_data(parity), results), allow_nan=False))


class Reader(HTMLParser):
    """The text of a page, line by line, and its tags and links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if data.strip() and self.tags[-1] != "style":
            self.words.append(" ".join(data.split()))


def test_the_text_of_the_page(golden: Callable[[str, str], None]) -> None:
    reader = Reader(parity_files(data())[PAGE].decode())
    assert reader.links == []
    assert "script" not in reader.tags
    assert "three" not in reader.tags
    golden("parity-page.txt", "\n".join(reader.words) + "\n")


def test_a_page_without_layers_says_why() -> None:
    page = parity_page(data(dataclasses.replace(PARITY, layers=(), no_layers="it is ORT")))
    assert "Not compared: it is ORT." in Reader(page).words


def test_marks_say_what_they_are() -> None:
    page = parity_page(data())
    assert page.count('<g class="sealed">') == 2  # over size and over time
    assert page.count('<g class="whole">') == 2
    assert page.count('<g class="fails">') == 1  # its time was not measured
    assert page.count('class="stem exact"') == 1


def test_layers_that_hand_an_error_on_are_listed_once() -> None:
    layers = data()["layers"]
    assert [layers[number]["tensor"] for number in lowest(layers)] == ["four", "<three>", "two"]


def results(folder: Path, **changes: object) -> list[MachineResult]:
    """What pytest's JUnit file makes of a result."""
    junit = folder / "junit.xml"
    properties = {"bell.max_abs": "0.004", "bell.max_rel": "inf", "bell.agreement": "100 %",
                  "bell.tolerance_used": "40 %", "bell.samples": "16"}  # fmt: skip
    suite = ET.Element("testsuite", tests="1", time="1")
    case = ET.SubElement(suite, "testcase", name="test_golden")
    inner = ET.SubElement(case, "properties")
    for name, value in properties.items():
        ET.SubElement(inner, "property", name=name, value=value)
    junit.write_bytes(ET.tostring(suite))
    base = MachineResult(
        "qemuarm64", "debian", "dev", "direct", ("bell",), cpu="cortex-a57",
        digests={"bell": PARITY.digest, "other": "sha256:1"},
    )  # fmt: skip
    return [read_junit(junit, dataclasses.replace(base, **changes))]


def merged(folder: Path, **changes: object) -> list[dict[str, Any]]:
    write_json(results(folder, **changes), folder / "results.json")
    return data(PARITY, read_results(folder / "results.json"))["places"][2:]


def test_results_of_the_same_bundle_are_taken_up(tmp_path: Path) -> None:
    assert merged(tmp_path) == [{
        "kind": "image", "name": "image, qemuarm64 (debian)", "cpu": "cortex-a57, emulated",
        "difference": {"samples": 16, "max_abs": 0.004, "max_rel": None, "top1": 1, "used": 0.4},
        "within": True,
    }]  # fmt: skip
    (board,) = merged(tmp_path, target="ssh://root@board")
    assert (board["kind"], board["name"]) == ("board", "board, ssh://root@board")
    assert board["cpu"] == "qemuarm64"


def test_results_of_another_bundle_are_not(tmp_path: Path) -> None:
    assert merged(tmp_path, digests={"bell": "sha256:" + "b" * 64}) == []


def test_a_difference_beyond_the_tolerance_is_shown(tmp_path: Path) -> None:
    (found,) = results(tmp_path)
    far = dataclasses.replace(found, properties={**found.properties, "bell.tolerance_used": "101 %"}
                              )  # fmt: skip
    write_json([far], tmp_path / "results.json")
    whole = data(PARITY, read_results(tmp_path / "results.json"))
    assert not whole["places"][2]["within"]
    assert "TOO FAR" in Reader(parity_page(whole)).words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "{path}: no readable results: Expecting value: line 1 column 2 (char 1)"),
        ('[{"machine": "qemuarm64", "target": "QEMU"}]', "{path}: no results with parity\n"
         "  hint: `imagebuilder test` writes results.json into its output folder"),
        ("{}", "{path}: no results with parity\n"
         "  hint: `imagebuilder test` writes results.json into its output folder"),
    ],
)  # fmt: skip
def test_files_without_results(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_results(path)
    assert str(caught.value) == message.format(path=path)
    with pytest.raises(UserError) as caught:
        read_results(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no readable results: Is a directory"


def test_json_is_strict(tmp_path: Path) -> None:
    write_json(results(tmp_path), tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text)[0]["parity"]["bell"] == {
        "digest": PARITY.digest, "samples": 16, "max_abs": 0.004, "max_rel": None,
        "agreement": 100, "tolerance_used": 40,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0, 10, 0, 1), (0, 2, 4, 6, 8, 10)),
        (Axis(96.1, 98.4, 0, 1), (96.5, 97, 97.5, 98)),
        (Axis(3, 40, 0, 1, log=True), (3, 5, 10, 20, 30)),
        (Axis(1, 5e4, 0, 1, log=True), (1, 10, 100, 1000, 10000)),
        (Axis(5, 21, 0, 1, log=True), (5, 10, 15, 20)),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: tuple[float, ...]) -> None:
    assert axis.ticks(6) == ticks


SIZES = st.floats(1e-9, 1e9)
SCORES = st.floats(0, 100)


@given(st.lists(st.tuples(SIZES, SCORES), min_size=1, max_size=12), st.booleans())
def test_all_marks_and_the_front_lie_in_the_plot(
    values: list[tuple[float, float]], less: bool
) -> None:
    points = [Point(x, y, y, y, "1", "holds", "") for x, y in values]
    plot = scatter(points, 50.0, str, less=less)
    left, top, right, bottom = plot.inner
    for x, y in [*((mark.x, mark.y) for mark in plot.marks), *plot.front]:
        assert left <= x <= right
        assert top <= y <= bottom
    assert axis_over([x for x, _ in values], left, right, log=True).ticks()


def test_the_front_is_of_what_nothing_beats() -> None:
    points = [Point(x, y, y, y, "", "", "") for x, y in ((1, 90), (2, 80), (3, 95), (4, 95))]
    plot = scatter(points, 50.0, str, less=False)
    marks = [(mark.x, mark.y) for mark in plot.marks]
    assert plot.front[0] == marks[0]
    assert marks[1] not in plot.front
    assert plot.front[2] == marks[2]
    assert plot.front[-1] == (plot.inner[2], marks[2][1])
