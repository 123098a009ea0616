"""Tolerances from measured differences, and models run in a process of their own."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_parity_page import PARITY, Reader, data

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.bundle.reader import read_bundle
from imagebuilder.errors import BuildError
from imagebuilder.hosttools import Toolbox
from imagebuilder.models.data import Split
from imagebuilder.models.differences import differ, read_golden
from imagebuilder.models.parity import Parity, Place
from imagebuilder.models.processors import Emulator, measured_tolerance, run_apart
from imagebuilder.models.runner import Runner
from imagebuilder.models.tolerances import FLOOR, MARGIN, Tolerance, derive, rounded_up
from imagebuilder.report.parity_page import parity_page

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"


def test_a_tolerance_is_a_multiple_of_the_largest_difference() -> None:
    found = derive(8.0, {"here": 0.0, "Haswell": 0.004, "arm": 0.02})
    assert (found.rtol, found.atol) == (0.01, 0.08)
    assert found.differences == {"here": 0.0, "Haswell": 0.004, "arm": 0.02}


def test_equal_processors_leave_room_for_the_order_of_sums() -> None:
    found = derive(2.0, {"here": 0.0, "Haswell": 0.0})
    assert (found.rtol, found.atol) == (1.6e-5, 3.1e-5)
    assert found.rtol >= FLOOR


@pytest.mark.parametrize("off", [math.nan, math.inf])
def test_no_tolerance_allows_what_is_no_number(off: float) -> None:
    with pytest.raises(BuildError) as caught:
        derive(1.0, {"here": 0.0, "Haswell": off})
    what = "Haswell: values that are no numbers here or there: no tolerance fits"
    assert str(caught.value).splitlines()[0] == what


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.02, 0.02), (0.0201, 0.021), (0.09901, 0.1), (1.5e-5, 1.5e-5), (12, 12)]
)
def test_rounding_up(value: float, wanted: float) -> None:
    assert rounded_up(value) == wanted


@given(st.floats(1e-12, 1e12))
def test_rounding_never_takes_away(value: float) -> None:
    assert value * (1 - 1e-6) <= rounded_up(value) <= value * 1.1


@given(st.floats(1e-3, 1e3), st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(-1, 1))
def test_what_was_measured_is_within_and_a_planted_difference_is_not(
    largest: float, shares: list[float], at: float
) -> None:
    off = {str(number): 0.1 * share * largest for number, share in enumerate(shares)}
    tolerance = derive(largest, off)
    check = TensorsCheck("", 1, tolerance.rtol, tolerance.atol, top1=False)
    want = [{"y": np.array([at * largest, largest], np.float64)}]

    def shifted(by: float) -> float:
        return differ([{"y": want[0]["y"] + by}], want, check).used

    assert all(shifted(by) <= 1 for by in off.values())
    assert shifted(2.5 * MARGIN * max(*off.values(), FLOOR * largest)) > 1


def test_samples_run_in_another_process() -> None:
    bundle = read_bundle(FIXTURE)
    model = FIXTURE / bundle.description.model.file
    inputs, _ = read_golden(FIXTURE, bundle.description)
    here, there = Runner(model).named(inputs), run_apart((), model, inputs)
    assert [list(one) for one in here] == [list(one) for one in there]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one["y"], other["y"])


def test_a_process_that_fails_says_what_it_ran(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"model\.onnx"):
        run_apart((), tmp_path / "model.onnx", [])


def measured(off: float) -> Parity:
    """The report of a bundle that another processor answers as far off."""
    place = PARITY.places[1]
    other = Place("cpu", "sealed model, Haswell", "Haswell, emulated",
                  dataclasses.replace(place.difference, max_abs=off), True)  # fmt: skip
    return dataclasses.replace(PARITY, places=(*PARITY.places, other))


def test_a_report_says_what_tolerance_the_differences_give() -> None:
    assert data()["tolerance"] is None  # one place alone has nothing to differ from
    whole = data(measured(0.0002))
    assert Tolerance(**whole["tolerance"]) == Tolerance(
        0.00081, 0.0008, 0.996, {"sealed model, this host": 0.0, "sealed model, Haswell": 0.0002}
    )
    words = " ".join(Reader(parity_page(whole)).words)
    assert (
        "Tolerance by measurement: the largest difference between 2 places is 0.0002, which gives "
        "atol 0.0008 and rtol 0.00081; the bundle allows 19 times as much at its largest "
        "output." in words
    )
    assert "t = max(4 D / S, 1.5e-05)" in words


def test_a_report_with_places_that_fail_derives_nothing() -> None:
    assert data(measured(math.inf))["tolerance"] is None


class Planted(Emulator):
    """Answers as this host does, but for what is planted in one sample on one processor."""

    def outputs(
        self, processor: str, model: Path, inputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Mapping[str, np.ndarray]]:
        found = Runner(model).named(inputs)
        if processor == "Haswell":
            found[-1]["y"] = found[-1]["y"] + np.float32(0.25)
        return list(found)


def test_a_difference_on_one_processor_decides(tmp_path: Path) -> None:
    x0 = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    emulator = Planted(Toolbox(tmp_path, ""), "amd64")
    found = measured_tolerance(FIXTURE / "model.onnx", Split({"x0": x0}, np.zeros(4)), emulator)
    assert found.differences == {"SandyBridge": 0.0, "Haswell": pytest.approx(0.25)}
    assert found.atol == pytest.approx(1.0, rel=0.05)
    assert found.rtol == pytest.approx(1.0 / found.largest, rel=0.1)
