"""`quantize: auto`: tries the ways to make a model small, and explains which one it takes.

The floor decides what may be taken. Of what holds it, the smallest is taken; of those at most a
tenth larger than that, the one which is clearly faster. Where a static quantization falls below
the floor, types of operators are left alone, the most harmful first, and then only as many nodes
of those types as it takes (halving, after Zeller's delta debugging, 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource
from imagebuilder.catalog.optimization import HalfWeights, OptimizeStep, Quantize
from imagebuilder.models.data import Array, Split
from imagebuilder.models.metrics import Metric
from imagebuilder.models.optimize import Steps, apply, describe, reason
from imagebuilder.models.runner import Runner
from imagebuilder.state import sha256_file

HEAVY = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""What nearly all work and weights are in, and integer kernels are made for."""
DYNAMIC = ("MatMul", "Gemm", "LSTM", "GRU", "Gather", "Attention")
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
    """Try quantizations of `start`, which is an ONNX model, and take one that holds the floor.

    The unquantized model is the first candidate, so one always does.
    """
    bench = _Bench(source, start.path, calibration, folder, judge)
    bench.run(None)
    for step in first_tries(operator_nodes(start.path)):
        bench.run(step)
    _fall_back(bench, operator_nodes(start.path))
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
        self._seen: dict[str, int] = {}
        self.candidates: list[Candidate] = []
        self.steps: list[OptimizeStep | None] = []

    def path(self, index: int) -> Path:
        """The file of a candidate."""
        return self._model if index == 0 else self._folder / f"try-{index}.onnx"

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


def operator_nodes(model: Path) -> dict[str, tuple[str, ...]]:
    """Type of operator → names of its nodes."""
    import onnx

    found: dict[str, list[str]] = {}
    for node in onnx.load(model, load_external_data=False).graph.node:
        found.setdefault(node.op_type, []).append(node.name)
    return {kind: tuple(names) for kind, names in found.items()}


def first_tries(nodes: Mapping[str, Sequence[str]]) -> Iterator[OptimizeStep]:
    """What is tried for every model, from the simplest."""
    heavy = tuple(kind for kind in HEAVY if kind in nodes)
    dynamic = tuple(kind for kind in DYNAMIC if kind in nodes)
    yield HalfWeights()
    yield Quantize("dynamic")
    if dynamic and "Conv" in nodes:
        yield Quantize("dynamic", operators=dynamic)
    yield Quantize("static")
    if heavy:
        yield Quantize("static", operators=heavy)
        yield Quantize("static", operators=heavy, per_channel=True)


def _fall_back(bench: _Bench, nodes: Mapping[str, Sequence[str]]) -> None:
    """Leave operators, then nodes, out of a static quantization that fails the floor."""
    tried = list(zip(bench.candidates, bench.steps, strict=True))
    failed = [
        (c, s)
        for c, s in tried
        if isinstance(s, Quantize) and s.mode == "static" and c.score is not None and not c.holds
    ]
    for candidate, step in failed:
        if candidate.bytes < bench.best().bytes * NEAR:
            _leave_out(bench, step, nodes)
            return


def _leave_out(bench: _Bench, step: Quantize, nodes: Mapping[str, Sequence[str]]) -> None:
    kinds = [kind for kind in (step.operators or sorted(quantizable(nodes))) if kind in nodes]
    left: list[str] = []
    for _ in range(min(MOST_LEFT_OUT, len(kinds) - 1)):
        best: tuple[Candidate, str] | None = None
        for kind in [kind for kind in kinds if kind not in left]:
            rest = tuple(k for k in kinds if k not in (*left, kind))
            candidate = bench.run(Quantize("static", operators=rest)) if rest else None
            if candidate and bench.better(candidate, best[0] if best else None):
                best = (candidate, kind)
        if best is None:
            return
        left.append(best[1])
        if best[0].holds:
            _fewer_nodes(bench, kinds, [name for kind in left for name in nodes[kind] if name])
            return


def _fewer_nodes(bench: _Bench, kinds: Sequence[str], names: Sequence[str]) -> None:
    """Of the nodes that are left alone, find the half that suffices, as long as one does."""
    while len(names) > 1:
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        tries = [
            (bench.run(Quantize("static", tuple(kinds), exclude_nodes=tuple(half))), half)
            for half in halves
        ]
        holding = [half for candidate, half in tries if candidate.holds]
        if not holding:
            return
        names = holding[0]


def quantizable(nodes: Mapping[str, Sequence[str]]) -> set[str]:
    """The types of operators that ONNX Runtime's static quantizer knows."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return set(nodes) & {*QDQRegistry, *QLinearOpsRegistry}


def front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The same, with those marked that hold the floor and no other beats in size and time."""
    import dataclasses

    holding = [(c.bytes, c.seconds) for c in candidates if c.holds]
    return tuple(
        dataclasses.replace(c, front=c.holds and not beaten((c.bytes, c.seconds), holding))
        for c in candidates
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
