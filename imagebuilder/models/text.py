"""What a language model is made of, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.device import TEXT_BATCH
from imagebuilder.errors import UserError
from imagebuilder.models.gguf import GgufHead, Many, Value, read_gguf

CACHE_ELEMENT = 2
"""Bytes of an element of the key-value cache: llama.cpp keeps it as float16."""


@dataclass(frozen=True, slots=True)
class TextInfo:
    """A language model; sizes in bytes, `context` in tokens.

    `cache_bytes` is the key-value cache of one token: for each layer a key and a value of each
    key-value head, in float16. A model with a sliding window needs less.
    """

    name: str
    architecture: str
    parameters: int
    quantization: str
    context: int
    layers: int
    cache_bytes: int
    activation_bytes: int
    vocabulary: int
    tokenizer: str
    chat_template: str | None
    weights_bytes: int
    file_bytes: int


def inspect_text(path: Path) -> TextInfo:
    """Inspect a GGUF file; `UserError` if it is damaged, or is no language model."""
    head = read_gguf(path)
    try:
        return _info(head)
    except _Lacking as error:
        what = f"{path.name}: no language model that can be served: {error}"
        raise UserError(what, hint="a decoder with attention in every layer is needed") from error


class _Lacking(Exception):
    """The key that a file lacks, or has with another type."""


def _info(head: GgufHead) -> TextInfo:
    values = head.values
    arch = _text(values, "general.architecture")
    layers, width = (
        _number(values, f"{arch}.block_count"),
        _number(values, f"{arch}.embedding_length"),
    )
    heads = _number(values, f"{arch}.attention.head_count")
    key = _number(values, f"{arch}.attention.key_length", width // heads)
    value = _number(values, f"{arch}.attention.value_length", width // heads)
    vocabulary = _length(values, "tokenizer.ggml.tokens")
    feed = _number(values, f"{arch}.feed_forward_length")
    template = values.get("tokenizer.chat_template")
    return TextInfo(
        name=str(values.get("general.name", "")),
        architecture=arch,
        parameters=sum(tensor.elements for tensor in head.tensors),
        quantization=_quantization(head),
        context=_number(values, f"{arch}.context_length"),
        layers=layers,
        cache_bytes=_cache_heads(values, arch, layers, heads) * (key + value) * CACHE_ELEMENT,
        activation_bytes=4 * (TEXT_BATCH * (8 * width + 3 * feed) + 2 * vocabulary),
        vocabulary=vocabulary,
        tokenizer=_text(values, "tokenizer.ggml.model"),
        chat_template=template if isinstance(template, str) and template else None,
        weights_bytes=sum(tensor.size for tensor in head.tensors),
        file_bytes=head.file_bytes,
    )


def _cache_heads(values: Mapping[str, Value], arch: str, layers: int, heads: int) -> int:
    """Key-value heads of all layers."""
    found = values.get(f"{arch}.attention.head_count_kv", heads)
    if isinstance(found, tuple):
        if len(found) != layers or not all(type(item) is int and item >= 0 for item in found):
            raise _Lacking(f"{arch}.attention.head_count_kv is not a number for each layer")
        return sum(item for item in found if isinstance(item, int))
    return layers * _number(values, f"{arch}.attention.head_count_kv", heads)


def _quantization(head: GgufHead) -> str:
    """The type that most of the weights have."""
    sizes: dict[str, int] = {}
    for tensor in head.tensors:
        sizes[tensor.kind] = sizes.get(tensor.kind, 0) + tensor.elements
    if not sizes:
        raise _Lacking("it has no tensors")
    return max(sizes, key=lambda kind: sizes[kind])


def _number(values: Mapping[str, Value], key: str, default: int | None = None) -> int:
    found = values.get(key, default)
    if type(found) is not int or not 0 < found < 1 << 31:
        raise _Lacking(f"it has no {key}" if found is None else f"{key} is {found!r}")
    return found


def _text(values: Mapping[str, Value], key: str) -> str:
    found = values.get(key)
    if not isinstance(found, str) or not found:
        raise _Lacking(f"it has no {key}")
    return found


def _length(values: Mapping[str, Value], key: str) -> int:
    found = values.get(key)
    count = (
        found.count if isinstance(found, Many) else len(found) if isinstance(found, tuple) else 0
    )
    if not count:
        raise _Lacking(f"it has no {key}")
    return count
