"""`quantize: auto`: tries the ways to make a model small, and explains which one it takes.

The floor decides what may be taken. Of what holds it, the smallest is taken; of those at most a
tenth larger than that, the one which is clearly faster. Where a static quantization falls below
the floor, types of operators are left alone, the most harmful first, and then only as many nodes
of those types as it takes (halving, after Zeller's delta debugging, 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource
from imagebuilder.catalog.optimization import OptimizeStep, Quantize
from imagebuilder.models.data import Array, Split
from imagebuilder.models.formats import model_format
from imagebuilder.models.metrics import Metric
from imagebuilder.models.optimize import Steps, apply, describe, reason
from imagebuilder.models.runner import Runner
from imagebuilder.models.ways import Nodes, Ways, ways_of
from imagebuilder.state import sha256_file

NEAR = 1.1
"""A file this much larger than the smallest is about as small."""
FASTER = 0.8
"""A model is clearly faster below this share of the other's time."""
MOST_LEFT_OUT = 4
"""Types of operators that are left alone before a static quantization is given up."""


class Judging(Protocol):
    """Scores model files by a metric on a split."""

    @property
    def floor(self) -> AccuracyFloor: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def split(self) -> Split: ...

    def evidence(self, model: Path) -> Array: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """One try: `score` is None and `problem` says why where it could not be made or run.

    `interval` is the 95 % interval of the score, `seconds` the least time of one sample.
    """

    what: str
    bytes: int
    score: float | None
    interval: tuple[float, float] | None
    seconds: float
    holds: bool
    front: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """All tries in order, the position of the one taken, why, and its model."""

    candidates: tuple[Candidate, ...]
    taken: int
    why: str
    steps: Steps

    def sealed(self) -> dict[str, Any]:
        """What of it is the same in every run: all but times and what depends on them."""
        rows = [asdict(candidate) for candidate in self.candidates]
        for row in rows:
            del row["seconds"], row["front"]
        return {"candidates": rows, "taken": self.candidates[self.taken].what}


def search(
    source: BundleSource, start: Steps, calibration: Split, folder: Path, judge: Judging
) -> Search:
    """Try quantizations of `start`, and take one that holds the floor.

    The unquantized model is the first candidate, so one always does.
    """
    bench = _Bench(source, start.path, calibration, folder, judge)
    ways = ways_of(start.path)
    nodes = ways.nodes(start.path)
    bench.run(None)
    for step in ways.first_tries(nodes):
        bench.run(step)
    _fall_back(bench, ways, nodes)
    candidates = front(bench.candidates)
    taken, why = choose(candidates, judge.floor.loss)
    chosen = bench.steps[taken]
    if chosen is None:
        return Search(candidates, taken, why, start)
    path = bench.path(taken)
    return Search(candidates, taken, why, start.then(path, path, describe(chosen), {}))


class _Bench:
    """Makes and measures candidates; the first is the model as it is."""

    def __init__(
        self, source: BundleSource, model: Path, calibration: Split, folder: Path, judge: Judging
    ) -> None:
        self._source, self._model, self._calibration = source, model, calibration
        self._folder, self._judge = folder, judge
        self._kind = model_format(model)
        self._seen: dict[str, int] = {}
        self.candidates: list[Candidate] = []
        self.steps: list[OptimizeStep | None] = []

    def path(self, index: int) -> Path:
        """The file of a candidate."""
        return self._model if index == 0 else self._folder / f"try-{index}.{self._kind}"

    def run(self, step: OptimizeStep | None) -> Candidate:
        """Make and measure one; what was tried before is not measured again."""
        index = len(self.candidates)
        what = "as it is" if step is None else describe(step)
        try:
            candidate = self._measure(step, index, what)
        except Exception as error:
            candidate = Candidate(what, 0, None, None, 0.0, False, problem=reason(error))
        if candidate.problem.startswith("same as"):
            return self.candidates[self._seen[sha256_file(self.path(index))]]
        self.candidates.append(candidate)
        self.steps.append(step)
        return candidate

    def _measure(self, step: OptimizeStep | None, index: int, what: str) -> Candidate:
        path = self.path(index)
        if step is not None:
            apply(self._source, step, self._model, path, self._calibration)
        digest, judge = sha256_file(path), self._judge
        if digest in self._seen:
            return Candidate(what, 0, None, None, 0.0, False, problem="same as another")
        self._seen[digest] = index
        evidence = judge.evidence(path)
        score = round(judge.metric.score(evidence), 4)
        before = score if step is None else self.candidates[0].score
        assert before is not None
        low, high = judge.metric.interval(evidence)
        return Candidate(
            what,
            path.stat().st_size,
            score,
            (round(low, 2), round(high, 2)),
            Runner(path).seconds(judge.split),
            step is None or judge.floor.passes(before, score),
        )

    def best(self) -> Candidate:
        """The smallest that holds the floor."""
        return min((c for c in self.candidates if c.holds), key=lambda c: c.bytes)

    def better(self, one: Candidate, other: Candidate | None) -> bool:
        """Whether `one` has the better score."""
        if one.score is None or other is None or other.score is None:
            return one.score is not None
        return self._judge.floor.loss(other.score, one.score) < 0


