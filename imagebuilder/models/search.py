"""`quantize: auto`: tries the ways to make a model small, and explains which one it takes.

The floor decides what may be taken. Of what holds it, the smallest is taken; of those at most a
tenth larger than that, the one which is clearly faster. What weights a quantization leaves in
float become half precision. Where a static quantization falls below the floor, types of operators
are left alone, the most harmful first, and then only as many nodes of those types as it takes
(halving, after Zeller's delta debugging, 2002); or, where no type may be left out since nothing
were gained, the nodes that do most harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.optimization import HalfWeights, OptimizeStep, Quantize
from imagebuilder.models.data import Split
from imagebuilder.models.optimize import Steps
from imagebuilder.models.tries import Bench, Candidate, Judging, Workplace
from imagebuilder.models.ways import Nodes, Ways, ways_of

NEAR = 1.1
"""A file this much larger than the smallest is about as small."""
FASTER = 0.8
"""A model is clearly faster below this share of the other's time."""
MOST_LEFT_OUT = 4
"""Types of operators that are left alone before a static quantization is given up."""
MOST_NODES = 200
"""Of a model with more nodes none is tried alone."""


@dataclass(frozen=True, slots=True)
class Search:
    """All tries in order, the position of the one taken, why, and its model.

    `chosen` are the steps that made it, after those that the search began with.
    """

    candidates: tuple[Candidate, ...]
    taken: int
    why: str
    steps: Steps
    chosen: tuple[OptimizeStep, ...] = ()

    def sealed(self) -> dict[str, Any]:
        """What of it is the same in every run: all but times and what depends on them."""
        rows = [asdict(candidate) for candidate in self.candidates]
        for row in rows:
            del row["seconds"], row["front"]
        return {"candidates": rows, "taken": self.candidates[self.taken].what}


def search(
    source: BundleSource, start: Steps, calibration: Split, judge: Judging, at: Workplace
) -> Search:
    """Try quantizations of `start`, and take one that holds the floor.

    The unquantized model is the first candidate, so one always does.
    """
    bench = Bench(source, start.path, calibration, judge, at)
    ways = ways_of(start.path)
    nodes = ways.nodes(start.path)
    bench.run()
    for step in ways.first_tries(nodes):
        bench.run(step)
    _halve_the_rest(bench, ways)
    _fall_back(bench, ways, nodes)
    _halve_the_rest(bench, ways)
    candidates = front(bench.candidates)
    taken, why = choose(candidates, judge.floor.loss)
    if not bench.steps[taken]:
        return Search(candidates, taken, why, start)
    path = bench.made(taken)
    made = start.then(path, path, candidates[taken].what, {})
    return Search(candidates, taken, why, made, bench.steps[taken])


def _halve_the_rest(bench: Bench, ways: Ways) -> None:
    """Halve what the smallest quantization that holds has left in float."""
    holding = [
        (candidate.bytes, steps)
        for candidate, steps in zip(bench.candidates, bench.steps, strict=True)
        if candidate.holds and len(steps) == 1 and isinstance(steps[0], Quantize)
    ]
    if holding and ways.halves_the_rest:
        _, steps = min(holding, key=lambda one: one[0])
        bench.run(*steps, HalfWeights())


def _fall_back(bench: Bench, ways: Ways, nodes: Nodes) -> None:
    """Leave operators, then nodes, out of the best static quantization that fails the floor.

    Not where a static one that holds is about as small already: nothing is left to gain.
    """
    static = list(_static(bench))
    held = min((c.bytes for c, _ in static if c.holds), default=None)
    failing: tuple[Candidate, Quantize] | None = None
    for candidate, step in static:
        if candidate.holds or (held is not None and held <= NEAR * candidate.bytes):
            continue
        if candidate.bytes < _most_bytes(bench) and bench.better(
            candidate, failing[0] if failing else None
        ):
            failing = candidate, step
    if failing is not None:
        _leave_out(bench, failing[1], ways.quantizable(nodes), nodes)


def _static(bench: Bench) -> Iterator[tuple[Candidate, Quantize]]:
    for candidate, steps in zip(bench.candidates, bench.steps, strict=True):
        if candidate.score is None or len(steps) != 1:
            continue
        (step,) = steps
        if isinstance(step, Quantize) and step.mode == "static":
            yield candidate, step


def _most_bytes(bench: Bench) -> float:
    """A larger file than this is not taken, whatever its score."""
    return NEAR * bench.candidates[bench.best()].bytes


def _leave_out(bench: Bench, step: Quantize, known: Sequence[str], nodes: Nodes) -> None:
    """Leave out one type after another, the most harmful first, until one try holds."""
    kinds = [kind for kind in known if step.operators is None or kind in step.operators]
    left: list[str] = []
    for _ in range(min(MOST_LEFT_OUT, len(kinds) - 1)):
        best: tuple[Candidate, str] | None = None
        for kind in [kind for kind in kinds if kind not in left]:
            rest = tuple(k for k in kinds if k not in (*left, kind))
            candidate = bench.run(replace(step, operators=rest), most_bytes=_most_bytes(bench))
            if bench.better(candidate, best[0] if best else None):
                best = (candidate, kind)
            if candidate.holds:
                break
        if best is None:
            break
        left.append(best[1])
        if best[0].holds:
            names = [name for kind in left for name in nodes[kind] if name]
            _fewer_nodes(bench, replace(step, operators=tuple(kinds)), names)
            return
    _leave_out_nodes(bench, step, [name for kind in kinds for name in nodes[kind] if name])


def _leave_out_nodes(bench: Bench, step: Quantize, names: Sequence[str]) -> None:
    """Leave out twice as many of the most harmful nodes each time, until one try holds."""
    if not 1 < len(names) <= MOST_NODES:
        return
    worst = bench.most_harmful({name: replace(step, nodes=(name,)) for name in names})
    count = 1
    while count < len(names):
        tried = bench.run(replace(step, exclude_nodes=tuple(worst[:count])),
                          most_bytes=_most_bytes(bench))  # fmt: skip
        if tried.holds or tried.score is None:
            return
        count *= 2


def _fewer_nodes(bench: Bench, step: Quantize, names: Sequence[str]) -> None:
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
