"""The page of a parity report, from what parity.json holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebuilder.catalog.optimization import METRICS
from imagebuilder.report.plot import Point, Scatter, Stems, scatter, stems
from imagebuilder.templates import render
from imagebuilder.units import show_size

Data = Mapping[str, Any]

PARITY, PAGE = "parity.json", "parity.html"
WORST = 10
"""Layers that are listed apart."""
EXACT = 60.0
"""How high at least a layer without a difference stands in the plot, dB."""
ELSEWHERE = {"image": "the image", "board": "a board"}


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A row of the table of candidates."""

    number: int
    what: str
    score: str
    interval: str
    size: str
    time: str
    verdict: str
    verdict_class: str
    problem: str


def parity_page(data: Data) -> str:
    """HTML that needs no other file."""
    accuracy, layers = data["accuracy"], data["layers"]
    rows = [_layer_row(number, layer) for number, layer in enumerate(layers, 1)]
    low = lowest(layers)
    return render(
        "report/parity.html",
        title=f"{data['name']} {data['version']}: parity",
        digest=data["digest"],
        facts=tuple(_facts(data)),
        samples=data["check"]["samples"],
        largest=show(data["largest"]),
        tolerance=f"{data['check']['atol']:g} + {data['check']['rtol']:g} x |golden|",
        places=place_rows(data),
        derived=tolerance_words(data) if data["tolerance"] else "",
        margin=data["tolerance"] and data["tolerance"]["margin"],
        floor=data["tolerance"] and data["tolerance"]["floor"],
        absent=" and ".join(_absent(data)),
        why=data["why"],
        plots=tuple(_plots(data)),
        metric=accuracy["metric"],
        accuracy_samples=accuracy["samples"],
        candidates=tuple(_candidate_rows(data)),
        no_layers=data["no_layers"],
        layers=rows,
        layers_text=_layers_text(data),
        worst=[rows[number] for number in low],
        coloured=len(layers) > WORST,
        row_plot=_layer_plot(layers, set(low)) if layers else None,
    )


def _absent(data: Data) -> Iterator[str]:
    kinds = {place["kind"] for place in data["places"]}
    return (name for kind, name in ELSEWHERE.items() if kind not in kinds)


def place_rows(data: Data) -> list[tuple[str, ...]]:
    """A row a place: name, processor, differences, verdict."""
    return [
        (
            place["name"], place["cpu"],
            show(place["difference"]["max_abs"]), show(place["difference"]["max_rel"]),
            f"{100 * place['difference']['top1']:.4g} %",
            "" if place["within"] is None else percent(place["difference"]["used"]),
            {None: "", True: "within", False: "TOO FAR"}[place["within"]],
        )
        for place in data["places"]
    ]  # fmt: skip


def show(number: float | None) -> str:
    """Three digits; what is not finite is null in JSON."""
    return "not finite" if number is None else f"{number:.3g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    if share is None:
        return "not finite"
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def tolerance_words(data: Data) -> str:
    """What tolerance the differences give, and how the declared one compares."""
    found, check = data["tolerance"], data["check"]
    share = (check["atol"] + check["rtol"] * data["largest"]) / (
        found["atol"] + found["rtol"] * data["largest"])  # fmt: skip
    ratio = f"{share:.2g} times as much" if share < 100 else f"{share:,.0f} times as much"
    largest = max(found["differences"].values())
    return (
        f"the largest difference between {len(found['differences'])} places is {show(largest)}, "
        f"which gives atol {found['atol']:g} and rtol {found['rtol']:g}; the bundle allows "
        f"{ratio} at its largest output"
    )


def _facts(data: Data) -> Iterator[tuple[str, str]]:
    accuracy, whole, sealed = data["accuracy"], data["candidates"][0], data["candidates"][-1]
    yield "optimized by", data["optimization"]
    yield (
        accuracy["metric"],
        (
            f"{_score(accuracy['source'])} → {_score(accuracy['optimized'])}, 95 % interval of "
            f"the change {_interval(accuracy['change_interval'])}, floor {accuracy['floor']:g}"
        ),
    )
    saved = 100 * (1 - sealed["bytes"] / whole["bytes"])
    yield "size", (f"{show_size(whole['bytes'])} → {show_size(sealed['bytes'])} "
                   f"({'-' if saved >= 0 else '+'}{abs(saved):.0f} %)")  # fmt: skip
    yield "time of a sample", f"{_time(whole['seconds'])} → {_time(sealed['seconds'])}"
    for name, key in (("golden outputs of", "recorded_on"), ("this report of", "measured_on")):
        yield name, f"{data[key]['runtime']}, {data[key]['cpu']}"


