"""A sealed model against its float model and against itself elsewhere, on the same tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imagebuilder.bundle.format import TensorsCheck
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.errors import UserError
from imagebuilder.models.differences import Difference, Tensors, differ, largest, read_golden
from imagebuilder.models.formats import model_format
from imagebuilder.models.layers import Layer, NoLayers, layer_errors
from imagebuilder.models.processors import Emulator
from imagebuilder.models.runner import Runner
from imagebuilder.models.seal import cpu_features
from imagebuilder.models.search import beaten
from imagebuilder.models.sessions import library_version
from imagebuilder.models.tries import Candidate as Tried
from imagebuilder.state import Cache, sha256_file, write_if_changed

REPORT = "report.json"
FLOAT, HOST = "float model, this host", "sealed model, this host"


@dataclass(frozen=True, slots=True)
class Place:
    """How far the outputs of one place are from the golden ones.

    `kind` is float, host, cpu, image or board. `within` is None for the float model: what it cost
    to optimize is judged by the accuracy floor, not by the tolerances.
    """

    kind: str
    name: str
    cpu: str
    difference: Difference
    within: bool | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make the model small; `score`, `interval` and `seconds` None if not measured."""

    what: str
    bytes: int
    score: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    holds: bool
    sealed: bool
    front: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    """All of parity.json, but for its format; the golden outputs are what all are compared with.

    `largest` is the largest absolute golden output. `no_layers` says why there are no layers.
    """

    name: str
    version: str
    digest: str
    optimization: str
    recorded_on: Mapping[str, str]
    measured_on: Mapping[str, str]
    accuracy: Mapping[str, Any]
    check: TensorsCheck
    largest: float
    places: tuple[Place, ...]
    candidates: tuple[Candidate, ...]
    why: str
    layers: tuple[Layer, ...]
    no_layers: str


def measure_parity(
    bundle: SealedBundle, source: Path, tried: Sequence[Tried] = (), why: str = ""
) -> Parity:
    """Run the float model and the sealed one on the golden inputs; `source` is the former's file.

    `tried` are a search's candidates, and `why` what it says of them: without them the candidates
    are those that the bundle's own search left in its report, which has no times.

    Raises `UserError` where the bundle is not one to compare, or was made from another file.
    """
    check_comparable(bundle)
    sealed_report = _own_report(bundle, source)
    description = bundle.description
    check, model = description.checks[0], bundle.folder / description.model.file
    inputs, golden = read_golden(bundle.folder, description)
    runners = Runner(source), Runner(model)
    library = library_version(model_format(model))
    layers, no_layers = _layers(source, model, inputs)
    return Parity(
        name=description.name,
        version=description.version,
        digest=bundle.digest,
        optimization=description.model.quantization,
        recorded_on=_host(description.provenance.runtime, description.provenance.cpu_features),
        measured_on=_host(" ".join(library), cpu_features()),
        accuracy={**sealed_report["accuracy"], **_floor(bundle)},
        check=check,
        largest=largest(golden),
        places=_places(runners, inputs, golden, check),
        candidates=_candidates(
            _both(bundle, sealed_report, source, [r.least_seconds(inputs[:8]) for r in runners]),
            [_candidate(asdict(one)) for one in tried] or _sealed_candidates(sealed_report),
        ),
        why=why,
        layers=layers,
        no_layers=no_layers,
    )  # fmt: skip


def on_processors(parity: Parity, bundle: SealedBundle, emulator: Emulator) -> Parity:
    """The same with the sealed model on the processors that are emulated here."""
    inputs, golden = read_golden(bundle.folder, bundle.description)
    model = bundle.folder / bundle.description.model.file
    places = []
    for processor in emulator.processors:
        found = differ(emulator.outputs(processor, model, inputs), golden, parity.check)
        name = f"sealed model, {processor}"
        cpu = f"{processor}, emulated"
        places.append(Place("cpu", name, cpu, found, found.within(parity.check)))
    return replace(parity, places=(*parity.places, *places))


def parity_data(parity: Parity) -> dict[str, Any]:
    """What parity.json holds; a number that is not finite is null."""
    data: dict[str, Any] = finite({"format": 1, **asdict(parity)})
    return data


def keep_parity(data: Mapping[str, Any], cache: Cache) -> None:
    """Keep what was measured of a bundle, for who packs evidence of it."""
    write_if_changed(_kept(data["digest"], cache), json.dumps(data).encode())


def kept_parity(bundle: SealedBundle, cache: Cache) -> dict[str, Any] | None:
    """What was last measured of this bundle, None if nothing was."""
    try:
        data: dict[str, Any] = json.loads(_kept(bundle.digest, cache).read_bytes())
    except (OSError, ValueError):
        return None
    return data if data.get("format") == 1 and data.get("digest") == bundle.digest else None


