"""What `imagebuilder model inspect` says of a model file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagebuilder.catalog import Catalog
from imagebuilder.catalog.machine import Machine
from imagebuilder.models.formats import model_format
from imagebuilder.models.inspect import ModelInfo, inspect_model
from imagebuilder.models.support import Support, supports, text_supports
from imagebuilder.models.text import TextInfo, inspect_text
from imagebuilder.units import show_size

Facts = Iterable[tuple[str, str]]
Place = tuple[Catalog, Machine]


def model_facts(model: Path, place: Place | None) -> Facts:
    """Rows of name and value; with `place` also what the runtimes of a machine lack."""
    kind = "gguf" if model.suffix == ".gguf" else model_format(model)
    if kind == "gguf":
        text = inspect_text(model)
        yield from _text_facts(text)
        found = text_supports(*place, text.architecture) if place else ()
    else:
        info = inspect_model(model)
        yield from _facts(info)
        found = supports(*place, info, kind) if place else ()
    if place:
        yield from _support_facts(place[1], tuple(found), kind)


def _facts(info: ModelInfo) -> Facts:
    if info.opset:
        yield "IR version", str(info.ir)
        yield "opset", str(info.opset)
    else:
        yield "schema version", str(info.ir)
    for kind, ports in (("input", info.inputs), ("output", info.outputs)):
        for port in ports:
            yield f"{kind} {port.name}", f"{port.dtype} {list(port.shape)}"
    yield "operators", ", ".join(f"{name} {count}" for name, count in info.operators.items())
    yield "parameters", f"{info.parameters:,}"
    yield "MACs", _macs(info)
    yield "weights", show_size(info.weights_bytes)
    yield "activations at once, estimated", show_size(info.activation_bytes)
    yield "file", show_size(info.file_bytes)


def _macs(info: ModelInfo) -> str:
    if info.uncounted:
        return f"at least {info.macs:,}: {info.uncounted} nodes are not counted"
    return f"{info.macs:,}"


def _support_facts(machine: Machine, found: tuple[Support, ...], kind: str) -> Facts:
    if not found:
        yield f"on {machine.name}", f"no runtime for {machine.arch} reads {kind}"
    has = "runs the architecture" if kind == "gguf" else "has all operators"
    for one in found:
        lacks = f"lacks {', '.join(one.lacks)}" if one.lacks else has
        said = lacks if one.known or one.lacks else "its operators are not known"
        yield f"on {machine.name}, {one.runtime} {one.version}", said


def _text_facts(info: TextInfo) -> Facts:
    yield "name", info.name
    yield "architecture", info.architecture
    yield "parameters", f"{info.parameters:,}"
    yield "quantization", info.quantization
    yield "layers", str(info.layers)
    yield "context", f"{info.context:,} tokens"
    yield "key-value cache of a token", show_size(info.cache_bytes)
    yield "key-value cache of all", show_size(info.cache_bytes * info.context)
    yield "tokenizer", f"{info.tokenizer}, {info.vocabulary:,} tokens"
    yield "chat template", "yes" if info.chat_template else "none"
    yield "weights", show_size(info.weights_bytes)
    yield "file", show_size(info.file_bytes)
