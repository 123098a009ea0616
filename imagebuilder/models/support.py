"""Which of a model's operators a runtime has no kernel for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from imagebuilder.catalog import Catalog
from imagebuilder.catalog.machine import Machine
from imagebuilder.models.inspect import ModelInfo

FOLDER = Path(__file__).resolve().parent.parent / "data" / "operators"

Spans = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Support:
    """A runtime of a machine's architecture, and what it lacks for a model.

    `lacks` are operators with their versions, or a version of the format; `known` is false where
    there is no list of the runtime's kernels, as for one that is cut to its models.
    """

    runtime: str
    version: str
    lacks: tuple[str, ...]
    known: bool


def supports(catalog: Catalog, machine: Machine, info: ModelInfo, kind: str) -> Iterator[Support]:
    """What each runtime that reads the format `kind` on the machine's architecture lacks."""
    for name in catalog.names("runtimes"):
        runtime = catalog.runtime(name)
        target = runtime.targets.get(machine.arch)
        if target is None or kind not in runtime.formats:
            continue
        limits = (("opset", info.opset, target.max_opset), ("IR version", info.ir, target.max_ir))
        above = [f"{what} {has}" for what, has, most in limits if most is not None and has > most]
        kernels = read_kernels(f"{runtime.backend}-{target.version}")
        lacks = missing_kernels(info.needs, kernels) if kernels else ()
        yield Support(runtime.name, target.version, (*above, *lacks), bool(kernels))


def text_supports(catalog: Catalog, machine: Machine, architecture: str) -> Iterator[Support]:
    """The same of a language model, of which runtimes know architectures."""
    for name in catalog.names("runtimes"):
        runtime = catalog.runtime(name)
        target = runtime.targets.get(machine.arch)
        if target is not None and "gguf" in runtime.formats:
            known = runtime.architectures is not None
            missing = known and architecture not in (runtime.architectures or ())
            lacks = (f"the architecture {architecture}",) if missing else ()
            yield Support(runtime.name, target.version, lacks, known)


def missing_kernels(needs: Iterable[str], kernels: Mapping[tuple[str, str], Spans]
                    ) -> tuple[str, ...]:  # fmt: skip
    """Those of `needs`, lines of `DOMAIN OPERATOR VERSION`, that no kernel is there for."""
    lacks = []
    for need in needs:
        domain, rest = need.split(" ", 1)
        operator, version = rest.rsplit(" ", 1)
        spans = kernels.get((domain, operator), ())
        if not any(low <= int(version) <= high for low, high in spans):
            name = operator if domain in ("ai.onnx", "tflite") else f"{domain}.{operator}"
            lacks.append(f"{name} (version {version})" if spans else name)
    return tuple(lacks)


@cache
def read_kernels(name: str) -> Mapping[tuple[str, str], Spans]:
    """The kernels of a runtime's version: domain and operator → versions; empty if not listed."""
    path = FOLDER / f"{name}.txt"
    if not path.is_file():
        return {}
    found: dict[tuple[str, str], Spans] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        domain, operator, *spans = line.split(" ")
        found[domain, operator] = tuple(_span(text) for text in spans)
    return found


def _span(text: str) -> tuple[int, float]:
    low, high = text.split("-")
    return int(low), int(high) if high else float("inf")
