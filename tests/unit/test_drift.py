"""Reference histograms: what they count, and the index that compares them."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from imagebuilder.bundle.drift import Drift, drift_bytes, read_drift, stability_index
from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.reader import open_bundle
from imagebuilder.models.data import Split
from imagebuilder.models.drift import histogram

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=20)
VALUES = of_numpy.arrays(
    np.float64,
    st.integers(1, 200),
    elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, math.nan]),
)


def of_values(*values: float) -> tuple[tuple[float, ...], tuple[int, ...]]:
    array = np.array(values, np.float64)
    made = histogram(("input", "x", "mean"), array, float(np.abs(array).max()))
    return made.bounds, made.counts


@given(COUNTS)
def test_the_index_is_never_negative_and_the_same_both_ways(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    assert stability_index(one, other) >= 0
    assert math.isclose(stability_index(one, other), stability_index(other, one), abs_tol=1e-12)
    assert stability_index(one, one) == 0


def test_the_index_of_known_shares() -> None:
    index = stability_index((10**6, 10**6), (10**6, 3 * 10**6))
    assert index == pytest.approx(0.25 * math.log(3), rel=1e-5)


def test_a_bound_lies_between_the_values_that_occur() -> None:
    assert of_values(*[0] * 50, *[1] * 50) == ((-0.001, 0.5, 1.001), (0, 50, 50, 0))
    assert of_values(7, 7, 7) == ((6.993, 7.007), (0, 3, 0))
    noise = histogram(("input", "x", "mean"), np.array([-1e-9, 2e-9, 0.0]), 3.0)
    assert noise.counts == (0, 3, 0)
    assert of_values(math.nan) == ((0.0,), (0, 1))


@given(VALUES, st.floats(0, 1e6))
@example(np.array([0, 5e-324]), 0.0)
@example(np.array([0, 1e-300]), 0.0)
def test_every_value_is_counted_and_the_bounds_rise(values: np.ndarray, scale: float) -> None:
    largest = max((abs(v) for v in values if not math.isnan(v)), default=0.0)
    made = histogram(("input", "x", "mean"), values, max(scale, largest))
    assert sum(made.counts) == len(values)
    assert made.counts[-1] == np.isnan(values).sum()
    assert made.counts[0] == 0
    assert all(a < b for a, b in itertools.pairwise(made.bounds))
    assert len(made.bounds) <= 11


def test_written_and_read(tmp_path: Path) -> None:
    description = open_bundle(FIXTURES / "good-drift").description
    made = Drift(9, (histogram(("input", "x0", "values"), np.arange(9.0), 8),))
    (tmp_path / "drift.json").write_bytes(drift_bytes(made))
    assert read_drift(tmp_path / "drift.json", description) == made


def test_over_1_mib(tmp_path: Path) -> None:
    (tmp_path / "drift.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(BundleError, match=r"drift-malformed: drift\.json is over 1 MiB"):
        read_drift(tmp_path / "drift.json", open_bundle(FIXTURES / "good-drift").description)


@given(st.integers(1, 50), st.integers(1, 100))
def test_the_first_samples_are_spread_over_all(samples: int, wanted: int) -> None:
    split = Split({"x": np.arange(samples)}, np.arange(samples))
    chosen = split.first(wanted).inputs["x"]
    assert len(chosen) == len(set(chosen)) == min(samples, wanted)
    assert chosen[-1] >= samples - 1 - samples // min(samples, wanted)
