"""Metrics: how good a model is on labelled samples, with a confidence interval.

Each metric turns the model's first output into a little evidence for each sample, float64
[samples, k], and scores any choice of samples from that, so that a bootstrap costs no inference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagebuilder.models.data import Array

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Metric:
    """`evidence(output, labels)` gives [samples, k], `score` a number from [samples, k].

    Scores are percent, except perplexity. `shares` marks a share of right samples, which has an
    interval in closed form.
    """

    evidence: Callable[[Array, Sequence[Any] | Array], Array]
    score: Callable[[Array], float]
    shares: bool = False

    def interval(self, evidence: Array) -> tuple[float, float]:
        """95 % confidence interval of the score."""
        if self.shares and bool(np.isin(evidence, (0, 1)).all()):
            return wilson(self.score(evidence), len(evidence))
        return bootstrap(self.score, evidence)


def wilson(percent: float, samples: int) -> tuple[float, float]:
    """95 % confidence interval of a percentage (Wilson 1927, z = 1.96)."""
    z, p = 1.96, percent / 100
    middle = (p + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * (p * (1 - p) / samples + z * z / (4 * samples**2)) ** 0.5 / (1 + z * z / samples)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def bootstrap(score: Callable[[Array], float], evidence: Array) -> tuple[float, float]:
    """95 % percentile interval over samples drawn with replacement (Efron 1979), fixed seed."""
    random = np.random.default_rng(0)
    count = len(evidence)
    drawn = [score(evidence[random.integers(0, count, count)]) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_loss(score: Callable[[Array], float], before: Array, after: Array
                   ) -> tuple[float, float]:  # fmt: skip
    """95 % interval of score(after) - score(before), with the same samples drawn for both."""
    width = before.shape[1]
    return bootstrap(
        lambda both: score(both[:, width:]) - score(both[:, :width]),
        np.concatenate([before, after], axis=1),
    )


def top1(output: Array, labels: Sequence[Any] | Array) -> Array:
    """1 where the largest score is at the label; `output` is [samples, ..., classes]."""
    chosen = output.reshape(len(labels), -1).argmax(1)
    return np.asarray((chosen == np.asarray(labels))[:, None], np.float64)


def percent(evidence: Array) -> float:
    """Mean of the first column in percent."""
    return 100.0 * float(evidence[:, 0].mean())


def agreement(output: Array, labels: Sequence[Any] | Array) -> Array:
    """Share of a sample's positions with the largest score where `labels` has it.

    `output` is [samples, ..., classes], `labels` [samples, ...] as `choices` gives them.
    """
    same = choices(output) == np.asarray(labels)
    return np.asarray(same.reshape(len(output), -1).mean(1, keepdims=True), np.float64)


def choices(output: Array) -> Array:
    """Index of the largest element of the last axis, or > 0.5 where that axis has one element."""
    if output.ndim < 2 or output.shape[-1] == 1:
        return output > 0.5
    return np.asarray(output.argmax(-1))


def detections(output: Array, labels: Sequence[Any] | Array) -> Array:
    """Score and label of each position, [samples, 2 * positions]: first all scores.

    Of two scores on the last axis the difference, the log of the odds, is the score.
    """
    truth = np.asarray(labels, np.float64).reshape(len(labels), -1)
    scores = output.astype(np.float64)
    if scores.ndim > 1 and scores.shape[-1] == 2 and scores[0].size == 2 * truth[0].size:
        scores = scores[..., 1] - scores[..., 0]
    return np.concatenate([scores.reshape(len(labels), -1), truth], axis=1)


def auc(evidence: Array) -> float:
    """Area under the ROC curve, percent: Mann and Whitney's U with ties by mean rank.

    NaN where all labels are equal.
    """
    scores, truth = (part.reshape(-1) for part in np.split(evidence, 2, axis=1))
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    if not len(values) or truth.min() == truth.max():
        return float("nan")
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = truth > 0
    many, few = int(positives.sum()), int((~positives).sum())
    rest = ranks[positives].sum() - many * (many + 1) / 2
    return 100.0 * float(rest / (many * few))


def decisions(output: Array, labels: Sequence[Any] | Array) -> Array:
    """Chosen class and label of each position, [samples, 2 * positions]: first all choices."""
    chosen = choices(output).astype(np.float64).reshape(len(labels), -1)
    truth = np.asarray(labels, np.float64).reshape(len(labels), -1)
    return np.concatenate([chosen, truth], axis=1)


def f1(evidence: Array) -> float:
    """F1 in percent: of class 1 where there are two classes, else the mean over classes."""
    chosen, truth = (part.reshape(-1) for part in np.split(evidence, 2, axis=1))
    classes = [1.0] if max(truth.max(), chosen.max()) <= 1 else list(np.unique(truth))
    return 100.0 * float(np.mean([_f1_of(chosen == c, truth == c) for c in classes]))


def _f1_of(chosen: Array, truth: Array) -> float:
    both = int((chosen & truth).sum())
    total = int(chosen.sum()) + int(truth.sum())
    return 2 * both / total if total else 0.0


def character_errors(alphabet: Sequence[str]) -> Callable[[Array, Sequence[Any] | Array], Array]:
    """Edits and characters of each sample; `output` is [samples, steps, classes] of a CTC.

    Class 0 of `alphabet` is the blank (Graves et al. 2006, best path decoding).
    """

    def evidence(output: Array, labels: Sequence[Any] | Array) -> Array:
        rows = zip(output.argmax(-1), labels, strict=True)
        return np.array(
            [(edits(ctc_text(row, alphabet), str(text)), len(str(text))) for row, text in rows],
            np.float64,
        )

    return evidence


def ctc_text(classes: Array, alphabet: Sequence[str]) -> str:
    """Text of a best path: repeats merged, blanks dropped."""
    before = np.concatenate([[-1], classes[:-1]])
    return "".join(alphabet[c] for c in classes[(classes != before) & (classes != 0)])


def edits(one: str, other: str) -> int:
    """Least insertions, deletions and substitutions between two texts (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def ratio(evidence: Array) -> float:
    """Sum of the first column over that of the second, percent."""
    return 100.0 * float(evidence[:, 0].sum() / evidence[:, 1].sum())


def token_surprise(output: Array, labels: Sequence[Any] | Array) -> Array:
    """Sum of -log p of the tokens, and their number; negative labels are padding.

    `output` is logits [samples, steps, tokens], `labels` int [samples, steps].
    """
    tokens = np.asarray(labels)
    logits = output.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(logp, np.maximum(tokens, 0)[..., None], -1)[..., 0]
    real = tokens >= 0
    return np.stack([-(picked * real).sum(1), real.sum(1)], axis=1)


def perplexity(evidence: Array) -> float:
    """exp of the mean -log p of all tokens."""
    return float(np.exp(evidence[:, 0].sum() / evidence[:, 1].sum()))


def residuals(output: Array, labels: Sequence[Any] | Array) -> Array:
    """Of each sample the squared errors' sum, the sums of the values and their squares, and how
    many there are; `labels` are the values, in the order of `output`.
    """
    truth = np.asarray(labels, np.float64).reshape(len(labels), -1)
    off = output.astype(np.float64).reshape(truth.shape) - truth
    count = np.full(len(truth), float(truth.shape[1]))
    return np.stack([(off**2).sum(1), truth.sum(1), (truth**2).sum(1), count], axis=1)


def r2(evidence: Array) -> float:
    """Coefficient of determination in percent: 100 (1 - squared errors / squared deviations).

    Negative where a constant would do better; NaN where all values are equal.
    """
    errors, total, squares, count = evidence.sum(0)
    deviations = squares - total**2 / count
    return float(100.0 * (1.0 - errors / deviations)) if deviations > 0 else float("nan")


def metric_named(name: str, alphabet: Sequence[str] = ()) -> Metric:
    """A metric of `catalog.optimization.METRICS`; `alphabet` is for `cer` only."""
    if name == "cer":
        return Metric(character_errors(alphabet), ratio)
    return _METRICS[name]


_METRICS = {
    "top1": Metric(top1, percent, shares=True),
    "agreement": Metric(agreement, percent, shares=True),
    "auc": Metric(detections, auc),
    "f1": Metric(decisions, f1),
    "perplexity": Metric(token_surprise, perplexity),
    "r2": Metric(residuals, r2),
}
METRIC_NAMES = (*_METRICS, "cer")