def _fall_back(bench: _Bench, ways: Ways, nodes: Nodes) -> None:
    """Leave operators, then nodes, out of a static quantization that fails the floor.

    Not where a static one that holds is about as small already: nothing is left to gain.
    """
    static = [
        (candidate, step)
        for candidate, step in zip(bench.candidates, bench.steps, strict=True)
        if isinstance(step, Quantize) and step.mode == "static" and candidate.score is not None
    ]
    held = min((c.bytes for c, _ in static if c.holds), default=None)
    for candidate, step in static:
        if candidate.holds or (held is not None and held <= NEAR * candidate.bytes):
            continue
        if candidate.bytes < bench.best().bytes * NEAR:
            _leave_out(bench, step, ways.quantizable(nodes), nodes)
            return


def _leave_out(bench: _Bench, step: Quantize, known: Sequence[str], nodes: Nodes) -> None:
    """Leave out one type after another, the most harmful first, until one try holds."""
    kinds = [kind for kind in known if step.operators is None or kind in step.operators]
    left: list[str] = []
    for _ in range(min(MOST_LEFT_OUT, len(kinds) - 1)):
        best: tuple[Candidate, str] | None = None
        for kind in [kind for kind in kinds if kind not in left]:
            rest = tuple(k for k in kinds if k not in (*left, kind))
            candidate = bench.run(replace(step, operators=rest))
            if bench.better(candidate, best[0] if best else None):
                best = (candidate, kind)
            if candidate.holds:
                break
        if best is None:
            return
        left.append(best[1])
        if best[0].holds:
            names = [name for kind in left for name in nodes[kind] if name]
            _fewer_nodes(bench, replace(step, operators=tuple(kinds)), names)
            return


def _fewer_nodes(bench: _Bench, step: Quantize, names: Sequence[str]) -> None:
    """Of the nodes that are left alone, find the half that suffices, as long as one does."""
    while len(names) > 1:
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        tries = [(bench.run(replace(step, exclude_nodes=tuple(half))), half) for half in halves]
        holding = [half for candidate, half in tries if candidate.holds]
        if not holding:
            return
        names = holding[0]


def front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The same, with those marked that hold the floor and no other beats in size and time."""
    holding = [(c.bytes, c.seconds) for c in candidates if c.holds]
    return tuple(
        replace(c, front=c.holds and not beaten((c.bytes, c.seconds), holding)) for c in candidates
    )


def beaten(one: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    """Whether another is at most as large in both numbers, and less in one."""
    return any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in others)


def choose(
    candidates: Sequence[Candidate], loss: Callable[[float, float], float]
) -> tuple[int, str]:
    """Position of the candidate to take, and why; the first is the model as it is and holds.

    `loss(before, after)` says how much worse a score is.
    """
    holding = [(i, c) for i, c in enumerate(candidates) if c.holds]
    smallest_at, smallest = min(holding, key=lambda item: item[1].bytes)
    near = [(i, c) for i, c in holding if c.bytes <= NEAR * smallest.bytes]
    fastest = min(c.seconds for _, c in near)
    fast = [(i, c) for i, c in near if FASTER * c.seconds <= fastest]
    if smallest_at in dict(fast):
        return smallest_at, "the smallest that holds the floor"
    lost = candidates[0].score or 0.0
    taken_at, taken = min(fast, key=lambda item: (loss(lost, item[1].score or 0.0), item[1].bytes))
    return taken_at, (
        f"about as small as the smallest that holds the floor ({smallest.what}), and "
        f"{smallest.seconds / taken.seconds:.1f} times as fast"
    )