def _kept(digest: str, cache: Cache) -> Path:
    return cache.root / "parity" / f"{digest.removeprefix('sha256:')}.json"


def finite(value: Any) -> Any:
    """The same with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def check_comparable(bundle: SealedBundle) -> None:
    """`UserError` for a bundle that has nothing to compare."""
    description = bundle.description
    name = description.name
    if description.text is not None:
        what = f"{name}: a language model has no golden tensors and shows no layers to compare"
        raise UserError(what, hint="its check is of tokens and perplexity: `imagebuilder test`")
    if description.accuracy is None or REPORT not in description.files:
        what = f"{name}: {bundle.folder} was never evaluated: it has no accuracy and no {REPORT}"
        raise UserError(what, hint=f"`imagebuilder model build {name}` makes one that is")
    if any(spec.dtype == "string" for spec in (*description.inputs, *description.outputs)):
        raise UserError(f"{name}: texts are not compared")


def _own_report(bundle: SealedBundle, source: Path) -> dict[str, Any]:
    """The bundle's own report; `UserError` where it was made from another file."""
    found, wanted = sha256_file(source), bundle.description.provenance.source_sha256
    if found != wanted:
        what = f"{bundle.folder} was made from the model {wanted}, {source} is {found}"
        raise UserError(what, hint="give the definition that the bundle was made from")
    data: dict[str, Any] = json.loads((bundle.folder / REPORT).read_bytes())
    return data


def _host(runtime: str, features: Sequence[str]) -> dict[str, str]:
    return {"runtime": runtime, "cpu": " ".join(features)}


def _floor(bundle: SealedBundle) -> dict[str, float | None]:
    accuracy = bundle.description.accuracy
    assert accuracy is not None
    return {"floor": accuracy.min, "max_drop": accuracy.max_drop}


def _places(
    runners: tuple[Runner, Runner],
    inputs: Sequence[Tensors],
    golden: Sequence[Tensors],
    check: TensorsCheck,
) -> tuple[Place, ...]:
    cpu = " ".join(cpu_features())
    whole, sealed = (differ(runner.named(inputs), golden, check) for runner in runners)
    return (
        Place("float", FLOAT, cpu, whole, None),
        Place("host", HOST, cpu, sealed, sealed.within(check)),
    )


def _layers(
    source: Path, model: Path, inputs: Sequence[Tensors]
) -> tuple[tuple[Layer, ...], str]:  # fmt: skip
    try:
        return layer_errors(source, model, inputs), ""
    except NoLayers as error:
        return (), error.problems[0].what


def _both(
    bundle: SealedBundle, report: Mapping[str, Any], source: Path, seconds: Sequence[float]
) -> tuple[Candidate, Candidate]:
    """The float model and the sealed one."""
    accuracy, sealed = report["accuracy"], bundle.description.model
    size = bundle.description.files[sealed.file].size
    first, last = (
        Candidate(what, size, accuracy[key], tuple(accuracy[f"{key}_interval"]), time, True, at > 0)
        for at, (what, size, key, time) in enumerate((
            ("float model", source.stat().st_size, "source", seconds[0]),
            (sealed.quantization, size, "optimized", seconds[1]),
        ))
    )  # fmt: skip
    return first, last


def _sealed_candidates(report: Mapping[str, Any]) -> list[Candidate]:
    """What the bundle's own search tried and did not take; its times are not sealed."""
    search = report.get("search", {"candidates": (), "taken": ""})
    return [_candidate(row) for row in search["candidates"] if row["what"] != search["taken"]]


def _candidate(row: Mapping[str, Any]) -> Candidate:
    interval = row["interval"]
    return Candidate(
        row["what"], row["bytes"], row["score"], tuple(interval) if interval else None,
        row.get("seconds") or None, row["holds"], False, problem=row["problem"],
    )  # fmt: skip


def _candidates(
    both: tuple[Candidate, Candidate], tried: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """All, with those marked that hold the floor and that no other beats in size and time."""
    new = (one for one in tried if one.what != "as it is" and not _same(one, both[1]))
    every = (both[0], *new, both[1])
    holding = [(c.bytes, c.seconds) for c in every if c.holds and c.seconds is not None]
    return tuple(
        replace(
            c,
            front=c.holds and c.seconds is not None and not beaten((c.bytes, c.seconds), holding),
        )
        for c in every
    )


def _same(tried: Candidate, sealed: Candidate) -> bool:
    return tried.bytes == sealed.bytes and sealed.what.endswith(tried.what)
