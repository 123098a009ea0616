"""Makes and measures the candidates of a search, each once: what was tried before is kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource
from imagebuilder.catalog.optimization import OptimizeStep
from imagebuilder.models.data import Array, Split
from imagebuilder.models.formats import model_format, tool_versions
from imagebuilder.models.metrics import Metric, bootstrap_loss
from imagebuilder.models.optimize import apply, describe, reason
from imagebuilder.models.runner import Runner
from imagebuilder.state import new_file, sha256_file
from imagebuilder.units import show_size

LOOKS = (64, 256)
"""Samples after which a candidate that cannot hold the floor any more is dropped."""
HARM_SAMPLES = 8
REVISION = "1"
"""Raised when the same candidate would be measured otherwise."""

Steps = tuple[OptimizeStep, ...]


class Judging(Protocol):
    """Scores models by a metric on a split, and knows the floor."""

    @property
    def floor(self) -> AccuracyFloor: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def split(self) -> Split: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """One try: `score` is None and `problem` says why where it was not measured.

    `interval` is the 95 % interval of the score on `samples`: all, or as many as it took to see
    that the floor will not hold. `seconds` is the least time of one sample, 0 if not measured.
    """

    what: str
    bytes: int
    score: float | None
    interval: tuple[float, float] | None
    seconds: float
    holds: bool
    samples: int = 0
    front: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Workplace:
    """`folder` is for models in between, `kept` for what tries gave; `tell` hears of each try.

    With `kept` a search that was interrupted goes on where it was.
    """

    folder: Path
    kept: Path | None = None
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class _Tried:
    """What is kept of a try: the file's digest, and the metric's evidence of its first samples."""

    digest: str = ""
    bytes: int = 0
    seconds: float = 0.0
    problem: str = ""
    evidence: Array | None = None


class Bench:
    """The candidates in the order of their trial; the first is the model as it is."""

    def __init__(
        self, source: BundleSource, model: Path, calibration: Split, judge: Judging, at: Workplace
    ) -> None:
        order = np.random.default_rng(0).permutation(len(judge.split))
        self._source, self._model, self._calibration, self._at = source, model, calibration, at
        self._floor, self._metric = judge.floor, judge.metric
        self._split = judge.split.take(order)
        self._base = self._fingerprint()
        self._seen: dict[str, int] = {}
        self._evidence: list[Array | None] = []
        self.candidates: list[Candidate] = []
        self.steps: list[Steps] = []

    def made(self, index: int) -> Path:
        """The file of a candidate, made again where only its figures were kept."""
        steps = self.steps[index]
        return self._make(steps) if steps else self._model

    def run(self, *steps: OptimizeStep, most_bytes: float = float("inf")) -> Candidate:
        """Make and measure one; what was tried before is not measured again.

        A file of more than `most_bytes` is not measured.
        """
        begin = time.monotonic()
        tried = self._tried(steps, most_bytes)
        if tried.digest in self._seen:
            return self.candidates[self._seen[tried.digest]]
        candidate = self._judged(steps, tried)
        if tried.evidence is not None:
            self._seen[tried.digest] = len(self.candidates)
        self.candidates.append(candidate)
        self.steps.append(steps)
        self._evidence.append(tried.evidence)
        self._at.tell(f"{len(self.candidates)}: {self._words(candidate)}"
                      f" ({time.monotonic() - begin:.1f} s)")  # fmt: skip
        return candidate

    def best(self) -> int:
        """The smallest that holds the floor."""
        holding = [i for i, c in enumerate(self.candidates) if c.holds]
        return min(holding, key=lambda i: self.candidates[i].bytes)

    def better(self, one: Candidate, other: Candidate | None) -> bool:
        """Whether `one` has the better score on the samples that both saw."""
        if one.score is None or other is None or other.score is None:
            return one.score is not None
        mine, theirs = (self._evidence[self.candidates.index(c)] for c in (one, other))
        assert mine is not None
        assert theirs is not None
        both = min(len(mine), len(theirs))
        score = self._metric.score
        return self._floor.loss(score(theirs[:both]), score(mine[:both])) < 0

    def most_harmful(self, steps: Mapping[str, OptimizeStep]) -> list[str]:
        """The names of steps by the harm that each does alone, the worst first.

        Harm is the noise in the first output as a share of the signal, on some samples of the
        calibration data.
        """
        self._at.tell(f"measures what each of {len(steps)} nodes does alone")
        harm = {name: self._harm(step) for name, step in steps.items()}
        return sorted(harm, key=lambda name: -harm[name])

    def _harm(self, step: OptimizeStep) -> float:
        kept = self._kept(("harm", step))
        known = None if kept is None else _read(kept)
        if known is not None and known.evidence is not None:
            return float(known.evidence[0])
        harm = self._measure_harm(step)
        if kept is not None:
            _write(kept, _Tried(evidence=np.array([harm])))
        return harm

    def _measure_harm(self, step: OptimizeStep) -> float:
        few = self._calibration.first(HARM_SAMPLES)
        try:
            noisy = Runner(self._make((step,))).first_outputs(few)
        except Exception:
            return float("inf")
        clean = Runner(self._model).first_outputs(few)
        signal = float(np.square(clean, dtype=np.float64).sum())
        return float(np.square(noisy - clean, dtype=np.float64).sum()) / (signal or 1.0)

    def _make(self, steps: Steps) -> Path:
        path = self._model
        for step in steps:
            name = hashlib.sha256(f"{path.name} {step!r}".encode()).hexdigest()[:16]
            made = self._at.folder / f"try-{name}.{model_format(self._model)}"
            if not made.is_file():
                apply(self._source, step, path, made, self._calibration)
            path = made
        return path

    def _tried(self, steps: Steps, most_bytes: float) -> _Tried:
        kept = self._kept(steps)
        known = None if kept is None else _read(kept)
        if known is not None and known.bytes <= most_bytes:
            return known
        tried = self._try(steps, most_bytes)
        measured = tried.evidence is not None or not tried.digest
        if kept is not None and measured:
            _write(kept, tried)
        return tried

    def _try(self, steps: Steps, most_bytes: float) -> _Tried:
        try:
            path = self._make(steps)
            size, digest = path.stat().st_size, sha256_file(path)
            if size > most_bytes:
                return _Tried(digest, size, problem="too large to be taken")
            if digest in self._seen:
                return _Tried(digest, size)
            runner = Runner(path)
            evidence = self._measure(runner)
            whole = len(evidence) == len(self._split)
            return _Tried(digest, size, runner.seconds(self._split) if whole else 0.0, "", evidence)
        except Exception as error:
            return _Tried(problem=reason(error))

    def _measure(self, runner: Runner) -> Array:
        """The evidence of all samples, or of the first ones where these show that it fails."""
        whole = len(self._split)
        ends = [*(look for look in LOOKS if look < whole), whole]
        found = np.empty((0, 0))
        for start, end in zip((0, *ends), ends, strict=False):
            part = runner.evidence(self._split.take(range(start, end)), self._metric)
            found = part if start == 0 else np.concatenate([found, part])
            if end < whole and self._evidence and self._fails(found):
                break
        return found

    def _fails(self, after: Array) -> bool:
        """Whether even the better end of the 95 % interval is beyond the floor."""
        floor, first = self._floor, self._evidence[0]
        assert first is not None
        low, high = self._metric.interval(after)
        if floor.loss(floor.bound, low if floor.less_is_better else high) > 0:
            return True
        low, high = bootstrap_loss(self._metric.score, first[: len(after)], after)
        least = low if floor.less_is_better else -high
        return floor.max_drop is not None and least > floor.max_drop

    def _judged(self, steps: Steps, tried: _Tried) -> Candidate:
        what = ", ".join(map(describe, steps)) or "as it is"
        if tried.evidence is None:
            return Candidate(what, tried.bytes, None, None, 0.0, False, problem=tried.problem)
        score, samples = round(self._metric.score(tried.evidence), 4), len(tried.evidence)
        before = self.candidates[0].score if self.candidates else score
        assert before is not None
        whole = samples == len(self._split)
        holds = whole and self._floor.passes(before, score)
        low, high = self._metric.interval(tried.evidence)
        return Candidate(
            what, tried.bytes, score, (round(low, 2), round(high, 2)), tried.seconds,
            holds or not steps, samples,
        )  # fmt: skip

    def _words(self, tried: Candidate) -> str:
        if tried.score is None:
            return f"{tried.what}: {tried.problem[:120]}"
        on = "" if tried.samples == len(self._split) else f" on {tried.samples} samples"
        verdict = "holds" if tried.holds else "fails"
        return f"{tried.what}: {tried.score:.2f}{on}, {show_size(tried.bytes)}, {verdict}"

    def _fingerprint(self) -> Any:
        """Digest of everything that decides what a try gives, but for its steps."""
        digest = hashlib.sha256()
        for split in (self._calibration, self._split):
            for name, array in sorted(split.inputs.items()):
                digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
            digest.update(repr(np.asarray(split.labels).tolist()).encode())
        labels = self._source.labels
        parts = (REVISION, self._floor, tool_versions(model_format(self._model)),
                 sha256_file(self._model), labels and sha256_file(labels))  # fmt: skip
        digest.update(repr(parts).encode())
        return digest

    def _kept(self, what: object) -> Path | None:
        if self._at.kept is None:
            return None
        digest = self._base.copy()
        digest.update(repr(what).encode())
        return self._at.kept / f"{digest.hexdigest()}.npz"


def _write(path: Path, tried: _Tried) -> None:
    facts = json.dumps([tried.digest, tried.bytes, tried.seconds, tried.problem])
    evidence = np.empty(0) if tried.evidence is None else tried.evidence
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, facts=np.array(facts), evidence=evidence)


def _read(path: Path) -> _Tried | None:
    """What was kept of a try, None if nothing usable was."""
    try:
        with np.load(path) as arrays:
            tried = _Tried(*json.loads(str(arrays["facts"])))
            evidence = arrays["evidence"]
            return replace(tried, evidence=evidence if evidence.size else None)
    except Exception:
        return None