def _score(score: float) -> str:
    return f"{score:.2f}"


def _interval(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    return f"{1e6 * seconds:.3g} µs" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"


def _candidate_rows(data: Data) -> Iterator[CandidateRow]:
    for number, one in enumerate(data["candidates"], 1):
        verdict = "sealed" if one["sealed"] else "" if one["holds"] else "fails"
        front = "front" if one["front"] else ""
        measured = one["score"] is not None
        yield CandidateRow(
            number, one["what"],
            _score(one["score"]) if measured else "",
            _interval(one["interval"]) if one["interval"] else "",
            show_size(one["bytes"]), _time(one["seconds"]),
            ", ".join(word for word in (verdict, front) if word),
            "good" if one["sealed"] else "bad" if verdict else "note",
            "" if measured else one["problem"],
        )  # fmt: skip


def _plots(data: Data) -> Iterator[tuple[str, Scatter]]:
    accuracy = data["accuracy"]
    less = METRICS[accuracy["metric"]].less_is_better
    size, letter = (1 << 20, "M") if data["candidates"][0]["bytes"] >= 2 << 20 else (1 << 10, "K")
    for key, name, unit, text in (("bytes", "size", size, lambda v: f"{v:g} {letter}iB"),
                                  ("seconds", "time of a sample", 1, _time)):  # fmt: skip
        points = [_point(number, one, one[key] / unit)
                  for number, one in enumerate(data["candidates"], 1)
                  if one["score"] is not None and one[key]]  # fmt: skip
        if points:
            caption = f"{accuracy['metric']} against {name}"
            yield caption, scatter(points, accuracy["floor"], text, less=less)


def _point(number: int, one: Data, x: float) -> Point:
    kind = "sealed" if one["sealed"] else "whole" if number == 1 else (
        "holds" if one["holds"] else "fails")  # fmt: skip
    low, high = one["interval"] or (one["score"], one["score"])
    title = f"{one['what']}: {_score(one['score'])}, {show_size(one['bytes'])}"
    return Point(x, one["score"], low, high, str(number), kind, title)


def lowest(layers: Sequence[Data]) -> list[int]:
    """Positions of the layers with the lowest ratio, those first that are not finite.

    Of tensors with the same error, which operators only hand on, the first stands for all.
    """
    first: dict[tuple[Any, Any], int] = {}
    for number, layer in enumerate(layers):
        if layer["max_abs"] != 0:
            first.setdefault((layer["sqnr"], layer["max_abs"]), number)
    order = sorted(first.values(), key=lambda n: (
        layers[n]["sqnr"] is not None, layers[n]["sqnr"] or 0.0))  # fmt: skip
    return order[:WORST]


def _layers_text(data: Data) -> str:
    layers = data["layers"]
    same = sum(layer["max_abs"] == 0 for layer in layers)
    text = f"{len(layers)} tensors have the same name in both models"
    return f"{text}, {same} of them the same values." if same else f"{text}."


def _layer_row(number: int, layer: Data) -> tuple[str, ...]:
    share = "" if not layer["largest"] or layer["max_abs"] is None else (
        percent(layer["max_abs"] / layer["largest"]))  # fmt: skip
    return (str(number), layer["tensor"], layer["operator"], _ratio(layer),
            show(layer["max_abs"]), share)  # fmt: skip


def _ratio(layer: Data) -> str:
    if layer["sqnr"] is not None:
        return f"{layer['sqnr']:.1f}"
    return "exact" if layer["max_abs"] == 0 else "not finite"


def _layer_plot(layers: Sequence[Data], low: set[int]) -> Stems:
    top = max([EXACT, *(layer["sqnr"] or 0 for layer in layers)])
    values = []
    for number, layer in enumerate(layers):
        exact = layer["max_abs"] == 0
        height = top if exact else max(layer["sqnr"] or 0.0, 0.0)
        kind = "exact" if exact else "low" if number in low and len(layers) > WORST else ""
        title = f"{number + 1} {layer['operator']} {layer['tensor']}: {_ratio(layer)}"
        values.append((height, kind, f"{title} dB" if layer["sqnr"] is not None else title))
    return stems(values, top)
