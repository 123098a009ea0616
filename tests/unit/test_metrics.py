"""Metrics against values worked out by hand, and against scikit-learn's definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.models.metrics import (
    METRIC_NAMES,
    auc,
    bootstrap_loss,
    ctc_text,
    edits,
    metric_named,
    wilson,
)


def score(name, output, labels, alphabet=()):
    metric = metric_named(name, alphabet)
    return metric.score(metric.evidence(np.asarray(output), labels))


def test_top1() -> None:
    scores = [[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    assert score("top1", scores, np.array([1, 0, 0, 1])) == 75.0


def test_agreement_of_sequences() -> None:
    output = np.eye(3)[[[0, 1], [2, 2]]]
    assert score("agreement", output, np.array([[0, 1], [2, 0]])) == 75.0
    assert score("agreement", np.array([[0.2], [0.9]]), np.array([[False], [False]])) == 50.0


def test_auc_counts_ordered_pairs() -> None:
    assert score("auc", [0.1, 0.4, 0.35, 0.8], np.array([0, 0, 1, 1])) == 75.0
    assert score("auc", [[0.5], [0.5]], np.array([0, 1])) == 50.0
    assert score("auc", [[0, 3.0], [0, 1.0]], np.array([1, 0])) == 100.0
    assert np.isnan(auc(np.array([[0.1, 1.0], [0.2, 1.0]])))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
@settings(max_examples=100)
def test_auc_is_the_share_of_pairs_in_order(pairs) -> None:
    positive = [s for s, label in pairs if label]
    negative = [s for s, label in pairs if not label]
    if not positive or not negative:
        return
    wins = sum((p > n) + (p == n) / 2 for p, n in itertools.product(positive, negative))
    evidence = np.array(pairs, np.float64)
    assert auc(evidence) == pytest.approx(100 * wins / len(positive) / len(negative))


def test_f1() -> None:
    # 2 found of 3, 1 false alarm: precision 2/3, recall 2/3.
    assert score("f1", [0.9, 0.8, 0.1, 0.7, 0.2], np.array([1, 1, 1, 0, 0])) == pytest.approx(66.6667, abs=1e-3)  # fmt: skip # noqa: E501
    three = np.eye(3)[[0, 1, 2, 2]]
    assert score("f1", three, np.array([0, 1, 2, 1])) == pytest.approx(100 * (1 + 2 / 3 + 2 / 3) / 3)  # fmt: skip # noqa: E501


def test_cer() -> None:
    path = np.eye(4)[[[1, 1, 0, 1, 2, 3], [0, 0, 0, 0, 0, 2]]]
    assert ctc_text(path[0].argmax(-1), ["", "a", "b", "c"]) == "aabc"
    # One deletion of five characters in all.
    assert score("cer", path, ("aabc", "bb"), ["", "a", "b", "c"]) == pytest.approx(100 / 6)


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)],
)
def test_edits(one: str, other: str, count: int) -> None:
    assert edits(one, other) == edits(other, one) == count


def test_perplexity_of_a_guess_is_the_number_of_tokens() -> None:
    labels = np.array([[0, 1, 2], [3, 4, -1]])
    assert score("perplexity", np.zeros((2, 3, 7)), labels) == pytest.approx(7)
    sure = np.where(np.eye(7)[np.maximum(labels, 0)] > 0, 100.0, 0.0)
    assert score("perplexity", sure, labels) == pytest.approx(1)


def test_the_bootstrap_agrees_with_the_closed_form() -> None:
    evidence = np.array([[1.0]] * 90 + [[0.0]] * 10)
    metric = metric_named("top1")
    assert metric.interval(evidence) == wilson(90, 100)
    low, high = bootstrap_loss(metric.score, np.ones((100, 1)), evidence)
    assert -17 < low < -10 < high <= -4
    assert bootstrap_loss(metric.score, evidence, evidence) == (0, 0)


@pytest.mark.parametrize("name", ["auc", "f1", "cer", "perplexity", "agreement"])
def test_intervals_hold_the_score(name: str) -> None:
    random = np.random.default_rng(1)
    output, labels, alphabet = {
        "auc": (random.normal(size=80) + np.arange(80) % 2, np.arange(80) % 2, ()),
        "f1": (random.uniform(size=80), np.arange(80) % 2, ()),
        "cer": (random.uniform(size=(30, 6, 4)), ("abca",) * 30, ["", "a", "b", "c"]),
        "perplexity": (random.normal(size=(30, 4, 5)), np.zeros((30, 4), np.int64), ()),
        "agreement": (random.uniform(size=(30, 6, 4)), np.zeros((30, 6), np.int64), ()),
    }[name]
    metric = metric_named(name, alphabet)
    evidence = metric.evidence(output, labels)
    low, high = metric.interval(evidence)
    assert low < metric.score(evidence) < high
    assert metric.interval(evidence) == (low, high)


def test_r2() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert score("r2", values, values) == 100
    # Squared errors 0.25 + 0.25, squared deviations from 2.5: 2.25 + 0.25 + 0.25 + 2.25.
    assert score("r2", values + np.eye(2) / 2, values) == pytest.approx(90)
    assert score("r2", np.full((2, 2), 2.5), values) == pytest.approx(0)


def test_every_declared_metric_exists() -> None:
    from imagebuilder.catalog.optimization import METRICS

    assert set(METRICS) == set(METRIC_NAMES)
